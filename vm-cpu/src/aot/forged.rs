//! Images that a trusted key has signed, and that hold what cannot be: a defect of the builder, or worse. Each is
//! refused by the field, and nothing panics.

use proptest::prelude::*;

use super::header::{self, Header, SECTIONS};
use super::image::{Image, build_id};
use super::origin::{self, Origin};
use super::sample::{contents, file, host, key, trust};
use super::unit::{AheadSite, AheadUnit};
use super::{ImageError, index};

type Parts = [Vec<u8>; SECTIONS.len()];

/// Signs the sample with other parts and another header.
fn forge(change: impl FnOnce(&mut Parts, &mut Header)) -> Result<Vec<AheadUnit>, ImageError> {
    forge_image(change)?.units()
}

fn forge_image(change: impl FnOnce(&mut Parts, &mut Header)) -> Result<Image, ImageError> {
    let good = file();
    let image = Image::open(&good).unwrap();
    let mut header = image.header().clone();
    let mut parts = header.sections.map(|section| good[section.range()].to_vec());
    change(&mut parts, &mut header);
    let (sections, behind) = header::lay_out(&parts);
    header.sections = sections;
    let mut bad = header.write(&key());
    bad.extend(behind);
    Image::read(bad, &trust(), &host())
}

/// Signs the sample with other units, and everything that follows from them.
fn with_units(change: impl FnOnce(&mut Vec<AheadUnit>)) -> String {
    let mut units = contents().units;
    change(&mut units);
    let refused = forge(|parts, header| {
        [parts[1], parts[2], parts[3]] = index::write(&units).unwrap();
        (header.units, header.build_id) = (units.len() as u32, build_id(&units));
    });
    refused.unwrap_err().to_string()
}

#[test]
fn a_unit_that_cannot_be_is_refused_by_its_field() {
    type Change = fn(&mut Vec<AheadUnit>);
    let cases: [(Change, &str); 41] = [
        (|u| u[1].text = 130, "unit 1: text: expected a multiple of 64, found 130"),
        (|u| u[2].text = 320, "unit 2: text: expected an end at 0x140 at most, found 0x180"),
        (|u| u[2].text = 0xffff_ffc0, "unit 2: text: expected an end at 0x140 at most, found 0x100000000"),
        (|u| u[0].len = 0, "unit 0: len: expected some code"),
        (|u| u[2].len = u32::MAX, "unit 2: text: expected an end"),
        (|u| u[0].len = 129, "unit 1: text: expected what no unit before it has, from 129 on, found 128"),
        (|u| u[0].text = 128, "unit 1: text: expected what no unit before it has, from 228 on"),
        (|u| u[1].sites.clear(), "unit 1: sites: expected some instructions"),
        (|u| u[1].sites[1].offset = 0x103, "unit 1: site: expected an even offset below 4096, found 259"),
        (|u| u[2].sites[0].offset = 4096, "unit 2: site: expected an even offset below 4096"),
        (|u| u[2].sites[0].offset = 0xffe, "unit 2: site: expected an instruction that ends in its page"),
        (
            |u| u[1].sites[0].bits = 0x1_4501,
            "unit 1: bits: expected zeros above a compressed instruction, found 1",
        ),
        (|u| u[1].sites[0].rest = 0, "unit 1: rest: expected 1 to 3 instructions, found 0"),
        (|u| u[1].sites[0].rest = 4, "unit 1: rest: expected 1 to 3 instructions, found 4"),
        (|u| u[1].sites.swap(0, 2), "unit 1: site: expected an offset above 0x106, found 0x102"),
        (|u| u[1].sites[1].offset = 0x100, "unit 1: site: expected an offset above 0x100"),
        (|u| u[0].entries.clear(), "unit 0: entries: expected a way in"),
        (|u| u[0].entries[0].0 = 0x101, "unit 0: entry: expected an even offset"),
        (|u| u[0].entries[0].0 = 0xfff0, "unit 0: entry: expected an even offset below 4096"),
        (|u| u[0].entries[0].0 = 0x104, "unit 0: entry: expected the offset of a site, found 0x104"),
        (|u| u[0].entries[0].1 = 100, "unit 0: entry: expected code below 0x64, found 0x64"),
        (|u| u[1].entries[1].0 = 0x100, "unit 1: entry: expected each once, found 0x100 twice"),
        (|u| u[1].links[0] = 4096, "unit 1: link: expected an even offset below 4096"),
        (|u| u[1].links[0] = 0xffe, "unit 1: link: expected each once"),
        (|u| u[0].words = 9, "unit 0: words: expected words from 10 up to 19, found 9 to 11"),
        (|u| u[2].words = 17, "unit 2: words: expected words from 10 up to 19, found 17 to 20"),
        (|u| u[2].words = u32::MAX, "unit 2: words: expected words from 10"),
        (|u| u[0].words = 11, "unit 1: words: expected what no unit before it has, from 13 on, found 12"),
        (|u| u[1].slots.as_mut().unwrap().first = 0, "unit 1: slots: expected numbers from 1"),
        (
            |u| u[2].slots.as_mut().unwrap().len = u16::MAX,
            "unit 2: slots: expected numbers from 1 to 65535, found 3 to",
        ),
        (|u| u[1].slots.as_mut().unwrap().len = 1, "unit 1: slots: expected a header and one more, found 1"),
        (|u| u[1].slots.as_mut().unwrap().stores = 2, "unit 1: stores: expected fewer than 2, found 2"),
        (|u| u[1].slots.as_mut().unwrap().len = 3, "unit 2: slots: expected what no unit before it has"),
        (|u| u[1].slots.as_mut().unwrap().key = 2, "key of slots: expected what no unit before it has"),
        (|u| u[1].slots = None, "unit 1: slot: expected none in a unit without slots, found 2"),
        (|u| u[2].sites[0].slot = 3, "unit 2: slot: expected 4 to 5, found 3"),
        (|u| u[1].places.clear(), "unit 1: places: expected one from the start on"),
        (|u| u[1].places[0].0 = 1, "unit 1: places: expected one from the start on"),
        (|u| u[1].places[2].0 = 60, "unit 1: places: expected code below 0x46, found 70"),
        (|u| u[1].places[2].0 = u32::MAX, "unit 1: places: expected code below 0x46"),
        (|u| u[1].places[2].1 = 3, "unit 1: places: expected a site below 3, found 3"),
    ];
    let mut wrong = Vec::new();
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let found = with_units(change);
        if !found.contains(expected) {
            wrong.push(format!("case {number}: expected {expected:?}, found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let shared = with_units(|units| {
        let site = AheadSite { bits: 0x4501, offset: 0x200, rest: 1, slot: 4, ..AheadSite::default() };
        units[2].sites.insert(0, site);
    });
    assert!(shared.contains("unit 2: slot: expected each once"), "{shared}");
}

#[test]
fn a_header_that_says_what_is_not_so_is_refused_by_its_field() {
    type Change = fn(&mut Parts, &mut Header);
    let cases: [(Change, &str); 11] = [
        (|_, header| header.abi += 1, "newer aot-builder: its ABI is 2, this one reads 1"),
        (|_, header| header.abi = 0, "older aot-builder: its ABI is 0, this one reads 1"),
        (|_, header| header.units += 1, "section ranges: expected 128 bytes, found 96"),
        (|_, header| header.words = 18, "unit 2: words: expected words from 10 up to 18"),
        (|_, header| header.build_id[0] ^= 1, "header: build id: expected"),
        (|_, header| header.level = "x86-64-v9".to_owned(), "header: level: expected a CPU level"),
        (
            |_, header| header.level = "x86-64-v1,\u{7f}".to_owned(),
            "header: level: expected 1 to 64 characters",
        ),
        (|_, header| header.guest = String::new(), "header: guest: expected 1 to 64 characters"),
        (|parts, _| parts[1].push(0), "section units: expected"),
        (|parts, _| parts[1].truncate(9), "record: expected bytes of the section"),
        (|parts, _| parts[0].truncate(319), "unit 2: text: expected an end at 0x13f at most"),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let found = forge(change).unwrap_err().to_string();
        assert!(found.contains(expected), "case {number}: expected {expected:?}, found {found:?}");
    }
}

#[test]
fn tables_that_are_not_of_the_units_are_refused() {
    type Change = fn(&mut Parts, &mut Header);
    let cases: [(Change, &str); 9] = [
        (|parts, _| _ = parts[2].split_off(32), "section ranges: expected 96 bytes, found 32"),
        (|parts, _| parts[2].push(0), "section ranges: expected 96 bytes, found 97"),
        (|parts, _| parts[2].rotate_left(32), "unit 2: text: expected what no unit before it has"),
        (|parts, _| parts[2][28] += 2, "unit 0: record: expected Range"),
        (|parts, _| parts[2][16] = 1, "section units: expected records from its start on"),
        (|parts, _| parts[2][83] = 1, "unit 1: record: expected bytes of the section"),
        (|parts, _| parts[3].copy_within(0..16, 16), "section lookup: expected the ways into the units"),
        (
            |parts, _| parts[3][14] = 1,
            "section lookup: expected the ways into the units, found another in row 0",
        ),
        (|parts, _| _ = parts[3].pop(), "section lookup: expected 64 bytes, found 63"),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let found = forge(change).unwrap_err().to_string();
        assert!(found.contains(expected), "case {number}: expected {expected:?}, found {found:?}");
    }
}

/// Signs the sample with other origins.
fn with_origins(change: impl FnOnce(&mut Vec<Origin>)) -> String {
    let mut origins = contents().origins;
    change(&mut origins);
    let image = forge_image(|parts, _| parts[4] = origin::write(&origins).unwrap()).unwrap();
    image.contents().unwrap_err().to_string()
}

#[test]
fn origins_that_are_of_no_unit_or_name_words_outside_its_code_are_refused() {
    type Change = fn(&mut Vec<Origin>);
    let cases: [(Change, &str); 6] = [
        (|all| all[1].unit = 3, "section origins: expected a unit from 1 to 3, found 3"),
        (|all| all[1].unit = 0, "expected a unit from 1 to 3, found 0"),
        (|all| all[0].names[1].0 = 94, "distances in the 100 bytes of unit 0, each once, found one at 97"),
        (|all| all[0].names[1].0 = 3, "found one at 6"),
        (|all| all[1].names = vec![(u32::MAX, 0); 3], "of unit 2, each once, found one at 4294967295"),
        (|all| all.reverse(), "expected a unit from 3 to 3, found 0"),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let found = with_origins(change);
        assert!(found.contains(expected), "case {number}: expected {expected:?}, found {found:?}");
    }
    let cut = forge_image(|parts, _| _ = parts[4].pop()).unwrap().contents().unwrap_err();
    assert!(matches!(cut, ImageError::Section { section: "origins", .. }), "{cut}");
}

#[test]
fn a_length_that_lies_takes_no_memory() {
    let lie = bincode::serde::encode_to_vec(u64::MAX, bincode::config::standard()).unwrap();
    let found = forge(|parts, header| {
        (parts[1], header.units) = (lie, 1);
        parts[2].truncate(32);
    });
    let found = found.unwrap_err();
    assert!(matches!(found, ImageError::Section { section: "units", .. }), "{found}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_signed_nothing_panics(
        part in 0..SECTIONS.len(), at in any::<prop::sample::Index>(), byte: u8, how in 0..4u8,
    ) {
        let read = forge_image(|parts, header| {
            let at = at.index(parts[part].len());
            match how {
                0 => parts[part].truncate(at),
                1 => parts[part].insert(at, byte),
                _ => parts[part][at] = byte,
            }
            header.words = header.words.wrapping_add(u32::from(byte & 1));
        });
        if let Ok(image) = read {
            for text in 0..400 {
                image.resolve(text);
            }
            for number in 0..image.len() {
                let _ = image.unit(number).map(|unit| unit.site_at(50).copied());
            }
            let _ = image.contents();
        }
    }
}
