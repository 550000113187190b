//! Reading a file of facts.

use super::place::Place;
use super::{Case, Facts, Section, everything};
use vm_cpu::CpuConfig;

/// A file's facts, or the line that is malformed and why.
pub fn file(name: &str, text: &str) -> Result<Facts, String> {
    let mut facts = Facts { name: name.to_owned(), cpu: everything(), sections: Vec::new() };
    let mut before = String::new();
    for (n, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let fault = |what: String| format!("{n}: {what}");
        match line.split_once(' ') {
            _ if line.trim().is_empty() => {}
            Some(("", case)) => {
                let section =
                    facts.sections.last_mut().ok_or_else(|| fault("a case without subject".into()))?;
                section.cases.push(read_case(n, case).map_err(fault)?);
            }
            Some(("cpu", cpu)) => facts.cpu = CpuConfig::parse(cpu).map_err(|e| fault(e.to_string()))?,
            Some(("after", code)) => before = code.to_owned(),
            _ => {
                let section =
                    Section { before: std::mem::take(&mut before), code: line.to_owned(), cases: vec![] };
                facts.sections.push(section);
            }
        }
    }
    match facts.sections.iter().find(|section| section.cases.is_empty()) {
        Some(section) => Err(format!(" `{}` has no case", section.code)),
        None => Ok(facts),
    }
}

fn read_case(line: usize, text: &str) -> Result<Case, String> {
    let (given, expected) = text.split_once("->").ok_or("expected `given -> expected`")?;
    Ok(Case { line, given: assignments(given)?, expected: assignments(expected)? })
}

/// `place=value place=value`.
fn assignments(text: &str) -> Result<Vec<(Place, String)>, String> {
    text.split_whitespace()
        .map(|word| {
            let (place, value) =
                word.split_once('=').ok_or(format!("expected place=value, found `{word}`"))?;
            let place = Place::named(place).ok_or(format!("no such place: `{place}`"))?;
            Ok((place, value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        file("", text).err().expect("a malformed file")
    }

    #[test]
    fn malformed_files_are_refused_with_the_line() {
        assert_eq!(fault("    -> a0=1"), "1: a case without subject");
        assert_eq!(fault("nop\n\n  a0=1"), "3: expected `given -> expected`");
        assert_eq!(fault("nop\n  -> a0"), "2: expected place=value, found `a0`");
        assert_eq!(fault("nop\n  -> q0=1"), "2: no such place: `q0`");
        assert_eq!(fault("nop\n  -> \nwfi"), " `wfi` has no case");
        assert!(fault("cpu rv32").starts_with("1: expected a cpu"));
    }

    #[test]
    fn comments_and_code_before_a_subject_are_taken_apart() {
        let facts =
            file("", "# head\nafter li a0,1  # why\nnop # this\n  ->\nwfi\n  ->").expect("a good file");
        let texts: Vec<_> = facts.sections.iter().map(|s| (s.before.as_str(), s.code.as_str())).collect();
        assert_eq!(texts, [("li a0,1", "nop"), ("", "wfi")]);
    }
}
