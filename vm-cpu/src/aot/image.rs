//! Images: translations as a file that says what it is for and is signed.
//!
//! ```text
//!  header │ text        │ units      │ ranges      │ lookup            │ origins      each from a page
//!   what  │ host code,  │ bincode of │ host text   │ guest instruction │ for the      of its own on
//!   who   │ mapped r-x  │ AheadUnit  │ → guest     │ → host text       │ next build
//! ```
//! `docs/format-aot.md` describes the file.
//!
//! **Invariant.** An [`Image`] that was read is one that a trusted key has signed, for this program and this
//! host's CPU, and no older than permitted. Its units are decoded one by one, when they are asked for, from the
//! bytes that were read, and what is handed out is in range ([`check`](super::check)). Who maps the text must map
//! those bytes, and not open a file a second time.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::check::{self, Bounds};
use super::codec;
use super::error::ImageError;
use super::header::{self, Header, invalid};
use super::index::{self, Way};
use super::keys::KeyId;
use super::level::CpuLevel;
use super::origin;
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

/// The bytes of a file, which stay as they are.
#[derive(Clone)]
pub struct Held(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl<T: AsRef<[u8]> + Send + Sync + 'static> From<Arc<T>> for Held {
    fn from(bytes: Arc<T>) -> Held {
        Held(bytes)
    }
}

impl From<Vec<u8>> for Held {
    fn from(bytes: Vec<u8>) -> Held {
        Held(Arc::new(bytes))
    }
}

impl From<&[u8]> for Held {
    fn from(bytes: &[u8]) -> Held {
        bytes.to_vec().into()
    }
}

impl From<&Vec<u8>> for Held {
    fn from(bytes: &Vec<u8>) -> Held {
        bytes.clone().into()
    }
}

/// An image that was read.
#[derive(Clone)]
pub struct Image {
    header: Header,
    level: CpuLevel,
    file: Held,
    /// Words at the front that belong to no unit.
    shared: u32,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("header", &self.header).finish_non_exhaustive()
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Image) -> bool {
        self.bytes() == other.bytes()
    }
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
    let Contents { units, text, words, origins } = contents;
    header::check_guest(&about.guest)?;
    header::check_text("level", &about.cpu_level.to_string())?;
    let bounds = Bounds { text: text.len(), words: *words, shared: about.shared_words };
    (0..).zip(units).try_for_each(|(number, unit)| check::unit(number, unit, bounds))?;
    check::ranges((0..).zip(units).map(|(record, unit)| index::Range::of(unit, record)))?;
    let [records, ranges, ways] = index::write(units)?;
    origin::check(origins, units)?;
    let parts = [text.clone(), records, ranges, ways, origin::write(origins)?];
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
    let header = Header { version, key: key.verifying_key().to_bytes(), ..image.header.clone() };
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
    /// Reads an image to run it: who signed it is looked at first, then what it is for, then whether all of it
    /// is what was signed. Each unit is looked at when it is asked for.
    pub fn read(file: impl Into<Held>, trust: &Trust, host: &Host) -> Result<Image, ImageError> {
        let held = file.into();
        let file = held.0.as_ref().as_ref();
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
        Image::taken(held, header, level, host.shared_words)
    }

    /// Reads an image to look at it: whoever signed it, for whatever host. All of it is checked.
    pub fn open(file: impl Into<Held>) -> Result<Image, ImageError> {
        let held = file.into();
        let file = held.0.as_ref().as_ref();
        header::whole(first_page(file), file.len() as u64)?;
        let key = VerifyingKey::from_bytes(&header::key_of(file));
        let key = key.map_err(|_| invalid("key", "an Ed25519 key", "a point that is none"))?;
        let header = vouched(file, &key)?;
        let level = level_of(&header)?;
        let image = Image::taken(held, header, level, 0)?;
        image.contents().map(|_| image)
    }

    /// What a header vouches for.
    fn taken(file: Held, header: Header, level: CpuLevel, shared: u32) -> Result<Image, ImageError> {
        let image = Image { header, level, file, shared };
        image.header.check_sections(image.bytes())?;
        let rows = image.section(RANGES).len();
        let expected = image.len() * index::Range::BYTES;
        if rows != expected {
            let reason = format!("expected {expected} bytes, found {rows}");
            return Err(ImageError::Section { section: "ranges", reason });
        }
        check::ranges((0..image.len()).map(|unit| image.range(unit)))?;
        Ok(image)
    }

    /// The file that it was read from.
    pub fn bytes(&self) -> &[u8] {
        self.file.0.as_ref().as_ref()
    }

    fn section(&self, number: usize) -> &[u8] {
        &self.bytes()[self.header.sections[number].range()]
    }

    /// How many units it has.
    pub fn len(&self) -> usize {
        self.header.units as usize
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a unit has for itself.
    ///
    /// # Panics
    /// If there is no such unit.
    pub fn range(&self, unit: usize) -> index::Range {
        let rows = self.section(RANGES).as_chunks().0;
        index::Range::of_bytes(&rows[unit])
    }

    /// A unit, decoded and checked.
    pub fn unit(&self, number: usize) -> Result<AheadUnit, ImageError> {
        let wrong = |expected: String, found: String| ImageError::Unit {
            unit: number,
            field: "record",
            expected,
            found,
        };
        if number >= self.len() {
            return Err(wrong(format!("one of {} units", self.len()), "none".to_owned()));
        }
        let (records, range) = (self.section(UNITS), self.range(number));
        let next = number + 1;
        let end = if next < self.len() { self.range(next).record as usize } else { records.len() };
        let record = records.get(range.record as usize..end);
        let record =
            record.ok_or_else(|| wrong("bytes of the section".to_owned(), format!("an end at {end}")))?;
        let unit = codec::decode(record)?;
        let bounds = Bounds { text: self.text().len(), words: self.words(), shared: self.shared };
        check::unit(number, &unit, bounds)?;
        match index::Range::of(&unit, range.record) {
            told if told == range => Ok(unit),
            told => Err(wrong(format!("{told:?}"), format!("{range:?} in the table"))),
        }
    }

    /// All units, and each table checked against them.
    pub fn units(&self) -> Result<Vec<AheadUnit>, ImageError> {
        if !self.is_empty() && self.range(0).record > 0 || self.is_empty() && !self.section(UNITS).is_empty()
        {
            let reason = "expected records from its start on, found other bytes".to_owned();
            return Err(ImageError::Section { section: "units", reason });
        }
        let units = (0..self.len()).map(|number| self.unit(number)).collect::<Result<Vec<_>, _>>()?;
        if build_id(&units) != self.header.build_id {
            return Err(invalid("build id", hex(&build_id(&units)), hex(&self.header.build_id)));
        }
        index::check_lookup(self.section(LOOKUP), &units)?;
        Ok(units)
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

    /// Words behind the text.
    pub fn words(&self) -> u32 {
        self.header.words
    }

    /// Where in the file the text is: from a page's begin on, with zeros up to the end of the last page.
    pub fn text(&self) -> Range<usize> {
        self.header.sections[TEXT].range()
    }

    /// All that it holds.
    pub fn contents(&self) -> Result<Contents, ImageError> {
        let (units, text) = (self.units()?, self.section(TEXT).to_vec());
        let origins = origin::read(self.section(ORIGINS))?;
        origin::check(&origins, &units)?;
        Ok(Contents { units, text, words: self.words(), origins })
    }

    /// Which unit a place in the text belongs to. `None` between units.
    pub fn resolve(&self, text: u32) -> Option<Place> {
        let rows: &[[u8; index::Range::BYTES]] = self.section(RANGES).as_chunks().0;
        let behind = rows.partition_point(|row| index::Range::of_bytes(row).text <= text);
        let unit = behind.checked_sub(1)?;
        let range = self.range(unit);
        let code = text - range.text;
        (code < range.len).then_some(Place { unit, code, first: range.first, end: range.end })
    }

    /// What tells most instructions that no unit begins with.
    pub fn sieve(&self) -> index::Sieve {
        let rows: &[[u8; Way::BYTES]] = self.section(LOOKUP).as_chunks().0;
        index::Sieve::of(rows.iter().map(Way::of_bytes).map(|way| (way.bits, way.offset)))
    }

    /// The ways in at an offset of a page with this instruction there; hottest units first. Which unit fits, its
    /// other instructions tell.
    pub fn ways(&self, offset: u16, bits: u32) -> impl Iterator<Item = Way> {
        let rows: &[[u8; Way::BYTES]] = self.section(LOOKUP).as_chunks().0;
        let key = Way::key(bits, offset);
        let start = rows.partition_point(|row| Way::key_of(row) < key);
        rows[start..].iter().take_while(move |row| Way::key_of(row) == key).map(Way::of_bytes)
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

/// Places of the sections in the table.
const TEXT: usize = 0;
const UNITS: usize = 1;
const RANGES: usize = 2;
const LOOKUP: usize = 3;
const ORIGINS: usize = 4;

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
