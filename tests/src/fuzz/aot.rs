//! Any file as an AOT image, also one that a trusted key has signed: it is refused with a message, or whatever a
//! loader relies on holds.
//!
//! ```text
//!  0 kind   then the file itself, or what is different in a well-formed one: page and offset, byte
//! ```

use std::ops::Range;

use ed25519_dalek::{Signer, SigningKey};
use vm_cpu::aot::image::write;
use vm_cpu::aot::origin::Origin;
use vm_cpu::aot::unit::{AheadSite, AheadSlots, AheadUnit, Contents};
use vm_cpu::aot::{About, Host, Image, Trust};

use super::{Input, check_message};

const PAGE: usize = 4096;
const LAYOUT: u64 = 9;
/// Words that belong to no unit.
const SHARED: u32 = 4;
/// How much of a section is changed.
const FRONT: usize = 512;

/// As it is, and signed anew after each kind of change.
pub const SEEDS: &[&[u8]] = &[
    &[1],
    &[2],
    &[2, 4, 10, 1],
    &[2, 4, 0, 0],
    &[2, 4, 4, 5, 4, 9, 8],
    &[2, 6, 3, 1],
    &[2, 8, 2, 2],
    &[2, 0, 44, 1],
];

/// The target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let key = SigningKey::from_bytes(&[1; 32]);
    let file = match input.byte() % 3 {
        0 => input.rest().to_vec(),
        1 => damage(input, well_formed(&key)),
        _ => signed(damage(input, well_formed(&key)), &key),
    };
    let trust = Trust::of([key.verifying_key()]);
    match Image::read(&file, &trust, &host()) {
        Ok(image) => check(&image, &key),
        Err(error) => check_message(&error),
    }
    if let Err(error) = Image::open(&file) {
        check_message(&error);
    }
}

fn host() -> Host {
    Host { layout_hash: LAYOUT, cpu_level: "x86-64-v3".parse().expect("a level"), shared_words: SHARED }
}

fn well_formed(key: &SigningKey) -> Vec<u8> {
    let about = About {
        guest: "fuzz".to_owned(),
        version: 1,
        layout_hash: LAYOUT,
        cpu_level: "x86-64-v2".parse().expect("a level"),
        shared_words: SHARED,
    };
    write(&contents(), &about, key).expect("a good image")
}

/// A few units, some with inline caches.
fn contents() -> Contents {
    let site = |offset, bits, slot| AheadSite {
        bits,
        op: 3,
        offset,
        rest: 1,
        slot,
        beside: slot & 1 == 1,
        apart: slot & 2 == 2,
    };
    let unit = |n: u16| AheadUnit {
        text: 64 * u32::from(n),
        len: 60,
        entries: vec![(16 * n, 0), (16 * n + 2, 20)],
        sites: vec![
            site(16 * n, 0x4501, 0),
            site(16 * n + 2, 0x3503, 2 * n * (n & 1)),
            site(16 * n + 6, 0x8082, 0),
        ],
        links: vec![16 * n + 8],
        words: SHARED + 3 * u32::from(n),
        slots: (n & 1 == 1).then(|| AheadSlots { first: 2 * n - 1, len: 2, key: n.into(), stores: 0 }),
        heat: 100 - u64::from(n),
        places: vec![(0, 0), (20, 1)],
    };
    let origin = |unit: u32| Origin { unit, digest: [unit as u8; 16], names: vec![(8 * unit, -4), (4, -8)] };
    let (units, origins) = ((0..4).map(unit).collect(), (0..4).map(origin).collect());
    Contents { units, text: vec![0x90; 256], words: SHARED + 12, origins }
}

/// Changes bytes at the front of sections, or of the header.
fn damage(mut input: Input, mut file: Vec<u8>) -> Vec<u8> {
    while !input.is_empty() {
        let at = input.number::<2>() as usize;
        let page = at / FRONT % (file.len() / PAGE);
        file[page * PAGE + at % FRONT] = input.byte();
    }
    file
}

/// Makes digests and signature right, as far as the table of sections makes sense.
fn signed(mut file: Vec<u8>, key: &SigningKey) -> Vec<u8> {
    for row in (256..512).step_by(64) {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|k| file[row + at + k])) as usize;
        let (offset, length) = (number(16), number(24));
        let end = offset.checked_add(length).and_then(|end| end.checked_next_multiple_of(PAGE));
        if let Some(pages) = end.and_then(|end| file.get(offset..end)) {
            let digest = blake3::hash(pages);
            file[row + 32..row + 64].copy_from_slice(digest.as_bytes());
        }
    }
    file[80..112].copy_from_slice(key.verifying_key().as_bytes());
    let signature = key.sign(&file[..PAGE - 64]);
    file[PAGE - 64..PAGE].copy_from_slice(&signature.to_bytes());
    file
}

/// What a loader relies on.
fn check(image: &Image, key: &SigningKey) {
    let text = image.text();
    assert!(text.start.is_multiple_of(PAGE) && text.end <= image.bytes().len());
    let units: Vec<_> = (0..image.len()).map(|number| image.unit(number)).collect();
    let all = image.units();
    let mut code: Vec<Range<u32>> = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        let unit = match unit {
            Ok(unit) => unit,
            Err(error) => {
                check_message(error);
                continue;
            }
        };
        assert!((unit.text + unit.len) as usize <= text.len());
        code.push(unit.text..unit.text + unit.len);
        for at in [unit.text, unit.text + unit.len - 1] {
            assert_eq!(
                image.resolve(at).map(|place| (place.unit, place.code)),
                Some((number, at - unit.text))
            );
        }
        for &(offset, code) in &unit.entries {
            let site = unit.sites.iter().find(|site| site.offset == offset).expect("an entry is a site");
            let mut ways = image.ways(offset, site.bits);
            assert!(all.is_err() || ways.any(|way| (way.unit as usize, way.code) == (number, code)));
            assert!(unit.site_at(code).is_some());
        }
        assert!(unit.sites.iter().all(|site| site.offset < 4096 && site.slot != 1));
        assert!(unit.words >= SHARED && unit.words + 2 + unit.links.len() as u32 <= image.words());
    }
    code.sort_by_key(|range| range.start);
    assert!(code.windows(2).all(|pair| pair[0].end <= pair[1].start));
    let Ok(units) = all else { return };
    let about = About {
        guest: image.header().guest.clone(),
        version: image.header().version,
        layout_hash: LAYOUT,
        cpu_level: image.level().clone(),
        shared_words: SHARED,
    };
    let contents = image.contents().expect("all units are good");
    let again = write(&contents, &about, key).expect("what was read can be written");
    let read = Image::open(&again).expect("what was written can be read");
    assert_eq!(read.units(), Ok(units));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Damage to what is refused from the start would test nothing.
    #[test]
    fn the_image_is_taken_as_it_is_and_signed_anew() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let (file, trust) = (well_formed(&key), Trust::of([key.verifying_key()]));
        let image = Image::read(&file, &trust, &host()).expect("a good image");
        assert_eq!(image.contents(), Ok(contents()));
        assert_eq!(signed(file.clone(), &key), file);
        let heat = file[2 * PAGE..].iter().position(|&byte| byte == 99).expect("the heat of the second unit");
        let at = (2 * FRONT + heat) as u16;
        let other = damage(Input(&[&at.to_be_bytes()[..], &[98]].concat()), file.clone());
        assert!(Image::read(&other, &trust, &host()).is_err());
        let image = Image::read(signed(other, &key), &trust, &host()).expect("a good image");
        assert_eq!(image.unit(1).map(|unit| unit.heat), Ok(98));
    }
}
