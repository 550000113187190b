//! Reads Debian's control format (deb822): paragraphs of `Name: value` fields,
//! a value going on in the lines that start with a blank.
//!
//! Field names compare without case, as the format says; the order and the
//! exact text of the fields is kept, so that a paragraph can be written back.

use std::fmt;

/// One paragraph: fields in the order they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
}

impl Paragraph {
    /// The value of a field; the lines it goes on in are kept as they stand.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Puts a new field after the first one.
    pub fn insert_second(&mut self, name: &str, value: impl Into<String>) {
        let at = self.fields.len().min(1);
        self.fields.insert(at, (name.into(), value.into()));
    }

    fn push_line(&mut self, line: &str) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = self.fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            self.fields.push((name.trim().into(), value.trim().into()));
        }
    }
}

impl fmt::Display for Paragraph {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.fields {
            let blank = if value.is_empty() || value.starts_with('\n') { "" } else { " " };
            writeln!(out, "{name}:{blank}{value}")?;
        }
        Ok(())
    }
}

/// All paragraphs of a text. Comment lines (`#`) are left out.
pub fn parse(text: &str) -> Vec<Paragraph> {
    let mut paragraphs = vec![Paragraph::default()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            paragraphs.push(Paragraph::default());
        } else if let Some(paragraph) = paragraphs.last_mut() {
            paragraph.push_line(line);
        }
    }
    paragraphs.retain(|paragraph| !paragraph.fields.is_empty());
    paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# a comment\nPackage: a\nDescription: short\n long one\n .\nVersion: 1:2\n\n\nPackage: b\n";

    #[test]
    fn paragraphs_are_parted_by_blank_lines() {
        let names: Vec<_> = parse(TEXT).iter().map(|p| p.get("package").unwrap().to_owned()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_value_goes_on_in_indented_lines() {
        assert_eq!(parse(TEXT)[0].get("Description"), Some("short\n long one\n ."));
    }

    #[test]
    fn a_paragraph_is_written_back_as_it_was() {
        let text = "Package: a\nConffiles:\n /etc/a 0123\nVersion: 1:2\n";
        assert_eq!(parse(text)[0].to_string(), text);
    }
}
