//! Every instruction against the manual: the facts in `tests/asm`, in every engine.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tests::bare::Engine;
use tests::facts::Facts;
use vm_cpu::isa::{Op, rvc};

fn directory() -> PathBuf {
    tests::host::repository("tests/asm")
}

fn holds(name: &str) {
    let facts = Facts::read(&directory().join(format!("{name}.facts")));
    for &engine in Engine::ALL {
        let failures = facts.failures(engine);
        assert!(
            failures.is_empty(),
            "{} facts do not hold in {engine:?}:\n{}",
            failures.len(),
            failures.join("\n")
        );
    }
}

macro_rules! files {
    ($($name:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                holds(stringify!($name));
            }
        )*
    };
}

files! {
    integer jumps word_targets memory multiply atomic cache bits compressed single double half more_float system illegal
}

#[test]
fn every_file_of_facts_is_run() {
    let entries = std::fs::read_dir(directory()).expect("tests/asm");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let found: BTreeSet<_> = names.collect();
    assert_eq!(found, FILES.iter().map(|name| format!("{name}.facts")).collect());
}

#[test]
fn every_row_of_both_encoding_tables_is_the_subject_of_a_fact() {
    let read = |name: &&str| Facts::read(&directory().join(format!("{name}.facts"))).subjects();
    let subjects: BTreeSet<String> = FILES.iter().flat_map(read).collect();
    let rows =
        Op::ALL.iter().map(|op| format!("{op:?}")).chain(rvc::ROWS.iter().map(|row| row.name.to_owned()));
    let missing: Vec<String> = rows.filter(|row| !subjects.contains(row)).collect();
    assert!(missing.is_empty(), "no fact about: {}", missing.join(" "));
}
