//! `aot list|verify|prune`, as a user has them.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{read, run, word};
use vm_cpu::aot::image::write;
use vm_cpu::aot::unit::Contents;
use vm_cpu::aot::{About, Store, keys};

/// A store with two versions for a guest, and a directory with the key that has signed them.
fn stored(dir: &Path) -> (String, String) {
    let (store, trusted) = (dir.join("store"), dir.join("keys"));
    let key = keys::generate().unwrap();
    for version in [1, 2] {
        let cpu_level = "x86-64-v1".parse().unwrap();
        let about = About { guest: "toy".to_owned(), version, layout_hash: 7, cpu_level, shared_words: 0 };
        Store::at(&store).add(&write(&Contents::default(), &about, &key).unwrap()).unwrap();
    }
    fs::create_dir(&trusted).unwrap();
    fs::set_permissions(&trusted, fs::Permissions::from_mode(0o755)).unwrap();
    keys::write_public(&trusted.join("me.pub"), &key.verifying_key()).unwrap();
    (word(&store), word(&trusted))
}

#[test]
fn images_are_listed_verified_and_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let (store, trusted) = stored(dir.path());
    let aot =
        |command: &str, more: &[&str]| read(&run(&[&["aot", command, "--store", &store], more].concat()));
    let (code, list, _) = aot("list", &[]);
    let versions: Vec<_> = list.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!((code, versions), (Some(0), vec!["2", "1"]), "{list}");
    let trust = ["--aot-trust", trusted.as_str()];
    let (code, whole, _) = aot("verify", &trust);
    assert_eq!((code, whole.matches(": whole and trusted").count()), (Some(0), 2), "{whole}");

    let old = Path::new(&store).join("toy/00000001-x86-64-v1.aot");
    let mut bytes = fs::read(&old).unwrap();
    bytes[100] ^= 1;
    fs::write(&old, bytes).unwrap();
    let (code, damaged, _) = aot("verify", &trust);
    assert_eq!(code, Some(1));
    assert!(
        damaged.contains("00000001-x86-64-v1.aot: is not") && damaged.contains("whole and trusted"),
        "{damaged}"
    );

    let (code, removed, _) = aot("prune", &["--keep", "1"]);
    assert_eq!((code, removed), (Some(0), format!("removed {}\n", old.display())));
    assert_eq!(aot("list", &[]).1.lines().count(), 2);
    assert_eq!(aot("verify", &trust).0, Some(0));
    let (code, _, err) = aot("verify", &["--aot-trust", "/nonexistent"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("/nonexistent: cannot be read"), "{err}");
}
