//! The program as people use it: keys are made, an image is signed, verified and shown, and what must not pass does
//! not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ed25519_dalek::SigningKey;
use tempfile::TempDir;
use vm_cpu::aot::About;
use vm_cpu::aot::image::write;
use vm_cpu::aot::profile::{Profile, ProfileBlock, ProfilePage};
use vm_cpu::aot::unit::{AheadSite, AheadUnit, Contents};

/// A directory with an image that a key has signed which is not there.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path("image.aot"), image()).unwrap();
        fs::create_dir(place.path("keys")).unwrap();
        chmod(&place.path("keys"), 0o755);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_aot-builder");
        Command::new(program).args(args).current_dir(self.0.path()).output().unwrap()
    }

    /// What a command tells that succeeds.
    fn told(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command complains of.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// One unit: `c.li x10,0; c.jr x1`, of a host's `mov rax, [words]; ret`.
fn image() -> Vec<u8> {
    let site =
        |offset, bits| AheadSite { bits, op: 0, offset, rest: 1, slot: 0, beside: false, apart: false };
    let unit = AheadUnit {
        text: 0,
        len: 8,
        entries: vec![(0x120, 0), (0x122, 7)],
        sites: vec![site(0x120, 0x4501), site(0x122, 0x8082)],
        links: vec![0x40],
        words: 3,
        slots: None,
        heat: 77,
        places: vec![(0, 0), (7, 1)],
    };
    // The cell is the sixth word behind the text's only page.
    let rip = (4096u32 + 5 * 8 - 7).to_le_bytes();
    let text = [&[0x48, 0x8b, 0x05][..], &rip, &[0xc3]].concat();
    let about = About {
        guest: "toy".to_owned(),
        version: 4,
        layout_hash: 1,
        cpu_level: "x86-64-v1".parse().unwrap(),
        shared_words: 3,
    };
    let contents = Contents { units: vec![unit], text, words: 6, origins: Vec::new() };
    write(&contents, &about, &SigningKey::from_bytes(&[3; 32])).unwrap()
}

#[test]
fn an_image_is_verified_once_a_trusted_key_has_signed_it() {
    let place = Place::new();
    let made = place.told(&["keygen", "me"]);
    assert!(made.contains("me.key signs, me.pub is what others trust"), "{made}");
    fs::copy(place.path("me.pub"), place.path("keys/me.pub")).unwrap();
    let verify = ["verify", "image.aot", "--aot-trust", "keys"];
    let stranger = place.refused(&verify);
    assert!(
        stranger.contains("image.aot: is signed by key") && stranger.contains("not trusted"),
        "{stranger}"
    );
    let signed = place.told(&["sign", "image.aot", "--key", "me.key", "--version", "5"]);
    assert!(signed.contains("image.aot: toy version 5, signed by"), "{signed}");
    let verified = place.told(&verify);
    assert!(verified.contains("image.aot: whole, toy version 5, signed by"), "{verified}");
    assert!(verified.contains("for x86-64-v1, which this host has"), "{verified}");

    fs::write(place.path("keys/trust.toml"), "[minimum]\ntoy = 6\n").unwrap();
    chmod(&place.path("keys/trust.toml"), 0o644);
    let rollback = place.refused(&verify);
    assert!(rollback.contains("rollback: for guest toy expected version 6 or later, found 5"), "{rollback}");
    place.told(&["sign", "image.aot", "--key", "me.key", "--version", "6", "-o", "newer.aot"]);
    place.told(&["verify", "newer.aot", "--aot-trust", "keys"]);
    let mut names: Vec<_> = fs::read_dir(place.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["image.aot", "keys", "me.key", "me.pub", "newer.aot"], "no drafts");
}

#[test]
fn keys_that_others_can_read_or_that_are_there_are_left_alone() {
    let place = Place::new();
    place.told(&["keygen", "me.new"]);
    assert!(place.refused(&["keygen", "me.new"]).contains("me.new.key: cannot be written"));
    chmod(&place.path("me.new.key"), 0o644);
    let before = fs::read(place.path("image.aot")).unwrap();
    let exposed = place.refused(&["sign", "image.aot", "--key", "me.new.key"]);
    assert!(exposed.contains("found mode 0644") && exposed.contains("chmod 600 me.new.key"), "{exposed}");
    assert_eq!(fs::read(place.path("image.aot")).unwrap(), before);
}

#[test]
fn a_profile_is_shown_as_a_whole_and_by_block() {
    let place = Place::new();
    // `addi a0, a0, -1; ld a1, 8(a0); bnez a0, -8; c.jr ra`
    let code: [u32; 4] = [0xfff5_0513, 0x0085_3583, 0xfe05_1ce3, 0x0000_8082];
    let mut bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(64, 0);
    let ret = ProfileBlock { offset: 12, bytes: 2, heat: 7, ..ProfileBlock::default() };
    let of_loop =
        ProfileBlock { offset: 0, bytes: 12, heat: 900, entered: true, optimised: true, ways: [31, 1] };
    let (blocks, roaming) = (vec![of_loop, ret], vec![4]);
    let page = ProfilePage { gpa: 0x8020_3000, known: 1, bytes, blocks, roaming, ..ProfilePage::default() };
    Profile { pages: vec![page] }.write(fs::File::create(place.path("toy.profile")).unwrap()).unwrap();
    let whole = place.told(&["inspect", "toy.profile"]);
    for line in [
        "code      1 pages, 64 bytes of them known",
        "blocks    2 of 4 instructions, 1 entered by other code, 1 optimised",
        "accesses  1 roam, 0 store beside code, 0 are checked apart",
        "block 0      heat          900  guest 0x80203000..00c   3 instructions  entered  optimised  taken 31 of 32\n",
        "block 1      heat            7  guest 0x8020300c..00e   1 instructions\n",
    ] {
        assert!(whole.contains(line), "{line}\nnot in\n{whole}");
    }
    let block = place.told(&["inspect", "toy.profile", "--unit", "0"]);
    assert!(block.contains("  0x80203004  00853583  ld x11,8(x10)  ; roams\n"), "{block}");
    assert_eq!(block.lines().count(), 4, "{block}");
    assert!(place.told(&["inspect", "toy.profile", "--top", "1"]).contains("1 more blocks"));
    assert!(place.refused(&["inspect", "toy.profile", "--unit", "2"]).contains("expected a number below 2"));
    let with_names = ["inspect", "toy.profile", "--symbols", "System.map"];
    assert!(place.refused(&with_names).contains("expected an image"));
    let mut damaged = fs::read(place.path("toy.profile")).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(place.path("toy.profile"), damaged).unwrap();
    assert!(place.refused(&["inspect", "toy.profile"]).contains("the profile is damaged"));
}

#[test]
fn an_image_is_shown_as_a_whole_and_by_unit() {
    let place = Place::new();
    let whole = place.told(&["inspect", "image.aot"]);
    for line in [
        "guest     toy version 4",
        "needs     x86-64-v1, layout 0000000000000001, ABI 1",
        "section   text              8 bytes at 0x00001000",
        "units     1, 2 ways in, 1 ways out, 0 inline caches",
        "code      8 bytes for 2 guest instructions, 4.0 each",
        "heat           77  guest 120..124    2 instructions",
    ] {
        assert!(whole.contains(line), "{line}\nnot in\n{whole}");
    }
    let unit = place.told(&["inspect", "image.aot", "--unit", "0"]);
    for line in [
        "> 000120  4501                  c.li x10,0",
        "> 000122  8082                  c.jr x1",
        "from 120:\n 120 000000  488b0521100000        mov rax,[1028h]  ; cell of 040",
        "from 122:\n 122 000007  c3                    ret",
    ] {
        assert!(unit.contains(line), "{line}\nnot in\n{unit}");
    }
    assert!(place.refused(&["inspect", "image.aot", "--unit", "1"]).contains("expected a number below 1"));
}

#[test]
fn units_are_named_by_the_guest_s_symbols() {
    let place = Place::new();
    let mut code = vec![0; 0x200];
    code[0x120..0x124].copy_from_slice(&[0x01, 0x45, 0x82, 0x80]);
    fs::write(place.path("Image"), &code).unwrap();
    let map = "ffffffff80000000 T _start\nffffffff80000118 t zero\nffffffff80000122 T back\n";
    fs::write(place.path("System.map"), map).unwrap();
    let told = place.told(&["inspect", "image.aot", "--symbols", "System.map", "--code", "Image"]);
    for line in [
        "host 0x00000000      8 bytes   2 in  1 out  zero+0x8\n",
        "symbols   2 of 1 units; 0 lie in no code of the file\n",
        "symbol    heat           77     1 units     1 instructions  host        7 bytes  zero\n",
        "symbol    heat           77     1 units     1 instructions  host        1 bytes  back\n",
    ] {
        assert!(told.contains(line), "{line}\nnot in\n{told}");
    }
    code[0x122] = 0;
    fs::write(place.path("Image"), &code).unwrap();
    let told = place.told(&["inspect", "image.aot", "--symbols", "System.map", "--code", "Image"]);
    assert!(told.contains("out  not in the file\n") && told.contains("0 of 0 units; 1 lie in no"), "{told}");

    let alone = place.refused(&["inspect", "image.aot", "--symbols", "System.map"]);
    assert!(alone.contains("System.map: is a map without code: expected --code"), "{alone}");
    let none = place.refused(&["inspect", "image.aot", "--symbols", "Image", "--code", "Image"]);
    assert!(none.contains("Image: line 1: expected an ELF file, or a map"), "{none}");
}

#[test]
fn a_damaged_image_is_neither_shown_nor_signed() {
    let place = Place::new();
    place.told(&["keygen", "me"]);
    let mut bytes = image();
    bytes[4096] ^= 1;
    fs::write(place.path("image.aot"), &bytes).unwrap();
    for args in [&["inspect", "image.aot"][..], &["sign", "image.aot", "--key", "me.key"]] {
        let refused = place.refused(args);
        assert!(refused.contains("image.aot: is damaged: the BLAKE3 of section text"), "{refused}");
    }
    assert_eq!(place.run(&["sign", "image.aot"]).status.code(), Some(2), "no key is a wrong command");
}
