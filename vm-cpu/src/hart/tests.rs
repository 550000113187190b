//! Several harts at once, by small machine-mode programs.

use std::sync::Arc;
use std::thread;

use vm_mmu::{AddressSpace, Backend, Perm};

use super::{Bus, BusError, Clock, Cluster, Entry, Exit, Hart, HartRecord};
use crate::config::CpuConfig;
use crate::csr::Priv;
use crate::csr::fields::mip::MSIP;
use crate::isa::asm::assemble;

const RAM: u64 = 0x8000_0000;
const SIZE: u64 = 1 << 20;
const DATA: u64 = RAM + 0x8000;

/// One register that ends the run of every hart when it is written.
struct Stopper(Arc<Cluster>);

impl Bus for Stopper {
    fn read(&self, gpa: u64, _: u8) -> Result<u64, BusError> {
        Err(BusError { gpa })
    }

    fn write(&self, gpa: u64, _: u8, _: u64) -> Result<(), BusError> {
        (0..self.0.harts()).for_each(|hart| self.0.request_exit(hart));
        if gpa == 0x10_0000 { Ok(()) } else { Err(BusError { gpa }) }
    }
}

/// Runs `source` on `harts` harts, each entered with its number in a0 and [`DATA`] in a1, until one
/// stores to 0x10_0000; gives the harts.
fn run(cpu: &str, harts: usize, source: &str) -> Vec<Hart> {
    let memory = Arc::new(AddressSpace::new(RAM..RAM + SIZE).unwrap());
    memory.map(RAM..RAM + SIZE, Backend::Linear { huge: false }, Perm::RWX).unwrap();
    for (i, word) in assemble(RAM, source).unwrap().words().iter().enumerate() {
        memory.write_u32(RAM + 4 * i as u64, *word).unwrap();
    }
    let cluster = Cluster::new(harts, Clock::host());
    memory.tracker().set_listener(cluster.clone());
    let timers = cluster.watch_timers().unwrap();
    let cpu = CpuConfig::parse(cpu).unwrap();
    let threads: Vec<_> = (0..harts)
        .map(|id| {
            let bus = Arc::new(Stopper(cluster.clone()));
            let mut hart = Hart::new(id, &cpu, memory.clone(), bus, cluster.clone());
            thread::spawn(move || {
                let mode = Priv::Machine;
                hart.start(Entry { pc: RAM, a0: id as u64, a1: DATA, a2: 0, mode }, false);
                hart.run();
                hart
            })
        })
        .collect();
    let harts = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    drop((cluster, memory));
    timers.thread().unpark();
    harts
}

/// A hart without RAM or devices, whose clock is moved by hand.
fn lone() -> (Hart, Arc<Cluster>) {
    let cluster = Cluster::new(1, Clock::manual());
    let memory = Arc::new(AddressSpace::new(RAM..RAM + SIZE).unwrap());
    let bus = Arc::new(Stopper(cluster.clone()));
    let mut hart = Hart::new(0, &CpuConfig::default(), memory, bus, cluster.clone());
    hart.start(Entry { pc: RAM, a0: 0, a1: 0, a2: 0, mode: Priv::Machine }, false);
    (hart, cluster)
}

#[test]
fn who_wants_the_thread_as_the_hart_wakes_gets_it() {
    let (mut hart, cluster) = lone();
    hart.core_mut().with_csr(|csr| csr.mie = MSIP);
    cluster.raise(0, MSIP);
    cluster.request_exit(0);
    assert!(hart.suspend(), "an interrupt is pending");
    assert_eq!(hart.run(), Exit::Requested);
}

#[test]
fn a_timer_that_fired_before_time_was_set_back_fires_again() {
    let (mut hart, cluster) = lone();
    cluster.set_mtimecmp(0, 10);
    hart.core_mut().with_csr(|_| ());
    assert_eq!(cluster.deadline(0), 10);
    cluster.clock().advance(20);
    cluster.fire_due();
    cluster.clock().set(0);
    hart.core_mut().with_csr(|_| ());
    assert_eq!(cluster.deadline(0), 10);
}

/// Hart 0 reserves a word; hart 1 changes it and changes it back; hart 0 tries its `sc`. s0 of hart 0
/// is what `sc` said.
const ABA: &str = "
        li   t6, 0x100000
        bnez a0, other
        lr.w t0, (a1)
        li   t1, 1
        sw   t1, 256(a1)
wait:   lw   t1, 260(a1)
        beqz t1, wait
        li   t1, 9
        sc.w s0, t1, (a1)
        sw   s0, (t6)
spin:   j    spin
other:  lw   t1, 256(a1)
        beqz t1, other
        li   t1, 5
        sw   t1, 0(a1)
        sw   x0, 0(a1)
        li   t1, 1
        fence rw, rw
        sw   t1, 260(a1)
        j    spin
";

#[test]
fn a_strict_sc_fails_after_a_change_there_and_back() {
    assert_eq!(run("rv64gc,lrsc=strict", 2, ABA)[0].core().x(8), 1);
}

#[test]
fn a_cas_sc_looks_at_the_value_only() {
    assert_eq!(run("rv64gc,lrsc=cas", 2, ABA)[0].core().x(8), 0);
}

/// Each hart adds 1 to a counter 200 times by lr/sc; the last to finish stops the machine. s0 of it is
/// the counter.
const COUNT: &str = "
        li   t6, 0x100000
        li   t5, 200
again:  lr.d t0, (a1)
        addi t0, t0, 1
        sc.d t1, t0, (a1)
        bnez t1, again
        addi t5, t5, -1
        bnez t5, again
        addi a2, a1, 512
        li   t1, 1
        amoadd.d.aqrl t0, t1, (a2)
        li   t1, 3
        bne  t0, t1, spin
        ld   s0, 0(a1)
        sw   s0, (t6)
spin:   j    spin
";

#[test]
fn lr_sc_loses_no_count() {
    for cpu in ["rv64gc", "rv64gc,lrsc=strict"] {
        let count = run(cpu, 4, COUNT).iter().map(|hart| hart.core().x(8)).max();
        assert_eq!(count, Some(800), "{cpu}");
    }
}

/// Hart 1 rewrites the first instruction of a function of hart 0 again and again (li s0, n; ret), says
/// which n it wrote, and hart 0 calls it after a `fence.i`: it must never see an older one. s1 counts
/// what was wrong.
const REWRITE: &str = "
        li   t6, 0x100000
        la   a2, function
        bnez a0, writer
        li   s1, 0
        li   s2, 1000
reader: ld   t0, 0(a1)
        fence r, rw
        fence.i
        jalr ra, (a2)
        bge  s0, t0, fine
        addi s1, s1, 1
fine:   blt  t0, s2, reader
        sw   s1, (t6)
spin:   j    spin
writer: li   t0, 1
        li   t2, 0x00000413
        li   s2, 1001
more:   slli t1, t0, 20
        or   t1, t1, t2
        sw   t1, 0(a2)
        fence w, w
        sd   t0, 0(a1)
        addi t0, t0, 1
        blt  t0, s2, more
        j    spin
function: li s0, 0
        ret
";

#[test]
fn fence_i_shows_what_another_hart_wrote() {
    let harts = run("rv64gc", 2, REWRITE);
    assert_eq!(harts[0].core().x(9), 0);
}

/// A timer that `mip` shows as pending is taken at the instruction that enables it. Without a watcher of
/// timers nobody else would look. s0 counts the interrupts of 200 rounds.
const PENDING: &str = "
        li   t6, 0x100000
        li   s0, 0
        li   s1, 200
        la   t0, handler
        csrw mtvec, t0
        li   t0, 0x20
        csrw mie, t0
        li   t0, -1
        csrw stimecmp, t0
        li   t0, 1
        slli t0, t0, 63
        csrs menvcfg, t0
round:  csrr t0, time
        addi t0, t0, 5
        csrw stimecmp, t0
wait:   csrr t0, mip
        andi t0, t0, 0x20
        beqz t0, wait
        csrsi mstatus, 8
        csrci mstatus, 8
        addi s1, s1, -1
        bnez s1, round
        sw   x0, (t6)
spin:   j    spin
handler: addi s0, s0, 1
        li   t0, -1
        csrw stimecmp, t0
        mret
";

#[test]
fn what_mip_shows_is_taken_at_once() {
    assert_eq!(run("rv64gc", 1, PENDING)[0].core().x(8), 200);
}

#[test]
fn a_loaded_hart_goes_on_where_the_saved_one_was() {
    // Reserves a word, stops, and stores to it in its second life.
    let source = "
            li   t0, 41
            sd   t0, 0(a1)
            lr.d t1, (a1)
            li   t2, 0x100000
            sw   zero, 0(t2)
            j    1f
        1:  addi t1, t1, 1
            sc.d t3, t1, (a1)
            sw   zero, 0(t2)";
    let mut saved = run("rv64gc", 1, source).remove(0);
    let record = saved.save();
    assert_eq!(record.reservation.map(|held| (held.gpa, held.size, held.value)), Some((DATA, 8, 41)));
    let (memory, cluster) = (saved.core().memory().clone(), saved.core().cluster().clone());
    let mut loaded =
        Hart::new(0, saved.core().cpu(), memory.clone(), Arc::new(Stopper(cluster.clone())), cluster);
    loaded.load(&record).unwrap();
    assert_eq!(loaded.save(), record);
    assert_eq!(loaded.run(), Exit::Requested);
    assert_eq!((loaded.core().x(28), memory.read_u64(DATA).unwrap()), (0, 42));
    assert_eq!(loaded.core().retired(), record.retired + 3, "addi, sc.d and the store");
}

#[test]
fn a_record_that_no_hart_can_have_is_refused() {
    let mut hart = run("rv64gc", 1, "li t2, 0x100000\n sw zero, 0(t2)").remove(0);
    let good = hart.save();
    let word = |gpa, size| Some(super::ReservationRecord { gpa, size, value: 0 });
    for (change, part) in [
        (HartRecord { x: [1; 32], ..good.clone() }, "x0"),
        (HartRecord { pc: RAM + 1, ..good.clone() }, "next instruction"),
        (HartRecord { reservation: word(RAM + SIZE, 8), ..good.clone() }, "reservation"),
        (HartRecord { reservation: word(u64::MAX - 7, 8), ..good.clone() }, "reservation"),
        (HartRecord { reservation: word(RAM + 4, 8), ..good.clone() }, "reservation"),
        (HartRecord { reservation: word(RAM, 16), ..good.clone() }, "reservation"),
    ] {
        let message = hart.load(&change).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert_eq!(hart.save(), good, "nothing has changed");
    }
}
