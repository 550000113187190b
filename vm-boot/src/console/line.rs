//! One line being typed into the monitor, with the few keys a line needs.

/// What became of a typed byte.
#[derive(Debug, PartialEq, Eq)]
pub enum Edit {
    /// To be echoed.
    Echo(String),
    /// The line is complete.
    Enter(String),
}

/// Longer lines are not taken.
const LIMIT: usize = 256;

/// The line as typed so far.
#[derive(Debug, Default)]
pub struct Line(String);

impl Line {
    /// Takes one byte.
    pub fn take(&mut self, byte: u8) -> Edit {
        const BACKSPACE: &str = "\x08 \x08";
        match byte {
            b'\r' | b'\n' => Edit::Enter(std::mem::take(&mut self.0)),
            0x08 | 0x7f => Edit::Echo(self.0.pop().map_or("", |_| BACKSPACE).to_owned()),
            0x15 => Edit::Echo(BACKSPACE.repeat(std::mem::take(&mut self.0).len())),
            b' '..=b'~' if self.0.len() < LIMIT => {
                self.0.push(char::from(byte));
                Edit::Echo(char::from(byte).to_string())
            }
            _ => Edit::Echo(String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_and_entered() {
        let mut line = Line::default();
        for byte in *b"no\x15infi\x7fo\x01" {
            assert!(matches!(line.take(byte), Edit::Echo(_)));
        }
        assert_eq!(line.take(b'\r'), Edit::Enter("info".into()));
        assert_eq!(line.take(0x7f), Edit::Echo(String::new()));
        assert_eq!(line.take(b'\n'), Edit::Enter(String::new()));
    }
}
