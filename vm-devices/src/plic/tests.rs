//! The PLIC as a guest sees it, and its wires.

use super::*;
use crate::testing::wires::RecordedLines;

const M0: u64 = 0;
const S0: u64 = 1;

struct Rig {
    plic: Arc<Plic>,
    lines: Arc<RecordedLines>,
}

impl Rig {
    fn new(harts: usize) -> Rig {
        let lines = Arc::new(RecordedLines::new(harts));
        Rig { plic: Arc::new(Plic::new(harts, lines.clone())), lines }
    }

    fn write(&self, offset: u64, value: u64) {
        self.plic.write(offset, 4, value).unwrap();
    }

    fn read(&self, offset: u64) -> u64 {
        self.plic.read(offset, 4).unwrap()
    }

    /// Gives `source` a priority and enables it for `context`.
    fn arm(&self, source: u64, priority: u64, context: u64) {
        self.write(4 * source, priority);
        let enable = ENABLE + ENABLE_STRIDE * context + source / 32 * 4;
        self.write(enable, self.read(enable) | 1 << (source % 32));
    }

    fn claim(&self, context: u64) -> u64 {
        self.read(CONTEXT + CONTEXT_STRIDE * context + CLAIM)
    }

    fn complete(&self, context: u64, source: u64) {
        self.write(CONTEXT + CONTEXT_STRIDE * context + CLAIM, source);
    }

    fn seip(&self, hart: usize) -> bool {
        self.lines.level(hart, HartLine::Seip)
    }
}

#[test]
fn level_is_requested_once_until_completed() {
    let rig = Rig::new(1);
    let uart = rig.plic.line(10);
    rig.arm(10, 1, S0);
    uart.set(true);
    assert!(rig.seip(0));
    assert_eq!(rig.read(PENDING), 1 << 10);
    assert_eq!(rig.claim(S0), 10);
    assert!(!rig.seip(0), "a source in service does not interrupt");
    uart.set(false);
    uart.set(true);
    assert_eq!(rig.claim(S0), 0, "the gateway is closed until completion");
    rig.complete(S0, 10);
    assert!(rig.seip(0), "the wire is still high");
    assert_eq!(rig.claim(S0), 10);
    uart.set(false);
    rig.complete(S0, 10);
    assert!(!rig.seip(0));
    assert_eq!(rig.claim(S0), 0);
    assert_eq!(rig.plic.claims().get(), 2);
}

#[test]
fn request_survives_the_fall_of_its_wire() {
    let rig = Rig::new(1);
    rig.arm(3, 1, S0);
    let line = rig.plic.line(3);
    line.set(true);
    line.set(false);
    assert!(rig.seip(0));
    assert_eq!(rig.claim(S0), 3);
    rig.complete(S0, 3);
    assert!(!rig.seip(0));
}

#[test]
fn claim_takes_the_highest_priority_then_the_lowest_number() {
    let rig = Rig::new(1);
    for (source, priority) in [(2, 3), (40, 7), (70, 7), (95, 1)] {
        rig.arm(source, priority, S0);
        rig.plic.line(source as u32).set(true);
    }
    let order: Vec<u64> = (0..5).map(|_| rig.claim(S0)).collect();
    assert_eq!(order, [40, 70, 2, 95, 0]);
}

#[test]
fn threshold_masks_the_wire_but_not_the_claim() {
    let rig = Rig::new(1);
    rig.arm(5, 3, S0);
    rig.write(CONTEXT + CONTEXT_STRIDE * S0 + THRESHOLD, 3);
    rig.plic.line(5).set(true);
    assert!(!rig.seip(0));
    rig.write(CONTEXT + CONTEXT_STRIDE * S0 + THRESHOLD, 2);
    assert!(rig.seip(0));
    rig.write(CONTEXT + CONTEXT_STRIDE * S0 + THRESHOLD, 7);
    assert!(!rig.seip(0));
    assert_eq!(rig.claim(S0), 5);
}

#[test]
fn priority_zero_and_disabled_sources_never_interrupt() {
    let rig = Rig::new(1);
    rig.arm(5, 0, S0);
    rig.plic.line(5).set(true);
    rig.write(4 * 6, 7);
    rig.plic.line(6).set(true);
    assert!(!rig.seip(0));
    assert_eq!(rig.claim(S0), 0);
    rig.write(4 * 5, 1);
    assert!(rig.seip(0));
}

#[test]
fn contexts_of_all_harts_have_their_own_wires() {
    let rig = Rig::new(2);
    rig.arm(1, 1, M0);
    rig.arm(1, 1, 3);
    rig.plic.line(1).set(true);
    assert!(rig.lines.level(0, HartLine::Meip) && !rig.seip(0));
    assert!(rig.seip(1) && !rig.lines.level(1, HartLine::Meip));
    assert_eq!(rig.claim(3), 1);
    assert!(!rig.lines.level(0, HartLine::Meip), "one context's claim takes it from all");
    assert_eq!(rig.claim(M0), 0);
}

#[test]
fn a_context_that_masked_the_source_may_complete_it() {
    let rig = Rig::new(1);
    rig.arm(4, 1, S0);
    rig.plic.line(4).set(true);
    assert_eq!(rig.claim(S0), 4);
    rig.write(ENABLE + ENABLE_STRIDE * S0, 0);
    rig.complete(S0, 4);
    rig.write(ENABLE + ENABLE_STRIDE * S0, 1 << 4);
    assert_eq!(rig.claim(S0), 4);
}

#[test]
fn registers_that_do_not_exist_are_harmless() {
    let rig = Rig::new(1);
    rig.write(ENABLE, 0xffff_ffff);
    assert_eq!(rig.read(ENABLE), 0xffff_fffe, "source 0 does not exist");
    rig.write(0, 7);
    assert_eq!(rig.read(0), 0);
    rig.write(4, 0xff);
    assert_eq!(rig.read(4), 7);
    for offset in [4 * 96, 0xffc, PENDING + 12, ENABLE + 12, ENABLE + 2 * ENABLE_STRIDE].into_iter().chain([
        CONTEXT - 4,
        CONTEXT + 8,
        CONTEXT + 2 * CONTEXT_STRIDE,
        0x5f_fffc,
    ]) {
        rig.write(offset, 0xffff_ffff);
        assert_eq!(rig.read(offset), 0, "{offset:#x}");
    }
    for source in [0, 96, 0xffff_ffff] {
        rig.complete(S0, source);
    }
    for (offset, size) in [(0, 1), (0, 2), (0, 8), (2, 4)] {
        assert!(rig.plic.read(offset, size).is_err());
        assert!(rig.plic.write(offset, size, 0).is_err());
    }
}

#[test]
fn restore_in_mid_service_continues_there() {
    let saved = Rig::new(1);
    saved.arm(10, 1, S0);
    saved.arm(11, 2, S0);
    saved.plic.line(10).set(true);
    assert_eq!(saved.claim(S0), 10);
    saved.plic.line(11).set(true);

    let fresh = Rig::new(1);
    fresh.plic.restore(saved.plic.save()).unwrap();
    assert!(fresh.seip(0));
    assert_eq!(fresh.claim(S0), 11);
    assert_eq!(fresh.claim(S0), 0);
    fresh.complete(S0, 10);
    assert_eq!(fresh.claim(S0), 10, "its wire was saved high");
}

#[test]
fn state_that_does_not_fit_is_refused() {
    let (one, two) = (Rig::new(1), Rig::new(2));
    assert!(matches!(
        two.plic.restore(one.plic.save()),
        Err(RestoreError::Count { expected: 4, found: 2, .. })
    ));
    let mut state = one.plic.save();
    state.priority[3] = 8;
    assert!(matches!(one.plic.restore(state), Err(RestoreError::Value { found: 8, .. })));
    let mut state = one.plic.save();
    state.pending[0] = 1;
    assert!(matches!(one.plic.restore(state), Err(RestoreError::Value { .. })));
}

#[test]
fn reset_keeps_the_wires() {
    let rig = Rig::new(1);
    rig.arm(2, 1, S0);
    rig.plic.line(2).set(true);
    assert_eq!(rig.claim(S0), 2);
    rig.plic.reset();
    assert!(!rig.seip(0));
    rig.arm(2, 1, S0);
    assert_eq!(rig.claim(S0), 2);
}

#[test]
fn latching_wire_interrupts_once_an_event() {
    let rig = Rig::new(1);
    let uart = rig.plic.latching_line(10);
    rig.arm(10, 1, S0);
    uart.set(true);
    assert_eq!(rig.claim(S0), 10);
    rig.complete(S0, 10);
    assert!(!rig.seip(0), "nothing new has happened, high as the wire is");
    uart.set(true);
    assert_eq!(rig.claim(S0), 10);
    uart.set(true);
    assert!(!rig.seip(0), "a source in service does not interrupt");
    rig.complete(S0, 10);
    assert!(rig.seip(0), "an event in service is not lost");
    uart.set(false);
    assert!(!rig.seip(0), "a fall takes the request back");
    assert_eq!(rig.claim(S0), 0);
}
