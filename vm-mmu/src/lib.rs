//! Guest memory: where it lies on the host, how a guest's page tables reach it, and who must hear of
//! a write to it.
//!
//! ```text
//!  va ──SoftTlb (hit)──────────────────────────────► host address = va + addend
//!  va ──walk::<Sv39…>──► gpa ──AddressSpace──► host address = gpa + one constant
//!                               │ read, write (the door), vm-memory view for DMA
//!                               └─► Tracker: dirty pages, granules that code was made from
//! ```
//!
//! Addresses are plain `u64`: `gpa` is guest-physical, `va` guest-virtual. **Invariant:** guest RAM is
//! never a `&[u8]`; other harts and devices race on it, so it is touched only by single host
//! instructions and by copies ([`Word`]). Every store passes the [`Tracker`], except a store through a
//! write tag of a [`SoftTlb`], which exists only while the page holds no code.

/// Bytes of a base page.
pub const PAGE: u64 = 4096;

mod host;
pub mod paging;
mod perm;
pub mod space;
pub mod tlb;
pub mod tracker;

pub use host::{AtomicWord, Word, can_order_everywhere};
pub use paging::{Access, Leaf, PteMemory, Scheme, WalkCache, WalkFault, WalkMode, walk};
pub use perm::Perm;
pub use space::{
    AccessError, AddressSpace, Backend, FillError, GuestMemory, MapError, Populate, RamRef, RegionInfo,
    RegionKind,
};
pub use tlb::{Class, ENTRIES, Entry, SoftTlb, TlbStats};
pub use tracker::{CodeListener, DirtyPages, Tracker};
