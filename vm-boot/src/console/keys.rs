//! What is typed: bytes for the guest, and the escapes that begin with Ctrl-A.

/// The key that begins an escape.
pub const ESCAPE: u8 = 0x01;

/// What a key stroke means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A byte for whoever has the focus.
    Byte(u8),
    /// Ctrl-A x: end the machine.
    Quit,
    /// Ctrl-A c: between guest and monitor.
    Toggle,
    /// Ctrl-A s: take a snapshot.
    Save,
    /// Ctrl-A h: list these keys.
    Help,
}

/// Text for [`Key::Help`].
pub const HELP: &str = "\r\n\
    Ctrl-A h       this help\r\n\
    Ctrl-A x       end the machine\r\n\
    Ctrl-A c       switch between console and monitor\r\n\
    Ctrl-A s       save a snapshot\r\n\
    Ctrl-A Ctrl-A  send Ctrl-A\r\n";

/// Follows the escapes through a stream of bytes, however it is cut.
#[derive(Debug, Default)]
pub struct Keys {
    escaped: bool,
}

impl Keys {
    /// The meaning of the next byte, if it is complete with it. An unknown escape means nothing.
    pub fn next(&mut self, byte: u8) -> Option<Key> {
        if !std::mem::take(&mut self.escaped) {
            self.escaped = byte == ESCAPE;
            return (!self.escaped).then_some(Key::Byte(byte));
        }
        match byte {
            b'x' | b'X' => Some(Key::Quit),
            b'c' | b'C' => Some(Key::Toggle),
            b's' | b'S' => Some(Key::Save),
            b'h' | b'H' | b'?' => Some(Key::Help),
            ESCAPE => Some(Key::Byte(ESCAPE)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_told_from_bytes() {
        let mut keys = Keys::default();
        let typed = b"a\x01xb\x01\x01\x01c\x01s\x01h\x01qz";
        let meant: Vec<Key> = typed.iter().filter_map(|&byte| keys.next(byte)).collect();
        assert_eq!(
            meant,
            [
                Key::Byte(b'a'),
                Key::Quit,
                Key::Byte(b'b'),
                Key::Byte(ESCAPE),
                Key::Toggle,
                Key::Save,
                Key::Help,
                Key::Byte(b'z'),
            ]
        );
    }
}
