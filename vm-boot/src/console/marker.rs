//! A text that is waited for in what the guest prints.

/// Waits for one appearance, however the output is cut.
pub struct Marker {
    text: Vec<u8>,
    /// The end of what was printed, shorter than the text.
    seen: Vec<u8>,
    /// Called when it appears, once.
    found: Option<Box<dyn FnOnce() + Send>>,
}

impl Marker {
    /// Calls `found` when `text` appears.
    pub fn new(text: &str, found: Box<dyn FnOnce() + Send>) -> Self {
        Self { text: text.as_bytes().to_vec(), seen: Vec::new(), found: Some(found) }
    }

    /// Looks at what is printed.
    pub fn look(&mut self, bytes: &[u8]) {
        if self.found.is_none() {
            return;
        }
        self.seen.extend(bytes);
        if self.seen.windows(self.text.len().max(1)).any(|window| window == self.text)
            && let Some(found) = self.found.take()
        {
            found();
        }
        let kept = self.seen.len().min(self.text.len().saturating_sub(1));
        self.seen.drain(..self.seen.len() - kept);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn it_is_found_once_however_it_is_cut() {
        for cut in 1..12 {
            let count = Arc::new(AtomicUsize::new(0));
            let counted = count.clone();
            let mut marker = Marker::new("log in:", Box::new(move || _ = counted.fetch_add(1, SeqCst)));
            for piece in b"lologg log ilog i".chunks(cut) {
                marker.look(piece);
            }
            assert_eq!(count.load(SeqCst), 0);
            for piece in b"n: log in: ".chunks(cut) {
                marker.look(piece);
            }
            assert_eq!(count.load(SeqCst), 1, "cut by {cut}");
        }
    }
}
