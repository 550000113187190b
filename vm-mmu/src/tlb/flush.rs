//! What makes translations die: fences, SUM, and pages that come to hold code.

use super::{Class, Lane, SoftTlb};
use crate::{Access, PAGE};

impl SoftTlb {
    /// `sfence.vma x0, x0`: every translation of U and S dies, in constant time.
    pub fn flush_all(&mut self) {
        self.stats.flush_all += 1;
        self.step();
    }

    /// `sfence.vma x0, asid`: every translation of that ASID dies, but not those of global pages.
    pub fn flush_asid(&mut self, asid: u16) {
        self.stats.flush_asid += 1;
        self.kill_asid(asid);
    }

    /// `sfence.vma va, asid` (`None`: x0): the translation of `va` dies, whatever its page's size, and
    /// that of a global page with it.
    pub fn flush_page(&mut self, va: u64, asid: Option<u16>) {
        self.stats.flush_page += 1;
        let tag = va & !(PAGE - 1);
        let mut copied = [Class::U, Class::S].map(|class| self.stamps.may_have_left(class, tag));
        for (class, id) in self.spaces.of_asid(asid) {
            copied[class as usize] |= self.lanes[class as usize].kill(id, tag);
        }
        for class in [Class::U, Class::S].into_iter().filter(|&class| copied[class as usize]) {
            self.stamps.step(class);
        }
        self.walks.drop_page(va);
        if self.large.may_hold(va) {
            self.stats.large_steps += 1;
            match asid {
                Some(asid) => self.kill_asid(asid),
                None => self.step(),
            }
        }
    }

    /// PMP or the memory map changed: everything dies, that of M too.
    pub fn reset(&mut self) {
        match self.spaces.fresh() {
            Some(id) => self.lanes[Class::M as usize].set_id(id),
            None => {
                self.start_anew();
            }
        }
        self.step();
    }

    /// `mstatus.SUM` was cleared: S loses its entries for user pages, and only those.
    pub fn sum_cleared(&mut self) {
        let lane = &mut self.lanes[Class::S as usize];
        let killed = if self.sum.len() < super::SUM_LIST {
            self.sum.iter().filter(|&&at| lane.kill_user(at)).count()
        } else {
            lane.kill_users()
        };
        self.stats.sum_kills += killed as u64;
        self.sum.clear();
    }

    /// The page at `page_gpa` has come to hold code: its stores no longer hit.
    pub fn revoke_write(&mut self, page_gpa: u64) {
        self.stamps.step_all();
        let host = page_gpa.wrapping_add(self.memory.host_offset());
        self.stats.revokes += self.lanes.iter_mut().map(|lane| lane.revoke(host)).sum::<u64>();
    }

    /// No store hits any more until it is filled again: a round of the dirty log begins.
    pub fn revoke_write_all(&mut self) {
        self.stamps.step_all();
        self.stats.revokes += self.lanes.iter_mut().map(Lane::revoke_all).sum::<u64>();
    }

    /// From here on [`SoftTlb::forget_data`] is possible.
    pub fn note_fills(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.filled = Some(Vec::new()));
    }

    /// No load and no store hits any more until it is filled again; fetches do as before. One page of `class`
    /// stays, if there is one that may be written: its guest-physical address. If it is done `again`, that is
    /// none but the one which stayed last time. Needs [`SoftTlb::note_fills`] to have been called before the
    /// first fill.
    pub fn forget_data(&mut self, class: Class, again: bool) -> Option<u64> {
        self.stamps.step_all();
        let lane = &self.lanes[class as usize];
        let kept = if again { lane.kept() } else { lane.last_writable() };
        self.lanes.iter_mut().for_each(Lane::forget_data);
        let lane = &mut self.lanes[class as usize];
        let (tag, entry) = kept?;
        lane.put(class, tag, entry, &mut self.stamps);
        lane.kept = true;
        self.translate(class, tag, Access::Store)
    }

    fn step(&mut self) {
        self.spaces.kill_all();
        self.large.clear();
        self.reenter();
    }

    fn kill_asid(&mut self, asid: u16) {
        self.spaces.kill_asid(asid);
        self.reenter();
    }
}
