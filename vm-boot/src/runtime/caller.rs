//! A hart's thread as the built-in SBI sees it.

use vm_cpu::csr::Priv;
use vm_cpu::hart::Mail;
use vm_cpu::isa::emit::CsrOp;
use vm_devices::{ConsoleBackend, MmioDevice};

use super::vcpu::Vcpu;
use crate::sbi::hsm::HartStates;
use crate::sbi::{Caller, Fence, HartState};

/// Registers of the serial port: what was typed comes by it, so that calls and a driver of the guest
/// take from one queue.
const RECEIVED: u64 = 0;
const LINE_STATUS: u64 = 5;
const DATA_READY: u64 = 1;

impl Caller for Vcpu {
    fn hart(&self) -> usize {
        self.id
    }

    fn hart_count(&self) -> usize {
        self.machine.config().cpus
    }

    fn state(&mut self) -> &mut HartState {
        &mut self.sbi
    }

    fn is_ram(&self, gpa: u64, len: u64) -> bool {
        let ram = self.machine.memory().range();
        gpa >= ram.start && gpa.checked_add(len).is_some_and(|end| end <= ram.end)
    }

    fn read(&self, gpa: u64, buf: &mut [u8]) -> bool {
        self.machine.memory().read(gpa, buf).is_ok()
    }

    fn write(&mut self, gpa: u64, buf: &[u8]) -> bool {
        self.machine.memory().write(gpa, buf).is_ok()
    }

    fn read_virtual(&mut self, va: u64) -> Option<u64> {
        self.hart.core_mut().read_virtual(va)
    }

    fn read_csr(&mut self, number: u16) -> Option<u64> {
        self.hart.core().csr().peek(number, &self.env())
    }

    fn write_csr(&mut self, number: u16, value: u64) -> bool {
        let env = self.env();
        self.hart.core_mut().with_csr(|csr| {
            let mode = std::mem::replace(&mut csr.prv, Priv::Machine);
            let written = csr.access(number, CsrOp::Write, value, false, true, &env).is_ok();
            csr.prv = mode;
            written
        })
    }

    fn set_timer(&mut self, time: u64) {
        let core = self.hart.core_mut();
        match core.csr().timer_deadline() {
            Some(_) => core.with_csr(|csr| csr.stimecmp = time),
            None => core.set_sbi_timer(time),
        }
    }

    fn send_ipi(&mut self, harts: u64) {
        self.machine.cluster().send_ipi(harts);
    }

    fn clear_ipi(&mut self) {
        const SIP: u16 = 0x144;
        const SSIP: u64 = 1 << 1;
        let env = self.env();
        // A hart that makes calls has S-mode, and S-mode has this register.
        let _ = self.hart.core_mut().with_csr(|csr| csr.access(SIP, CsrOp::Clear, SSIP, false, true, &env));
    }

    fn fence(&mut self, harts: u64, fence: Fence) {
        let letter = match fence {
            Fence::Instruction => Mail::FenceI,
            Fence::Address { range, asid } => {
                let (va, size) = range.unwrap_or((0, u64::MAX));
                Mail::Sfence { va, size, asid }
            }
        };
        self.hart.remote_fence(harts, letter);
    }

    fn harts(&self) -> &HartStates {
        self.machine.harts()
    }

    fn wake(&mut self, hart: usize) {
        self.seats[hart].poke();
    }

    fn console_write(&mut self, bytes: &[u8]) {
        self.console.output(bytes);
    }

    fn console_read(&mut self, buf: &mut [u8]) -> usize {
        let uart = self.machine.uart();
        let received = std::iter::from_fn(|| match uart.read(LINE_STATUS, 1) {
            Ok(status) if status & DATA_READY != 0 => uart.read(RECEIVED, 1).ok(),
            _ => None,
        });
        buf.iter_mut().zip(received).map(|(slot, byte)| *slot = byte as u8).count()
    }
}
