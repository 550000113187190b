//! The host's side of a console, shared by the UART and the virtio console.
//!
//! Input is pulled, not pushed: the bytes stay with the backend until the guest
//! has room for them, so a guest that does not read holds the host's input back
//! instead of losing it.

/// The far end of a guest's serial line.
pub trait ConsoleBackend: Send + Sync {
    /// Takes bytes the guest has sent. Called on a vCPU thread, so it should not
    /// wait for a slow reader.
    fn output(&self, bytes: &[u8]);
    /// Moves input for the guest to the start of `buf` and says how many bytes;
    /// 0 means none for now. When there is input again, the backend's owner calls
    /// the device's `input_ready`.
    fn input(&self, buf: &mut [u8]) -> usize;
}
