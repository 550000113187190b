//! A thread for what a doorbell must not wait for.
//!
//! Most requests are served on the vCPU thread that rang. What may take long
//! (flushing a disk) or would keep a vCPU from its own work (a queue that other
//! harts keep filling) goes to the device's helper. The thread exists from the
//! first job on.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// The thread and its jobs, which run one after the other.
pub(super) struct Helper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    jobs: Mutex<Jobs>,
    /// The host refused a thread; [`Helper::assist`] does the work.
    threadless: AtomicBool,
    posted: Condvar,
    idle: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    running: bool,
    closing: bool,
}

impl Helper {
    pub(super) fn new() -> Helper {
        Helper { shared: Arc::default(), thread: Mutex::new(None) }
    }

    /// Runs `job` on the thread, after those posted before.
    pub(super) fn post(&self, job: Job) {
        self.shared.jobs.lock().waiting.push_back(job);
        let mut thread = self.thread.lock();
        if thread.is_none() && !self.shared.threadless.load(Relaxed) {
            let shared = self.shared.clone();
            match thread::Builder::new().name("virtio-helper".into()).spawn(move || shared.work()) {
                Ok(new) => *thread = Some(new),
                Err(error) => {
                    tracing::warn!(%error, "no thread for a virtio device: its doorbell does the work");
                    self.shared.threadless.store(true, Relaxed);
                }
            }
        }
        self.shared.posted.notify_one();
    }

    /// Does the jobs if there is no thread for them. Called without the device's
    /// lock, which jobs take.
    pub(super) fn assist(&self) {
        if self.shared.threadless.load(Relaxed) {
            self.shared.work_off();
        }
    }

    /// Returns once no job waits or runs.
    pub(super) fn wait_idle(&self) {
        self.assist();
        let mut jobs = self.shared.jobs.lock();
        while jobs.running || !jobs.waiting.is_empty() {
            self.shared.idle.wait(&mut jobs);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.shared.jobs.lock().closing = true;
        self.shared.posted.notify_all();
        // A job can hold the last reference to its device; a thread does not wait
        // for itself.
        if let Some(thread) =
            self.thread.get_mut().take().filter(|t| t.thread().id() != thread::current().id())
        {
            // A panic there has already been reported; there is nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut jobs = self.jobs.lock();
        while !jobs.closing {
            drop(jobs);
            self.work_off();
            jobs = self.jobs.lock();
            if jobs.waiting.is_empty() && !jobs.closing {
                self.posted.wait(&mut jobs);
            }
        }
    }

    /// Runs the waiting jobs, unless that is what the caller already does.
    fn work_off(&self) {
        if self.jobs.lock().running {
            return;
        }
        loop {
            let mut jobs = self.jobs.lock();
            let next = if jobs.closing { None } else { jobs.waiting.pop_front() };
            jobs.running = next.is_some();
            let Some(job) = next else {
                self.idle.notify_all();
                return;
            };
            drop(jobs);
            job();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn jobs_run_in_order_and_idle_means_done() {
        let helper = Helper::new();
        helper.wait_idle();
        let order = Arc::new(Mutex::new(Vec::new()));
        for round in 0..3 {
            for number in 0..50 {
                let order = order.clone();
                helper.post(Box::new(move || order.lock().push(round * 50 + number)));
            }
            helper.wait_idle();
            assert_eq!(*order.lock(), (0..(round + 1) * 50).collect::<Vec<_>>());
        }
    }

    #[test]
    fn without_a_thread_whoever_assists_does_the_work() {
        let helper = Arc::new(Helper::new());
        helper.shared.threadless.store(true, Relaxed);
        let ran = Arc::new(AtomicUsize::new(0));
        let (inner, counted) = (helper.clone(), ran.clone());
        helper.post(Box::new(move || {
            let counted_again = counted.clone();
            inner.post(Box::new(move || _ = counted_again.fetch_add(1, SeqCst)));
            inner.assist();
            assert_eq!(counted.fetch_add(1, SeqCst), 0, "jobs do not run inside each other");
        }));
        assert_eq!(ran.load(SeqCst), 0);
        helper.assist();
        assert_eq!(ran.load(SeqCst), 2);
        helper.wait_idle();
    }

    #[test]
    fn job_may_hold_the_last_reference_to_its_helper() {
        let helper = Arc::new(Helper::new());
        let ran = Arc::new(AtomicUsize::new(0));
        let (last, counted) = (helper.clone(), ran.clone());
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock();
        let opened = gate.clone();
        helper.post(Box::new(move || {
            drop(opened.lock());
            drop(last);
            counted.fetch_add(1, SeqCst);
        }));
        drop(helper);
        drop(closed);
        while ran.load(SeqCst) == 0 {
            thread::yield_now();
        }
    }
}
