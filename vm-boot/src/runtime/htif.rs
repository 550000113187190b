//! The host-target interface of bare test programs: words in guest memory, looked at now and then.
//!
//! ```text
//!  tohost = code << 1 | 1            end of the program
//!  tohost = 1 << 56 | 1 << 48 | byte print one byte
//!  tohost = address                  a call: number and arguments as doublewords at the address
//! ```
//! Of the calls there is `write` (64) to any descriptor; others answer "no such call". After each
//! command the word is cleared, and `fromhost`, if the program has one, is set to 1.

use vm_devices::ConsoleBackend;
use vm_mmu::{AccessError, AddressSpace};

use crate::loader::Htif;

const PUT_BYTE: u64 = 1 << 8 | 1;
const WRITE: u64 = 64;
const NO_SUCH_CALL: u64 = -38i64 as u64;
/// Longest text that one call prints.
const WRITE_LIMIT: u64 = 1 << 16;

/// Looks for a command and carries it out; the exit code if it was the last.
pub(super) fn poll(
    htif: Htif,
    memory: &AddressSpace,
    console: &dyn ConsoleBackend,
) -> Result<Option<u64>, AccessError> {
    let command = memory.read_u64(htif.tohost)?;
    match (command >> 48, command & 1) {
        _ if command == 0 => return Ok(None),
        (0, 1) => return Ok(Some(command >> 1)),
        (0, _) => call(command, memory, console)?,
        (PUT_BYTE, _) => console.output(&[command as u8]),
        _ => tracing::debug!(command, "the host-target interface knows no such command"),
    }
    memory.write_u64(htif.tohost, 0)?;
    if let Some(fromhost) = htif.fromhost {
        memory.write_u64(fromhost, 1)?;
    }
    Ok(None)
}

fn call(at: u64, memory: &AddressSpace, console: &dyn ConsoleBackend) -> Result<(), AccessError> {
    let result = match memory.read_u64(at)? {
        WRITE => {
            let (text, len) = (memory.read_u64(at + 16)?, memory.read_u64(at + 24)?.min(WRITE_LIMIT));
            let mut bytes = vec![0; len as usize];
            memory.read(text, &mut bytes)?;
            console.output(&bytes);
            len
        }
        _ => NO_SUCH_CALL,
    };
    memory.write_u64(at, result)
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use vm_mmu::{Backend, Perm};

    use super::*;

    const BASE: u64 = 0x8000_0000;
    const HTIF: Htif = Htif { tohost: BASE + 0x100, fromhost: Some(BASE + 0x108) };

    #[derive(Default)]
    struct Printed(Mutex<Vec<u8>>);

    impl ConsoleBackend for Printed {
        fn output(&self, bytes: &[u8]) {
            self.0.lock().extend_from_slice(bytes);
        }

        fn input(&self, _: &mut [u8]) -> usize {
            0
        }
    }

    fn memory() -> AddressSpace {
        let memory = AddressSpace::new(BASE..BASE + 0x2000).unwrap();
        memory.map(BASE..BASE + 0x2000, Backend::Linear { huge: false }, Perm::RWX).unwrap();
        memory
    }

    #[test]
    fn the_end_has_a_code() {
        let (memory, console) = (memory(), Printed::default());
        assert_eq!(poll(HTIF, &memory, &console), Ok(None));
        memory.write_u64(HTIF.tohost, 21 << 1 | 1).unwrap();
        assert_eq!(poll(HTIF, &memory, &console), Ok(Some(21)));
    }

    #[test]
    fn bytes_and_buffers_are_printed_and_answered() {
        let (memory, console) = (memory(), Printed::default());
        memory.write_u64(HTIF.tohost, PUT_BYTE << 48 | u64::from(b'>')).unwrap();
        assert_eq!(poll(HTIF, &memory, &console), Ok(None));
        assert_eq!((memory.read_u64(HTIF.tohost), memory.read_u64(BASE + 0x108)), (Ok(0), Ok(1)));
        memory.write(BASE + 0x400, b"hello").unwrap();
        for (word, value) in [WRITE, 1, BASE + 0x400, 5].into_iter().enumerate() {
            memory.write_u64(BASE + 0x200 + word as u64 * 8, value).unwrap();
        }
        memory.write_u64(HTIF.tohost, BASE + 0x200).unwrap();
        assert_eq!(poll(HTIF, &memory, &console), Ok(None));
        assert_eq!(*console.0.lock(), b">hello");
        assert_eq!(memory.read_u64(BASE + 0x200), Ok(5));
    }

    #[test]
    fn nonsense_is_answered_or_refused() {
        let (memory, console) = (memory(), Printed::default());
        memory.write_u64(BASE + 0x200, 999).unwrap();
        memory.write_u64(HTIF.tohost, BASE + 0x200).unwrap();
        assert_eq!(poll(HTIF, &memory, &console), Ok(None));
        assert_eq!(memory.read_u64(BASE + 0x200), Ok(NO_SUCH_CALL));
        memory.write_u64(HTIF.tohost, 0x1000).unwrap();
        assert!(poll(HTIF, &memory, &console).is_err());
        memory.write_u64(HTIF.tohost, 7 << 56).unwrap();
        assert_eq!(poll(HTIF, &memory, &console), Ok(None));
    }
}
