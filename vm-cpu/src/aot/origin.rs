//! What an image keeps for the next build: what each unit was made from, and how to put its code elsewhere.
//!
//! ```text
//!  Job ──lift──► function, links, entries ──BLAKE3──► digest │ places in the code that name words
//! ```
//! **Invariant.** All that a compiler is given is in the digest, and the layout hash and the CPU level of the image
//! stand for what it is: so units of one digest in images of one layout and level are the same, byte by byte.

use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

use cranelift_codegen::ir::Function;
use cranelift_codegen::settings;
use serde::{Deserialize, Serialize};

use super::error::ImageError;
use super::unit::AheadUnit;
use crate::jit::compile::Name;

/// Of all that code follows from: the first half of a BLAKE3.
pub type Digest = [u8; 16];

/// What is kept of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Which, in the order of units.
    pub unit: u32,
    /// What it was made from.
    pub digest: Digest,
    /// Where its code names a word, in bytes behind the one before, and what is added to the distance.
    pub names: Vec<(u32, i32)>,
}

/// The section of an image.
const SECTION: &str = "origins";
/// Bytes that one may take when it is read.
const LIMIT: usize = 4 << 20;
/// Bytes of a distance.
const DISTANCE: u32 = 4;

impl Origin {
    /// Of a unit whose code has these names.
    pub(super) fn new(unit: u32, digest: Digest, names: &[Name]) -> Origin {
        let mut places: Vec<(u32, i32)> = names.iter().map(|name| (name.at, name.addend as i32)).collect();
        places.sort_unstable();
        let mut before = 0;
        places.iter_mut().for_each(|(at, _)| (*at, before) = (*at - before, *at));
        Origin { unit, digest, names: places }
    }

    /// Where its code names words, and what is added to the distances.
    pub(super) fn places(&self) -> impl Iterator<Item = (u64, i32)> {
        self.names.iter().scan(0, |at, &(distance, addend)| {
            *at += u64::from(distance);
            Some((*at, addend))
        })
    }
}

/// The digest of what `tell` writes.
pub(super) fn digest(tell: impl FnOnce(&mut Digesting)) -> Digest {
    let mut digesting = Digesting(blake3::Hasher::new());
    tell(&mut digesting);
    let hash = digesting.0.finalize();
    std::array::from_fn(|at| hash.as_bytes()[at])
}

/// Takes what is hashed to BLAKE3.
pub(super) struct Digesting(blake3::Hasher);

impl Hasher for Digesting {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Takes in all that Cranelift's code for a function follows from.
pub(super) fn of_function(function: &Function, to: &mut Digesting) {
    static FEATURES: OnceLock<Vec<String>> = OnceLock::new();
    FEATURES.get_or_init(features).hash(to);
    function.stencil.hash(to);
    function.params.base_srcloc().bits().hash(to);
    for name in function.params.user_named_funcs().values() {
        (name.namespace, name.index).hash(to);
    }
}

/// What Cranelift uses of this host, which is more than a CPU level tells.
fn features() -> Vec<String> {
    let host = cranelift_native::builder().ok();
    let host = host.and_then(|host| host.finish(settings::Flags::new(settings::builder())).ok());
    host.map_or(Vec::new(), |isa| isa.isa_flags().iter().map(ToString::to_string).collect())
}

/// As bytes.
pub(super) fn write(origins: &[Origin]) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    for origin in origins {
        let encoded = bincode::serde::encode_to_vec(origin, bincode::config::standard());
        bytes.extend(encoded.map_err(|error| wrong(error.to_string()))?);
    }
    Ok(bytes)
}

/// Of bytes, whatever they are.
pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<Origin>, ImageError> {
    let limited = bincode::config::standard().with_limit::<LIMIT>();
    let mut origins = Vec::new();
    while !bytes.is_empty() {
        let decoded = bincode::serde::decode_from_slice::<Origin, _>(bytes, limited);
        let (origin, used) = decoded.map_err(|error| wrong(error.to_string()))?;
        origins.push(origin);
        bytes = &bytes[used..];
    }
    Ok(origins)
}

/// Checks that they are of units that are there, in their order, and name places in their code.
pub(super) fn check(origins: &[Origin], units: &[AheadUnit]) -> Result<(), ImageError> {
    let mut next = 0;
    for origin in origins {
        let number = origin.unit;
        let Some(unit) = units.get(number as usize).filter(|_| number >= next) else {
            return Err(wrong(format!("expected a unit from {next} to {}, found {number}", units.len())));
        };
        next = number + 1;
        let mut free = 0;
        for (at, _) in origin.places() {
            if at < free || at + u64::from(DISTANCE) > unit.len.into() {
                let room = unit.len;
                return Err(wrong(format!(
                    "expected distances in the {room} bytes of unit {number}, each once, found one at {at}"
                )));
            }
            free = at + u64::from(DISTANCE);
        }
    }
    Ok(())
}

fn wrong(reason: String) -> ImageError {
    ImageError::Section { section: SECTION, reason }
}
