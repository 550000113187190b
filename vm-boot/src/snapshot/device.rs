//! A device as a snapshot sees it, whatever its type.

use serde::{Deserialize, Serialize};
use vm_devices::Snapshot;

use super::codec::{self, CodecError};
use super::error::Reason;

/// The state of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Which device: what it is, and where.
    pub name: String,
    /// Of the layout of its state.
    pub version: u32,
    /// Its state.
    pub state: Vec<u8>,
}

/// Saving and restoring a device of a type that is not known.
pub trait Keep: Send + Sync {
    /// See [`Snapshot::quiesce`].
    fn quiesce(&self);
    /// Its state, by a name.
    fn save(&self, name: &str) -> Result<DeviceRecord, CodecError>;
    /// See [`Snapshot::restore`].
    fn restore(&self, record: &DeviceRecord) -> Result<(), Reason>;
    /// See [`Snapshot::resume`].
    fn resume(&self);
}

impl<D: Snapshot + Send + Sync> Keep for D {
    fn quiesce(&self) {
        Snapshot::quiesce(self);
    }

    fn save(&self, name: &str) -> Result<DeviceRecord, CodecError> {
        let state = codec::encode(&Snapshot::save(self))?;
        Ok(DeviceRecord { name: name.to_owned(), version: D::VERSION, state })
    }

    fn restore(&self, record: &DeviceRecord) -> Result<(), Reason> {
        let known = D::VERSION;
        match record.version {
            found if found > known => return Err(Reason::Newer { found, known }),
            found if found < known => return Err(Reason::Older { found, known }),
            _ => {}
        }
        let state = codec::decode(&record.state)?;
        Snapshot::restore(self, state).map_err(|error| Reason::Invalid(error.to_string()))
    }

    fn resume(&self) {
        Snapshot::resume(self);
    }
}
