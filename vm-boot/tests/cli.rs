//! Bad input, by table: each case ends with the right exit code and a message that names what was
//! wrong, and never with a panic.

mod common;

use common::{Files, KERNEL, RAM, read, run, word};

/// Checks one command: its exit code, and parts of what it says.
fn refused(args: &[&str], code: i32, parts: &[&str]) {
    let (found, out, err) = read(&run(args));
    assert_eq!(found, Some(code), "{args:?}: {err}");
    for part in parts {
        assert!(err.contains(part), "{args:?}: expected {part:?} in {err:?}");
    }
    assert!(!err.contains("panicked"), "{args:?}: {err}");
    assert_eq!(out, "", "{args:?}");
}

#[test]
fn options_are_checked() {
    let kernel = ["run", "--kernel", "k"];
    for (extra, parts) in [
        (&["--memory", "0"][..], &["--memory", "found 0 bytes"][..]),
        (&["--memory", "1"], &["--memory", "found 1 bytes"]),
        (&["--memory", "1P"], &["--memory", "1M to 1T"]),
        (&["--memory", "1048577"], &["multiple of 4K"]),
        (&["--memory", "lots"], &["such as 512M"]),
        (&["--cpus", "0"], &["1 to 16"]),
        (&["--cpus", "17"], &["1 to 16", "17"]),
        (&["--cpus", "x"], &["1 to 16", "x"]),
        (&["--cpu", "rv32"], &["--cpu", "rv32"]),
        (&["--cpu", "rv64gc,svinvla=off"], &["svinvla", "svinval"]),
        (&["--disk", "ro"], &["cannot open disk image ro"]),
        (&["--disk", "file=a,fiel=b"], &["did you mean \"file\"?"]),
        (&["--disk", "file=a,id=x", "--disk", "file=b,id=x"], &["the id \"x\""]),
        (&["--disk", "file=a", "--disk", "file=a"], &["a is given twice"]),
        (&["--serial", "tcp:1"], &["stdio, none, pty or file=PATH"]),
        (&["--virtio", "v3"], &["v1", "v2"]),
        (&["--mode", "u"], &["auto", "m", "s"]),
        (&["--kernal", "x"], &["--kernal", "--kernel"]),
        (&["--firmware", "f", "--mode", "s"], &["leave out --mode"]),
        (&["--net", "user"], &["--net"]),
        (&["--profile-every", "5"], &["--profile-every: expected --profile FILE as well"]),
        (&["--profile-every", "0", "--profile", "p"], &["--profile-every"]),
    ] {
        let code = if extra == ["--disk", "ro"] { 1 } else { 2 };
        refused(&[&kernel[..], extra].concat(), code, parts);
    }
    for option in ["--aot", "--profile"] {
        refused(
            &["run", "--kernel", "k", "--jit", "off", option, "x"],
            2,
            &["--profile", "expected --jit on"],
        );
    }
    refused(&["run"], 2, &["--kernel or --firmware", "vm-boot demo"]);
    refused(&["rum"], 2, &["rum", "run"]);
}

#[test]
fn configuration_files_are_checked() {
    let files = Files::new();
    for (text, parts) in [
        ("kernal = 'k'", &["unknown key \"kernal\"", "did you mean \"kernel\"?"][..]),
        ("kernel = 'k'\nmemory = '1P'", &["--memory", "1M to 1T"]),
        ("kernel = 'k'\ncpus = 0", &["1 to 16"]),
        ("kernel = [", &["vm.toml"]),
        ("config = 'x'", &["unknown key \"config\""]),
        ("kernel = 'k'\ndisk = [{ file = 'x', raed = 1 }]", &["unknown key \"raed\""]),
    ] {
        let file = files.write("vm.toml", text);
        refused(&["run", "--config", &file], 2, parts);
    }
    refused(&["run", "--config", &word(&files.path("absent"))], 2, &["absent", "No such file"]);
}

#[test]
fn payloads_are_checked() {
    let files = Files::new();
    let mut x86 = vec![0; 4096];
    x86[0x202..0x206].copy_from_slice(b"HdrS");
    let mut arm = vec![0; 4096];
    arm[56..60].copy_from_slice(b"ARM\x64");
    let mut elf32 = vec![0; 128];
    elf32[..6].copy_from_slice(b"\x7fELF\x01\x01");
    elf32[16..20].copy_from_slice(&[2, 0, 243, 0]);
    let mut elf_x86 = elf32.clone();
    elf_x86[4] = 2;
    elf_x86[18] = 62;
    let mut cut = [0; 64];
    cut[56..60].copy_from_slice(b"RSC\x05");
    cut[..2].copy_from_slice(b"MZ");
    for (name, bytes, parts) in [
        ("empty", &b""[..], &["is empty"][..]),
        ("noise", &[0x5a; 4096], &["expected a RISC-V kernel", "--mode"]),
        ("bzImage", &x86, &["expected a RISC-V kernel", "x86 bzImage"]),
        ("arm", &arm, &["arm64 Image"]),
        ("elf32", &elf32, &["64-bit", "32-bit ELF"]),
        ("elf-x86", &elf_x86, &["x86-64"]),
        ("cut.elf", b"\x7fELF\x02\x01", &["truncated"]),
        ("kernel.xz", b"\xfd7zXZ\0....", &["xz", "decompress"]),
    ] {
        let kernel = files.write(name, bytes);
        refused(&["run", "--kernel", &kernel], 1, &[&[name][..], parts].concat());
    }
    refused(&["run", "--kernel", &word(&files.path("absent"))], 1, &["absent", "cannot be opened"]);
    refused(&["run", "--kernel", &word(&files.path(""))], 1, &["expected a regular file"]);
    refused(&["run", "--firmware", &word(&files.path("absent"))], 1, &["firmware", "cannot be opened"]);
}

#[test]
fn what_does_not_fit_into_ram_is_refused() {
    let files = Files::new();
    let kernel = files.program("kernel", RAM, "wfi");
    let large = files.path("large");
    std::fs::File::create(&large).unwrap().set_len(64 << 20).unwrap();
    let run = ["run", "--mode", "m", "--memory", "16M", "--kernel", &kernel];
    for (option, parts) in [
        ("--initrd", &["initrd", "give the machine more --memory"]),
        ("--dtb", &["device tree", "give the machine more --memory"]),
    ] {
        refused(&[&run[..], &[option, &word(&large)]].concat(), 1, parts);
    }
    refused(
        &["run", "--mode", "m", "--memory", "16M", "--kernel", &word(&large)],
        1,
        &["kernel", "give the machine more --memory"],
    );
    refused(&[&run[..], &["--dtb", &kernel]].concat(), 1, &["device tree", "dtc"]);
}

#[test]
fn disks_are_checked() {
    let files = Files::new();
    let kernel = files.program("kernel", KERNEL, "1: wfi\n j 1b");
    let empty = files.write("empty.img", "");
    let disk = files.write("disk.img", vec![0; 512]);
    let run = ["run", "--mode", "s", "--kernel", &kernel, "--disk"];
    for (disk, parts) in [
        (word(&files.path("absent.img")), &["absent.img", "No such file"]),
        (word(&files.path("")), &["--disk", "something else"]),
        (empty, &["at least one sector", "empty.img"]),
    ] {
        refused(&[&run[..], &[&disk]].concat(), 1, parts);
    }
    let held = std::fs::File::options().read(true).write(true).open(files.path("disk.img")).unwrap();
    held.lock().unwrap();
    refused(&[&run[..], &[&disk]].concat(), 1, &["disk.img", "in use"]);
    assert_eq!(std::fs::read(files.path("disk.img")).unwrap(), [0; 512], "nothing was lost");
}

#[test]
fn outputs_that_cannot_be_written_are_named() {
    let files = Files::new();
    let kernel = files.program("kernel", RAM, "wfi");
    let nowhere = word(&files.path("no/where"));
    let run = ["run", "--mode", "m", "--kernel", &kernel];
    refused(&[&run[..], &["--dump-dtb", &nowhere]].concat(), 1, &["--dump-dtb", "no/where"]);
    let serial = format!("file={nowhere}");
    refused(&[&run[..], &["--serial", &serial]].concat(), 1, &["--serial", "no/where"]);
}

#[test]
fn version_states_the_facts_of_the_build() {
    let (code, out, _) = read(&run(&["--version"]));
    assert_eq!(code, Some(0));
    for fact in [env!("CARGO_PKG_VERSION"), "commit:", "rustc:", "profile:", "target:"] {
        assert!(out.contains(fact), "{out}");
    }
}

#[test]
fn help_is_short_and_has_examples() {
    for (args, parts) in [
        (&["--help"][..], &["Examples:", "Ctrl-A x", "Exit code"][..]),
        (&["run", "--help"], &["--kernel", "--memory", "--config", "tohost", "0x100000"]),
    ] {
        let (code, out, _) = read(&run(args));
        assert_eq!(code, Some(0));
        assert!(parts.iter().all(|part| out.contains(part)), "{out}");
        assert!(out.lines().count() < 96, "{out}");
    }
}

#[test]
fn help_names_every_option_of_the_compiler() {
    let (_, out, _) = read(&run(&["run", "--help"]));
    for key in vm_boot::cli::value::Jit::KEYS {
        assert!(out.contains(&format!("{key}=")), "{key}: {out}");
    }
}
