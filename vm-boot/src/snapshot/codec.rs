//! Values as bytes and back: the one place that knows the encoding (little-endian, integers of variable
//! length, in the order of the fields).
//!
//! **Invariant**: no input makes it panic, or take more memory than the limit of its part.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// As many bytes as anything but the map of memory may take.
pub const LIMIT: usize = 16 << 20;
/// As many as the map of the largest memory takes.
pub const MAP_LIMIT: usize = 128 << 20;

/// Why a value has no bytes, or bytes are no value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CodecError {
    /// It cannot be written.
    #[error("cannot be written: {0}")]
    Encode(String),
    /// It cannot be read.
    #[error("cannot be read as what it should be: {0}")]
    Decode(String),
    /// More bytes than the value has.
    #[error("expected {expected} bytes, found {found}")]
    Rest {
        /// Bytes of the value.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
}

/// The bytes of a value.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|error| CodecError::Encode(error.to_string()))
}

/// The value of `bytes`, all of which belong to it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    finish(bytes, bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<LIMIT>()))
}

/// The same for a map of memory.
pub fn decode_map<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    finish(
        bytes,
        bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<MAP_LIMIT>()),
    )
}

fn finish<T>(bytes: &[u8], read: Result<(T, usize), bincode::error::DecodeError>) -> Result<T, CodecError> {
    let (value, used) = read.map_err(|error| CodecError::Decode(error.to_string()))?;
    match used == bytes.len() {
        true => Ok(value),
        false => Err(CodecError::Rest { expected: used, found: bytes.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_more() {
        type Value = (u64, Vec<String>, Option<[u8; 4]>);
        let value: Value = (1 << 40, vec![String::from("a"), String::new()], Some([7; 4]));
        let mut bytes = encode(&value).unwrap();
        assert_eq!(decode(&bytes), Ok(value.clone()));
        bytes.push(0);
        assert_eq!(
            decode::<Value>(&bytes),
            Err(CodecError::Rest { expected: bytes.len() - 1, found: bytes.len() })
        );
        for end in 0..bytes.len() - 1 {
            assert!(decode::<Value>(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        let lie = encode(&u64::MAX).unwrap();
        assert!(matches!(decode::<Vec<u64>>(&lie), Err(CodecError::Decode(_))));
        assert!(matches!(decode_map::<String>(&lie), Err(CodecError::Decode(_))));
    }
}
