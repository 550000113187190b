//! Images: translations as a file that says what it is for and is signed.
//!
//! ```text
//!  header │ text        │ units      │ ranges      │ lookup            each from a page of its own on
//!   what  │ host code,  │ bincode of │ host text   │ guest instruction
//!   who   │ mapped r-x  │ AheadUnit  │ → guest     │ → host text
//! ```
//! `docs/format-aot.md` describes the file.
//!
//! **Invariant.** An [`Image`] that was read is one that a trusted key has signed, for this program and this
//! host's CPU, and no older than permitted; whatever its fields say is in range ([`check`](super::check)). Who
//! maps the text must map the bytes that were read, and not open a file a second time.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::check::{self, Bounds};
use super::codec;
use super::error::ImageError;
use super::header::{self, Header, invalid};
use super::index::{self, Way};
use super::keys::KeyId;
use super::level::CpuLevel;
use super::trust::Trust;
use super::unit::{AheadUnit, Contents};

/// What an image is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Whose versions are counted together: 1 to 64 letters, digits, and any of `._-+` but `.` in front.
    pub guest: String,
    /// Counts up with each image for the same guest.
    pub version: u64,
    /// Number of the layout of structures that the code knows.
    pub layout_hash: u64,
    /// What it needs of the host's CPU.
    pub cpu_level: CpuLevel,
    /// Words at the front that belong to no unit.
    pub shared_words: u32,
}

/// Who wants to run an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Number of the layout of its structures.
    pub layout_hash: u64,
    /// What its CPU has.
    pub cpu_level: CpuLevel,
    /// Words at the front of an image's that it fills for all units.
    pub shared_words: u32,
}

/// An image that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    header: Header,
    level: CpuLevel,
    units: Vec<AheadUnit>,
    ranges: Vec<index::Range>,
    ways: Vec<Way>,
}

/// Where in the text something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which unit.
    pub unit: usize,
    /// Offset in its code.
    pub code: u32,
    /// Offset in the guest's page of the first instruction that the unit was made from.
    pub first: u16,
    /// Offset behind the last.
    pub end: u16,
}

/// Writes and signs an image. The same input gives the same bytes.
pub fn write(contents: &Contents, about: &About, key: &SigningKey) -> Result<Vec<u8>, ImageError> {
    let Contents { units, text, words } = contents;
    header::check_guest(&about.guest)?;
    header::check_text("level", &about.cpu_level.to_string())?;
    check::units(units, Bounds { text: text.len(), words: *words, shared: about.shared_words })?;
    let parts = [
        text.clone(),
        codec::encode(units)?,
        index::write::<index::Range>(units),
        index::write::<Way>(units),
    ];
    let (sections, behind) = header::lay_out(&parts);
    let length = (header::PAGE + behind.len()) as u64;
    if length > header::LONGEST {
        return Err(ImageError::Oversized { expected: header::LONGEST, found: length });
    }
    let header = Header {
        abi: header::ABI,
        layout: about.layout_hash,
        version: about.version,
        words: *words,
        units: units.len() as u32,
        build_id: build_id(units),
        key: key.verifying_key().to_bytes(),
        level: about.cpu_level.to_string(),
        guest: about.guest.clone(),
        sections,
    };
    let mut file = header.write(key);
    file.extend(behind);
    Ok(file)
}

/// Signs an image anew, with another key or under another version. It must be one that can be [`Image::open`]ed.
pub fn sign(file: &[u8], version: u64, key: &SigningKey) -> Result<Vec<u8>, ImageError> {
    let image = Image::open(file)?;
    let header = Header { version, key: key.verifying_key().to_bytes(), ..image.header };
    let mut signed = header.write(key);
    signed.extend(&file[header::PAGE..]);
    Ok(signed)
}

/// What says that two images are made from the same instructions of a guest: BLAKE3 of them, unit by unit.
pub fn build_id(units: &[AheadUnit]) -> [u8; 32] {
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), Vec::new());
    for unit in units {
        bytes.clear();
        bytes.extend((unit.sites.len() as u64).to_le_bytes());
        for site in &unit.sites {
            bytes.extend(site.offset.to_le_bytes());
            bytes.extend(site.bits.to_le_bytes());
        }
        hasher.update(&bytes);
    }
    *hasher.finalize().as_bytes()
}

impl Image {
    /// Reads an image to run it: who signed it is looked at first, then what it is for, then what it holds.
    pub fn read(file: &[u8], trust: &Trust, host: &Host) -> Result<Image, ImageError> {
        header::whole(first_page(file), file.len() as u64)?;
        let header = vouched(file, trust.key(&header::key_of(file))?)?;
        if header.layout != host.layout_hash {
            return Err(ImageError::Layout { expected: host.layout_hash, found: header.layout });
        }
        let level = level_of(&header)?;
        if !host.cpu_level.covers(&level) {
            return Err(ImageError::Level { expected: host.cpu_level.clone(), found: level });
        }
        trust.admit(&header)?;
        Image::decode(file, header, host.shared_words)
    }

    /// Reads an image to look at it: whoever signed it, for whatever host.
    pub fn open(file: &[u8]) -> Result<Image, ImageError> {
        header::whole(first_page(file), file.len() as u64)?;
        let key = VerifyingKey::from_bytes(&header::key_of(file));
        let key = key.map_err(|_| invalid("key", "an Ed25519 key", "a point that is none"))?;
        Image::decode(file, vouched(file, &key)?, 0)
    }

    /// Reads what a header vouches for.
    fn decode(file: &[u8], header: Header, shared: u32) -> Result<Image, ImageError> {
        header.check_sections(file)?;
        let level = level_of(&header)?;
        let [text, records, ranges, ways] = header.sections.map(|section| &file[section.range()]);
        let units = codec::decode(records)?;
        if units.len() != header.units as usize {
            return Err(invalid("units", units.len().to_string(), header.units.to_string()));
        }
        check::units(&units, Bounds { text: text.len(), words: header.words, shared })?;
        if build_id(&units) != header.build_id {
            return Err(invalid("build id", hex(&build_id(&units)), hex(&header.build_id)));
        }
        let (ranges, ways) = (index::read(ranges, &units)?, index::read(ways, &units)?);
        Ok(Image { header, level, units, ranges, ways })
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What it needs of the host's CPU.
    pub fn level(&self) -> &CpuLevel {
        &self.level
    }

    /// Who signed it.
    pub fn key(&self) -> KeyId {
        KeyId::of(&self.header.key)
    }

    /// Its units, hottest first.
    pub fn units(&self) -> &[AheadUnit] {
        &self.units
    }

    /// Words behind the text.
    pub fn words(&self) -> u32 {
        self.header.words
    }

    /// Where in the file the text is: from a page's begin on, with zeros up to the end of the last page.
    pub fn text(&self) -> Range<usize> {
        self.header.sections[0].range()
    }

    /// The units, and the text from the file that it was read from.
    pub fn contents(&self, file: &[u8]) -> Contents {
        Contents { units: self.units.clone(), text: file[self.text()].to_vec(), words: self.words() }
    }

    /// The units, and the text of the file that it was read from, whose memory it takes over.
    pub fn into_contents(self, mut file: Vec<u8>) -> Contents {
        let (text, words) = (self.text(), self.words());
        file.truncate(text.end);
        file.drain(..text.start);
        Contents { units: self.units, text: file, words }
    }

    /// Which unit a place in the text belongs to. `None` between units.
    pub fn resolve(&self, text: u32) -> Option<Place> {
        let behind = self.ranges.partition_point(|range| range.text <= text);
        let range = self.ranges[..behind].last()?;
        let code = text - range.text;
        let place = Place { unit: range.unit as usize, code, first: range.first, end: range.end };
        (code < range.len).then_some(place)
    }

    /// The ways in at an offset of a page with this instruction there; hottest units first. Which unit fits, its
    /// other instructions tell.
    pub fn ways(&self, offset: u16, bits: u32) -> &[Way] {
        let key = (bits, offset);
        let start = self.ways.partition_point(|way| (way.bits, way.offset) < key);
        let len = self.ways[start..].partition_point(|way| (way.bits, way.offset) == key);
        &self.ways[start..start + len]
    }
}

/// The bytes of a file, or of one that is too long for an image so many that it is refused.
pub fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let most = header::LONGEST + 1;
    let mut bytes = Vec::with_capacity(file.metadata()?.len().min(most) as usize);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn first_page(file: &[u8]) -> &[u8] {
    &file[..file.len().min(header::PAGE)]
}

/// The header of a file that is known to be whole, if this key has signed it and it is of this ABI.
fn vouched(file: &[u8], key: &VerifyingKey) -> Result<Header, ImageError> {
    header::check_signature(file, key)?;
    let header = Header::read(first_page(file), file.len() as u64)?;
    header::same_number("ABI", header.abi, header::ABI)?;
    Ok(header)
}

fn level_of(header: &Header) -> Result<CpuLevel, ImageError> {
    header.level.parse().map_err(|_| invalid("level", "a CPU level as in x86-64-v3", &*header.level))
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
