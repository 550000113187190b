//! Units as bytes and back: the one place of this crate that knows the encoding (little-endian, integers of variable
//! length, in the order of the fields).
//!
//! **Invariant**: no input makes it panic, or take more memory than its limit.

use super::error::ImageError;
use super::unit::AheadUnit;

/// The section of units.
const SECTION: &str = "units";
/// Bytes that a unit may take when it is read.
const LIMIT: usize = 4 << 20;

/// The bytes of a unit.
pub fn encode(unit: &AheadUnit) -> Result<Vec<u8>, ImageError> {
    let encoded = bincode::serde::encode_to_vec(unit, bincode::config::standard());
    encoded.map_err(|error| wrong(error.to_string()))
}

/// The unit of `bytes`, all of which belong to it.
pub fn decode(bytes: &[u8]) -> Result<AheadUnit, ImageError> {
    let limited = bincode::config::standard().with_limit::<LIMIT>();
    let decoded = bincode::serde::decode_from_slice(bytes, limited);
    let (unit, used) = decoded.map_err(|error| wrong(error.to_string()))?;
    match used == bytes.len() {
        true => Ok(unit),
        false => Err(wrong(format!("expected {used} bytes, found {}", bytes.len()))),
    }
}

fn wrong(reason: String) -> ImageError {
    ImageError::Section { section: SECTION, reason }
}
