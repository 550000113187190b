//! Eight machines from one image: its text is in memory once, nobody can write to it, and when the machine that
//! had it first is gone the next one finds it with another.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::ahead::Ahead;
use tests::host::{repository, vm_boot};
use tests::session::Session;

const MACHINES: usize = 8;
const LIMIT: Duration = Duration::from_secs(120);

/// A mapping of a process's.
struct Mapping {
    permissions: String,
    name: String,
    inode: u64,
    /// In KiB.
    resident: u64,
    proportional: u64,
}

/// The mappings of a process.
fn mappings(process: u32) -> Vec<Mapping> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps")).expect("our own child");
    let mut found: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (&words[..], found.last_mut()) {
            ([range, permissions, _, _, inode, name @ ..], _) if range.contains('-') => {
                found.push(Mapping {
                    permissions: (*permissions).to_owned(),
                    name: name.join(" "),
                    inode: inode.parse().expect("a number"),
                    resident: 0,
                    proportional: 0,
                });
            }
            (["Rss:", size, _], Some(last)) => last.resident = size.parse().expect("a number"),
            (["Pss:", size, _], Some(last)) => last.proportional = size.parse().expect("a number"),
            _ => {}
        }
    }
    found
}

fn is_image(mapping: &&Mapping) -> bool {
    mapping.name.starts_with("/memfd:image")
}

/// The demo guest at its prompt.
fn start(options: &[&str], notes: &Path) -> Session {
    let mut command = Command::new(vm_boot());
    command.args(["run", "--memory", "16M", "--kernel"]).arg(repository("images/demo/demo.bin"));
    let mut session = Session::start(command.args(options).env("XDG_RUNTIME_DIR", notes));
    session.expect("demo> ", LIMIT);
    session
}

#[test]
fn eight_machines_have_the_text_of_an_image_once() {
    let ahead = Ahead::default();
    let notes = tempfile::tempdir().expect("a temporary directory");
    let profile = ahead.profile();
    let mut first = start(&["--profile", profile.to_str().expect("text")], notes.path());
    first.send("exit 0\r");
    assert_eq!(first.end(LIMIT).0, Some(0));
    assert!(ahead.build(1) > 10, "the demo has more code than that");
    let text = std::fs::metadata(ahead.image()).expect("the image").len() / 1024;

    let options = ahead.options();
    let options = options.each_ref().map(String::as_str);
    let mut machines: Vec<Session> = (0..MACHINES).map(|_| start(&options, notes.path())).collect();
    let all: Vec<Vec<Mapping>> = machines.iter().map(|machine| mappings(machine.id())).collect();
    let files: Vec<u64> = all.iter().flatten().filter(is_image).map(|mapping| mapping.inode).collect();
    assert!(files.len() >= MACHINES, "each has it mapped");
    assert!(files.iter().all(|&file| file == files[0]), "all have the same file: {files:?}");
    let sum = |of: fn(&Mapping) -> u64| all.iter().flatten().filter(is_image).map(of).sum::<u64>();
    let (resident, proportional) = (sum(|m| m.resident), sum(|m| m.proportional));
    println!("image {text} KiB: {resident} KiB mapped in {MACHINES} machines, {proportional} KiB of memory");
    assert!(resident >= MACHINES as u64 * text, "{resident} KiB: each has read all of it");
    assert!(proportional <= text + 8 * MACHINES as u64, "{proportional} KiB is the file once, {text} KiB");
    for mapping in all.iter().flatten() {
        let permissions = &mapping.permissions;
        assert!(!(permissions.contains('w') && permissions.contains('x')), "{}", mapping.name);
        assert!(!(mapping.name.starts_with("/memfd:") && permissions.contains('w')), "{}", mapping.name);
    }
    let executed =
        |all: &[Mapping]| all.iter().any(|m| m.name.starts_with("/memfd:image") && m.permissions == "r-xs");
    assert!(all.iter().all(|mappings| executed(mappings)), "the text is executed where it is shared");

    machines.remove(0).kill();
    let late = start(&options, notes.path());
    let file = mappings(late.id()).iter().find(is_image).map(|m| m.inode);
    assert_eq!(file, Some(files[0]), "the others have it still");
    machines.into_iter().chain([late]).for_each(Session::kill);

    let alone = start(&options, notes.path());
    let of_its_own = mappings(alone.id()).iter().any(|mapping| is_image(&mapping));
    assert!(of_its_own, "nobody has it: it reads the file by itself");
    alone.kill();
}
