//! The hash of every table here: golden-ratio multiplication of a folded key.

/// 2^64 / φ, odd: spreads strided keys evenly over the upper bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hash of `key`; its upper bits are the good ones.
#[inline(always)]
pub const fn hash(key: u64) -> u64 {
    // The fold helps strides of a page and more, which lie badly to the golden ratio by itself.
    (key ^ key >> 14).wrapping_mul(GOLDEN)
}
