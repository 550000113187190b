//! Units as bytes and back: the one place of this crate that knows the encoding (little-endian, integers of variable
//! length, in the order of the fields).
//!
//! **Invariant**: no input makes it panic, or take more memory than its limit.

use super::error::ImageError;
use super::unit::AheadUnit;

/// The section of units.
const SECTION: &str = "units";
/// Bytes that units may take when they are read.
const LIMIT: usize = 256 << 20;

/// The bytes of units.
pub fn encode(units: &[AheadUnit]) -> Result<Vec<u8>, ImageError> {
    let encoded = bincode::serde::encode_to_vec(units, bincode::config::standard());
    encoded.map_err(|error| wrong(error.to_string()))
}

/// The units of `bytes`, all of which belong to them.
pub fn decode(bytes: &[u8]) -> Result<Vec<AheadUnit>, ImageError> {
    let limited = bincode::config::standard().with_limit::<LIMIT>();
    let decoded = bincode::serde::decode_from_slice(bytes, limited);
    let (units, used) = decoded.map_err(|error| wrong(error.to_string()))?;
    match used == bytes.len() {
        true => Ok(units),
        false => Err(wrong(format!("expected {used} bytes, found {}", bytes.len()))),
    }
}

fn wrong(reason: String) -> ImageError {
    ImageError::Section { section: SECTION, reason }
}
