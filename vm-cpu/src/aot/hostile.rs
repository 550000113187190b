//! Images as somebody else would have them: each is refused by name, and nothing panics.

use super::header::{PAGE, SECTIONS};
use super::image::{Image, sign, write};
use super::sample::{about, contents, file, host, key, trust};
use super::unit::{AheadUnit, Contents};
use super::{ImageError, KeyId};

fn read(file: &[u8]) -> Result<Image, ImageError> {
    Image::read(file, &trust(), &host())
}

#[test]
fn an_image_comes_out_as_it_went_in() {
    let file = file();
    assert_eq!(file, super::sample::file(), "the same bytes each time");
    let image = read(&file).unwrap();
    assert_eq!(image.contents(), Ok(contents()));
    assert_eq!(image.text().start % PAGE, 0);
    assert_eq!(image.key(), KeyId::of(key().verifying_key().as_bytes()));
    assert_eq!((image.header().guest.as_str(), image.header().version), ("sample", 5));
    assert_eq!(image.level().to_string(), "x86-64-v2,fma");
    assert_eq!(Image::open(&file), Ok(image));
    let empty = write(&Contents::default(), &about(), &key()).unwrap();
    assert_eq!(read(&empty).unwrap().units(), Ok(vec![]));
}

#[test]
fn the_format_is_what_its_number_says() {
    let digest = blake3::hash(&file()).to_string();
    let noted = "05c30bbaf0802a0abd2df13c8b437a3b058db4737f1c1e16884273c8c673abe1";
    assert_eq!(
        digest, noted,
        "another layout of the file or of units: raise FORMAT in header.rs, then note this"
    );
}

#[test]
fn every_place_in_the_text_is_of_its_unit_and_every_way_in_is_found() {
    let image = read(&file()).unwrap();
    let units = image.units().unwrap();
    for text in 0..400 {
        let is_in = |unit: &&AheadUnit| (unit.text..unit.text + unit.len).contains(&text);
        let expected = units.iter().find(is_in);
        let found = image.resolve(text).map(|place| (&units[place.unit], place.code));
        assert_eq!(found, expected.map(|unit| (unit, text - unit.text)), "{text}");
    }
    let place = image.resolve(130).unwrap();
    assert_eq!((place.unit, place.code, place.first, place.end), (1, 2, 0x100, 0x108));
    let ways = |offset, bits| image.ways(offset, bits).map(|w| (w.unit, w.code)).collect::<Vec<_>>();
    assert_eq!(ways(0x100, 0x4501), [(0, 3), (1, 0)]);
    assert_eq!(ways(0x102, 0x0005_3023), [(1, 60)]);
    assert_eq!(ways(0x102, 0x0000_0013), [], "no way in");
    assert_eq!(ways(0x100, 0x4502), []);
    let offset = |code| units[1].site_at(code).map(|site| site.offset);
    let expected = [Some(0x100), Some(0x100), Some(0x102), Some(0x102), Some(0x106), Some(0x106), None];
    assert_eq!([0, 9, 10, 59, 60, 69, 70].map(offset), expected);
}

#[test]
fn every_flipped_byte_is_refused_by_name() {
    let good = file();
    for at in 0..good.len() {
        for bit in [1, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= bit;
            let expected: &[&str] = match at {
                0..8 => &["is no AOT image"],
                8..12 => &["its format is"],
                24..32 => &["is truncated", "is too long"],
                80..112 => &["which is not trusted"],
                _ if at < PAGE => &["is not what key"],
                _ => &["is damaged: the BLAKE3 of section"],
            };
            let found = read(&bad).unwrap_err().to_string();
            assert!(expected.iter().any(|text| found.contains(text)), "byte {at}: {found}");
        }
    }
}

#[test]
fn every_other_length_is_refused_by_name() {
    let good = file();
    let long = good.len() as u64;
    for at in 0..good.len() {
        let error = read(&good[..at]).unwrap_err();
        match at {
            0 => assert!(matches!(error, ImageError::Foreign { .. })),
            _ => {
                assert!(matches!(error, ImageError::Truncated { found, .. } if found == at as u64), "{error}")
            }
        }
    }
    for more in [1, PAGE] {
        let found = long + more as u64;
        let longer = [&good[..], &vec![0; more]].concat();
        assert_eq!(read(&longer), Err(ImageError::Oversized { expected: long, found }));
    }
    assert!(matches!(read(&[b'x'; PAGE]), Err(ImageError::Foreign { .. })));
}

#[test]
fn sections_of_another_image_are_refused() {
    let good = file();
    let mut other = contents();
    other.text[5] ^= 4;
    other.units[1].heat += 1;
    other.units[0].entries[0].1 += 1;
    other.origins[1].digest[3] ^= 1;
    let other = write(&other, &about(), &key()).unwrap();
    assert_eq!(other.len(), PAGE * (1 + SECTIONS.len()), "a page each");
    for (page, section) in SECTIONS.into_iter().enumerate() {
        let at = (page + 1) * PAGE..(page + 2) * PAGE;
        let mut swapped = good.clone();
        swapped[at.clone()].copy_from_slice(&other[at]);
        match section {
            "ranges" => assert_eq!(swapped, good, "of places alone"),
            _ => assert_eq!(read(&swapped), Err(ImageError::Checksum { section })),
        }
    }
    let mut header = good.clone();
    header[..PAGE].copy_from_slice(&other[..PAGE]);
    assert_eq!(read(&header), Err(ImageError::Checksum { section: "text" }));
}

#[test]
fn an_image_for_another_program_host_or_time_is_refused() {
    let file = file();
    let at = |change: &dyn Fn(&mut super::Host)| {
        let mut host = host();
        change(&mut host);
        Image::read(&file, &trust(), &host).unwrap_err().to_string()
    };
    assert!(
        at(&|host| host.layout_hash = 1).contains("expected layout 0000000000000001, found 1122334455667788")
    );
    let other = at(&|host| host.cpu_level = "x86-64-v2".parse().unwrap());
    assert!(other.contains("it needs x86-64-v2,fma, the host has x86-64-v2"), "{other}");
    let more = Image::read(&file, &trust(), &super::Host { shared_words: 11, ..host() }).unwrap();
    let refused = more.unit(0).unwrap_err().to_string();
    assert!(refused.contains("unit 0: words: expected words from 11 up to 19"), "{refused}");
    let newer = [&file[..8], &6u32.to_le_bytes(), &file[12..]].concat();
    assert_eq!(read(&newer), Err(ImageError::Newer { what: "format", found: 6, known: 5 }));
    let older = [&file[..8], &2u32.to_le_bytes(), &file[12..]].concat();
    assert_eq!(read(&older), Err(ImageError::Older { what: "format", found: 2, known: 5 }));
}

#[test]
fn signing_anew_changes_the_key_and_the_version_alone() {
    let (file, other) = (file(), ed25519_dalek::SigningKey::from_bytes(&[8; 32]));
    let signed = sign(&file, 6, &other).unwrap();
    assert!(matches!(read(&signed), Err(ImageError::NotTrusted { known: 1, .. })));
    assert_eq!(signed[PAGE..], file[PAGE..]);
    assert_eq!(sign(&signed, 5, &key()), Ok(file));
}
