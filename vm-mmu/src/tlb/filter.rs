//! Which large pages may be in the TLB: a Bloom filter, since they are cached in 4 KiB pieces.
//!
//! A fence by address asks it once for each large size in use. A "yes" (true, or false by chance)
//! costs a whole generation and empties the filter, so it cannot stay full.

const BITS: usize = 1 << 13;
/// Large sizes as log2, rarest last.
const SIZES: [u32; 5] = [21, 30, 16, 39, 48];

pub(super) struct LargePages {
    bits: Box<[u64; BITS / 64]>,
    /// Bit `n`: pages of `SIZES[n]` were added.
    used: u8,
}

impl LargePages {
    pub fn new() -> LargePages {
        LargePages { bits: Box::new([0; BITS / 64]), used: 0 }
    }

    /// Notes that a piece of the `size`-byte page around `va` is cached.
    pub fn add(&mut self, va: u64, size: u64) {
        let Some(kind) = SIZES.iter().position(|&log2| 1 << log2 == size) else { return };
        self.used |= 1 << kind;
        for bit in bits(va, kind) {
            self.bits[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// Whether a large page around `va` may be cached. Never wrong when it says no.
    pub fn may_hold(&self, va: u64) -> bool {
        let set = |bit: usize| self.bits[bit / 64] >> (bit % 64) & 1 != 0;
        (0..SIZES.len()).any(|kind| self.used >> kind & 1 != 0 && bits(va, kind).into_iter().all(set))
    }

    pub fn clear(&mut self) {
        if self.used != 0 {
            self.bits.fill(0);
            self.used = 0;
        }
    }
}

/// The two bits of a page.
fn bits(va: u64, kind: usize) -> [usize; 2] {
    let page = (va >> SIZES[kind]) ^ (kind as u64) << 60;
    let mixed = page.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [(mixed >> 51) as usize, (mixed >> 38) as usize % BITS]
}
