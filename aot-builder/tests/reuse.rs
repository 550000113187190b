//! A build takes what an earlier image has, and the bytes are those of a build from scratch; what cannot be vouched
//! for is not taken, and the build says so.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;
use vm_cpu::aot::profile::{Profile, ProfileBlock, ProfilePage};
use vm_cpu::aot::standing::Standing;
use vm_cpu::aot::{About, CpuLevel, Image, image, keys, layout_hash};

/// Executions from which on a unit is LLVM's; here it has inline caches too.
const HOT: u64 = 20_000;

/// A page with a loop of its own: `ld a1, 0(a0); addi a0, a0, -number; bnez a0, -8; ret`.
fn page(number: u32, heat: u64) -> ProfilePage {
    let code = [0x0005_3583, (4096 - number) << 20 | 0x5_0513, 0xfe05_1ce3, 0x0000_8067];
    let mut bytes: Vec<u8> = code.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    bytes.resize(64, 0);
    let block = |offset, bytes| {
        let optimised = heat >= HOT;
        ProfileBlock { offset, bytes, heat, optimised, ..ProfileBlock::default() }
    };
    let blocks = vec![block(0, 12), block(12, 4)];
    let gpa = 0x8000_0000 + u64::from(number) * 4096;
    ProfilePage { gpa, known: 1, bytes, blocks, ..ProfilePage::default() }
}

/// A directory with keys and two profiles, of which the second has more.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let first = vec![page(1, 50), page(2, 40), page(3, 2 * HOT), page(4, HOT)];
        let mut second = first.clone();
        second.push(page(5, 45));
        // Between the two that have inline caches: those of the colder one are others now.
        second.push(page(6, HOT + 1));
        for (name, pages) in [("first", first), ("second", second)] {
            Profile { pages }.write(fs::File::create(place.path(name)).unwrap()).unwrap();
        }
        for key in ["mine", "yours"] {
            assert!(place.run(&["keygen", key]).status.success());
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_aot-builder");
        Command::new(program).args(args).current_dir(self.0.path()).output().unwrap()
    }

    /// Builds an image; its bytes, what was told, and what complained of.
    fn build(&self, profile: &str, output: &str, more: &[&str]) -> (Vec<u8>, String, String) {
        let args = [&["build", profile, "-o", output, "--key", "mine.key"][..], more].concat();
        let made = self.run(&args);
        let [told, complaint] = [made.stdout, made.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(made.status.success(), "{args:?}: {complaint}");
        (fs::read(self.path(output)).unwrap(), told, complaint)
    }
}

#[test]
fn what_an_earlier_image_has_is_taken_and_the_bytes_are_those_of_a_build_from_scratch() {
    let place = Place::new();
    for (backend, taken) in [("cranelift", "3 reused"), ("llvm", "2 reused")] {
        let with = |more: &[&'static str]| [&["--backend", backend][..], more].concat();
        let (_, told, _) = place.build("first", "old.aot", &with(&["--from-scratch"]));
        assert!(told.contains("4 units") && told.contains("0 reused"), "{told}");
        let (scratch, told, _) = place.build("second", "new.aot", &with(&["--from-scratch"]));
        assert!(told.contains("6 units") && told.contains("0 reused"), "{told}");
        // With Cranelift all but what is new and what has other inline caches; a batch of LLVM's is one.
        let (again, told, complaint) = place.build("second", "again.aot", &with(&["--reuse", "old.aot"]));
        assert!(told.contains(taken) && complaint.is_empty(), "{backend}: {told}{complaint}");
        assert!(scratch == again, "{backend}: other bytes");
        // What is there already, without being told.
        let (again, told, _) = place.build("second", "new.aot", &with(&["--jobs", "2"]));
        assert!(told.contains("6 reused") && scratch == again, "{backend}: {told}");
    }
}

#[test]
fn code_by_another_compiler_is_not_taken() {
    let place = Place::new();
    let (scratch, ..) = place.build("first", "llvm.aot", &["--backend", "llvm"]);
    place.build("first", "image.aot", &["--backend", "cranelift"]);
    let (again, told, _) = place.build("first", "image.aot", &["--backend", "llvm"]);
    assert!(told.contains("2 units by LLVM") && told.contains("2 reused"), "{told}");
    assert!(scratch == again);
}

#[test]
fn an_image_that_nobody_here_vouches_for_is_not_taken_and_the_build_says_why() {
    let place = Place::new();
    let (good, ..) = place.build("first", "good.aot", &[]);
    let key = keys::read_secret(&place.path("mine.key")).unwrap();
    let contents = Image::open(&good).unwrap().contents().unwrap();
    let about = |layout_hash, level: &str| About {
        guest: "guest".to_owned(),
        version: 1,
        layout_hash,
        cpu_level: level.parse().unwrap(),
        shared_words: 0,
    };
    let here = CpuLevel::of_host().to_string();
    let made = |about: &About| image::write(&contents, about, &key).unwrap();
    let mut damaged = good.clone();
    damaged[5000] ^= 1;
    let mut forged = good.clone();
    forged[32] ^= 1;
    let cases = [
        ("made for another vm-boot", made(&about(1, &here))),
        ("made for another host CPU", made(&about(layout_hash(), "x86-64-v1"))),
        ("the BLAKE3 of section text", damaged),
        ("expected a signature of the header, found another", forged),
        ("is truncated", good[..good.len() - 1].to_vec()),
        ("is no AOT image", b"something else".to_vec()),
    ];
    let refused = |why: &str| {
        let (bytes, told, complaint) = place.build("first", "image.aot", &[]);
        assert!(told.contains("0 reused") && complaint.contains("nothing is reused: image.aot"), "{told}");
        assert!(complaint.contains(why), "expected {why:?}, found {complaint}");
        assert!(bytes == good, "{why}: other bytes");
    };
    for (why, bytes) in cases {
        fs::write(place.path("image.aot"), bytes).unwrap();
        refused(why);
    }
    let (_, told, complaint) = place.build("first", "image.aot", &["--reuse", "nowhere"]);
    assert!(told.contains("0 reused") && complaint.contains("nowhere: cannot be read"), "{complaint}");

    let bad = Standing::Quarantined("x5 differs".to_owned());
    bad.note(&place.path("image.aot"), &good[..4096]).unwrap();
    refused("was quarantined: x5 differs");

    fs::remove_file(place.path("image.aot.quarantined")).unwrap();
    let signed = place.run(&["sign", "image.aot", "--key", "yours.key"]);
    assert!(signed.status.success());
    refused("which signs the new one");
}
