//! A small image, for tests of whoever reads or keeps images.

use ed25519_dalek::SigningKey;

use super::image::{About, Host, write};
use super::origin::Origin;
use super::trust::Trust;
use super::unit::{AheadSite, AheadSlots, AheadUnit, Contents};

/// Words that belong to no unit.
pub const SHARED: u32 = 10;
/// The layout it is made for.
pub const LAYOUT: u64 = 0x1122_3344_5566_7788;

/// The key that signs it.
pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Who trusts that key and nobody else.
pub fn trust() -> Trust {
    Trust::of([key().verifying_key()])
}

/// The host it is made for.
pub fn host() -> Host {
    Host { layout_hash: LAYOUT, cpu_level: "x86-64-v3".parse().expect("a level"), shared_words: SHARED }
}

/// What it is for.
pub fn about() -> About {
    About {
        guest: "sample".to_owned(),
        version: 5,
        layout_hash: LAYOUT,
        cpu_level: "x86-64-v2,fma".parse().expect("a level"),
        shared_words: SHARED,
    }
}

fn site(offset: u16, bits: u32, slot: u16) -> AheadSite {
    AheadSite { bits, op: 1, offset, rest: 1, slot, beside: false, apart: false }
}

/// Three units.
pub fn contents() -> Contents {
    let units = vec![
        AheadUnit {
            text: 0,
            len: 100,
            entries: vec![(0x100, 3)],
            sites: vec![site(0x100, 0x4501, 0), site(0x102, 0x0000_0013, 0)],
            links: Vec::new(),
            words: SHARED,
            slots: None,
            heat: 1000,
            places: vec![(0, 0)],
        },
        AheadUnit {
            text: 128,
            len: 70,
            entries: vec![(0x100, 0), (0x102, 60)],
            sites: vec![site(0x100, 0x4501, 0), site(0x102, 0x0005_3023, 2), site(0x106, 0x8082, 0)],
            links: vec![0, 0xffe],
            words: SHARED + 2,
            slots: Some(AheadSlots { first: 1, len: 2, key: 1, stores: 1 }),
            heat: 10,
            places: vec![(0, 0), (10, 1), (50, 2)],
        },
        AheadUnit {
            text: 256,
            len: 64,
            entries: vec![(0xffc, 63)],
            sites: vec![site(0xffc, 0x0005_3503, 4)],
            links: vec![0xffc],
            words: SHARED + 6,
            slots: Some(AheadSlots { first: 3, len: 3, key: 2, stores: 0 }),
            heat: 1,
            places: vec![(0, 0)],
        },
    ];
    let origin = |unit, names| Origin { unit, digest: [unit as u8; 16], names };
    let origins = vec![origin(0, vec![(3, -4), (20, -8)]), origin(2, vec![])];
    Contents { units, text: (0..320).map(|at| at as u8 | 1).collect(), words: SHARED + 9, origins }
}

/// The file.
pub fn file() -> Vec<u8> {
    write(&contents(), &about(), &key()).expect("a good image")
}
