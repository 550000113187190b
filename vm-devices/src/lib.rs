//! Devices of the `virt`-compatible machine: bus, interrupt controllers, UART,
//! clock, power and virtio.
//!
//! ```text
//!   hart ── read/write(gpa) ──▶ MmioBus ──▶ MmioDevice ──▶ guest memory (vm-memory)
//!     ▲                                        │
//!     └── HartLines ◀── Clint, Plic ◀── IrqLine┘
//! ```
//!
//! The crate knows guest memory and nothing else: harts, clocks, consoles and
//! the machine's power are reached through the small traits in [`wires`] and
//! [`console`]. **Invariant:** nothing a guest stores in a register or in a
//! virtqueue can panic, block for ever, or touch memory outside the ranges the
//! guest's own descriptors name.

pub mod bus;
pub mod clint;
pub mod console;
pub mod fdt;
pub mod generation;
pub mod map;
pub mod metrics;
pub mod plic;
pub mod power;
pub mod rtc;
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod uart;
pub mod virtio;
pub mod wires;

pub use bus::{AttachError, MmioBus, MmioDevice, MmioError};
pub use clint::Clint;
pub use console::ConsoleBackend;
pub use fdt::{DeviceTree, Site};
pub use generation::Generation;
pub use plic::Plic;
pub use power::Power;
pub use rtc::{HostWallClock, Rtc, WallClock};
pub use snapshot::{RestoreError, Snapshot};
pub use uart::Uart;
pub use wires::{Clock, HartLine, HartLines, IrqLine, PowerEvents};
