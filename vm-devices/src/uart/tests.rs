//! The UART as drivers use it.

use super::*;
use crate::testing::wires::{BufferConsole, RecordedLine};

struct Rig {
    uart: Uart,
    console: Arc<BufferConsole>,
    line: Arc<RecordedLine>,
}

impl Rig {
    fn new() -> Rig {
        let (console, line) = (Arc::new(BufferConsole::default()), Arc::new(RecordedLine::default()));
        Rig { uart: Uart::new(console.clone(), line.clone()), console, line }
    }

    fn write(&self, register: u8, value: u8) {
        self.uart.write(register.into(), 1, value.into()).unwrap();
    }

    fn read(&self, register: u8) -> u8 {
        self.uart.read(register.into(), 1).unwrap() as u8
    }

    fn type_in(&self, bytes: &[u8]) {
        self.console.type_in(bytes);
        self.uart.input_ready();
    }
}

#[test]
fn output_reaches_the_backend() {
    let rig = Rig::new();
    for byte in *b"hello" {
        assert_eq!(rig.read(LSR) & 0x60, 0x60);
        rig.write(DATA, byte);
    }
    assert_eq!(rig.console.take_output(), b"hello");
    assert_eq!(rig.uart.counters().bytes_out.get(), 5);
}

#[test]
fn received_byte_holds_the_line_until_it_is_read() {
    let rig = Rig::new();
    rig.type_in(b"ab");
    assert!(!rig.line.level(), "RDI is off");
    rig.write(IER, IER_RDI);
    assert!(rig.line.level(), "switching RDI on finds the waiting byte");
    assert_eq!(rig.read(IIR_FCR), IIR_RDI);
    assert_eq!(rig.read(IIR_FCR), IIR_RDI, "a load of IIR does not clear it");
    assert_eq!(rig.read(DATA), b'a');
    assert!(rig.line.level());
    assert_eq!(rig.read(DATA), b'b');
    assert!(!rig.line.level());
    assert_eq!(rig.read(IIR_FCR), IIR_NONE);
}

/// The probe of Linux' 8250 driver for a broken THRE: it must fire each time
/// it is switched on.
#[test]
fn transmitter_empty_fires_when_switched_on_and_after_each_byte() {
    let rig = Rig::new();
    for _ in 0..2 {
        rig.write(IER, IER_THRI);
        assert!(rig.line.level());
        assert_eq!(rig.read(IIR_FCR), IIR_THRI);
        assert!(!rig.line.level(), "a load of IIR acknowledges it");
        assert_eq!(rig.read(IIR_FCR), IIR_NONE);
        rig.write(IER, 0);
    }
    rig.write(IER, IER_THRI);
    rig.read(IIR_FCR);
    rig.write(DATA, b'x');
    assert!(rig.line.level());
    rig.write(IER, 0);
    assert!(!rig.line.level());
}

#[test]
fn received_data_goes_before_transmitter_empty() {
    let rig = Rig::new();
    rig.write(IER, IER_RDI | IER_THRI);
    rig.type_in(b"z");
    assert_eq!(rig.read(IIR_FCR), IIR_RDI);
    assert_eq!(rig.read(DATA), b'z');
    assert_eq!(rig.read(IIR_FCR), IIR_THRI);
}

#[test]
fn input_waits_at_the_backend_for_room() {
    let rig = Rig::new();
    let sent: Vec<u8> = (0..200).collect();
    rig.type_in(&sent);
    assert_eq!(rig.console.waiting(), sent.len() - FIFO);
    rig.uart.input_ready();
    assert_eq!(rig.console.waiting(), sent.len() - FIFO, "no room yet");
    let read: Vec<u8> = sent.iter().map(|_| rig.read(DATA)).collect();
    assert_eq!(read, sent);
    assert_eq!(rig.read(LSR) & LSR_DR, 0);
}

#[test]
fn divisor_latch_hides_data_and_ier() {
    let rig = Rig::new();
    rig.write(LCR, LCR_DLAB | 3);
    rig.write(DATA, 0x34);
    rig.write(IER, IER_THRI);
    assert_eq!((rig.read(DATA), rig.read(IER)), (0x34, IER_THRI));
    assert!(!rig.line.level() && rig.console.take_output().is_empty());
    rig.write(LCR, 3);
    assert_eq!(rig.read(IER), 0);
}

#[test]
fn fifo_control_enables_and_clears() {
    let rig = Rig::new();
    assert_eq!(rig.read(IIR_FCR), IIR_NONE);
    rig.write(IIR_FCR, FCR_ENABLE);
    assert_eq!(rig.read(IIR_FCR), IIR_FIFO | IIR_NONE);
    rig.write(IER, IER_RDI);
    rig.type_in(b"lost");
    rig.write(LCR, LCR_DLAB);
    rig.write(IIR_FCR, FCR_ENABLE | FCR_CLEAR_RECEIVER);
    assert_eq!(rig.read(LCR), LCR_DLAB);
    rig.write(LCR, 0);
    assert!(!rig.line.level());
    assert_eq!(rig.read(LSR) & LSR_DR, 0);
}

#[test]
fn loop_back_returns_what_is_sent() {
    let rig = Rig::new();
    rig.write(MCR, MCR_LOOP);
    rig.type_in(b"outside");
    rig.write(DATA, b'q');
    assert_eq!(rig.read(DATA), b'q');
    assert!(rig.console.take_output().is_empty());
    rig.write(MCR, 0);
    assert_eq!(rig.read(DATA), b'o');
}

#[test]
fn other_offsets_fault_and_wide_accesses_are_one_byte() {
    let rig = Rig::new();
    for offset in [8, 0xff] {
        assert!(rig.uart.read(offset, 1).is_err());
        assert!(rig.uart.write(offset, 1, 0).is_err());
    }
    rig.uart.write(7, 4, 0x1234_5678).unwrap();
    assert_eq!(rig.uart.read(7, 8), Ok(0x78));
}

#[test]
fn restore_in_mid_line_continues_there() {
    let saved = Rig::new();
    saved.write(IIR_FCR, FCR_ENABLE);
    saved.write(LCR, 3);
    saved.write(IER, IER_RDI | IER_THRI);
    saved.type_in(b"xyz");
    assert_eq!(saved.read(DATA), b'x');

    let fresh = Rig::new();
    fresh.uart.restore(saved.uart.save()).unwrap();
    assert_eq!(fresh.uart.save(), saved.uart.save());
    assert!(fresh.line.level());
    assert_eq!((fresh.read(DATA), fresh.read(DATA)), (b'y', b'z'));
    assert_eq!(fresh.read(IIR_FCR), IIR_FIFO | IIR_THRI);
    assert!(!fresh.line.level());
    fresh.write(DATA, b'!');
    assert_eq!(fresh.console.take_output(), b"!");

    let overfull = UartState { input: vec![0; FIFO + 1], ..fresh.uart.save() };
    assert!(fresh.uart.restore(overfull).is_err());
    fresh.uart.reset();
    assert!(!fresh.line.level());
    assert_eq!(fresh.read(IER), 0);
}
