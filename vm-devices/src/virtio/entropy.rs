//! virtio entropy source (virtio 1.2, section 5.4): random bytes of the host.

use super::chain::{self, Chain};
use super::{Outcome, VirtioDevice, host};
use crate::metrics::Counter;
use crate::snapshot::RestoreError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;
use vm_memory::GuestMemory;

const QUEUE_SIZE: u16 = 64;
/// Most bytes a request gets, so that a doorbell stays short: a device may give
/// fewer than there is room for.
const MOST: u64 = 1 << 16;
const CHUNK: usize = 1024;

/// A snapshot keeps nothing: the device has no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntropyState {}

/// An entropy source.
#[derive(Debug, Default)]
pub struct Entropy {
    bytes: Arc<Counter>,
}

impl Entropy {
    /// A source backed by the host's generator.
    pub fn new() -> Entropy {
        Entropy::default()
    }

    /// Bytes given; shared, because the device itself goes into its transport.
    pub fn bytes(&self) -> Arc<Counter> {
        self.bytes.clone()
    }
}

impl<M: GuestMemory> VirtioDevice<M> for Entropy {
    type State = EntropyState;
    const VERSION: u16 = 1;

    fn id(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn features(&self) -> u64 {
        0
    }

    fn config(&self) -> &[u8] {
        &[]
    }

    fn serve(&mut self, _queue: usize, chain: &Chain, mem: &M) -> Outcome {
        let room = chain::total(chain.writable()).min(MOST);
        let mut buf = [0; CHUNK];
        let mut done = 0;
        while done < room {
            let chunk = &mut buf[..(room - done).min(CHUNK as u64) as usize];
            if let Err(error) = host::random(chunk) {
                tracing::warn!(%error, "the host has no random bytes for the guest");
                break;
            }
            match chain::copy_to(chain.writable(), done, chunk, mem) {
                Ok(count) => done += count as u64,
                Err(_) => break,
            }
        }
        self.bytes.add(done);
        Outcome::Done(done as u32)
    }

    fn save(&self) -> EntropyState {
        EntropyState {}
    }

    fn restore(&mut self, _state: EntropyState) -> Result<(), RestoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::driver::*;
    use crate::testing::wires::RecordedLine;
    use crate::virtio::{Version, VirtioMmio};
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    type Memory = GuestMemoryMmap<()>;

    const RAM: u64 = 0x8000_0000;
    const DATA: u64 = RAM + 0x1_0000;

    #[test]
    fn room_is_filled_up_to_the_most_a_request_gets() {
        for version in [Version::Legacy, Version::Modern] {
            let mem = Arc::new(Memory::from_ranges(&[(GuestAddress(RAM), 0x10_0000)]).unwrap());
            let entropy = Entropy::new();
            let given = entropy.bytes();
            let transport = VirtioMmio::new(version, entropy, mem.clone(), Arc::new(RecordedLine::default()));
            let queue = DriverQueue::at(RAM, QUEUE_SIZE);
            let mut driver = Driver::start(&*transport, &*mem, version, ALL_FEATURES, &[queue]);
            let head =
                driver.add(0, &[readable(DATA, 64), writable(DATA + 64, 1000), writable(DATA + 2000, 1048)]);
            driver.kick(0);
            assert_eq!(driver.take_used(0), Some((head, 2048)));
            let mut bytes = [0u8; 4096];
            mem.read_slice(&mut bytes, GuestAddress(DATA)).unwrap();
            let zeroes =
                |range: std::ops::Range<usize>| bytes[range].iter().filter(|&&byte| byte == 0).count();
            assert_eq!((zeroes(0..64), zeroes(1064..2000), zeroes(3048..4096)), (64, 936, 1048));
            // 2048 random bytes hold 8 zeroes on average, and hardly ever 64.
            assert!(zeroes(64..1064) + zeroes(2000..3048) < 64);

            let head = driver.add(0, &[writable(DATA, 0x8_0000)]);
            driver.kick(0);
            assert_eq!(driver.take_used(0), Some((head, MOST as u32)));
            assert_eq!(given.get(), 2048 + MOST);
        }
    }
}
