use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use vm_cpu::aot::build::{assemble, plan};
use vm_cpu::aot::profile::{Profile, ProfileBlock, ProfilePage};
use vm_cpu::aot::unit::Contents;
use vm_cpu::jit::compile::Compiler;

use super::*;

fn tools() -> Tools {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // `tools/set-up test` installs what is needed; without it these tests fail and say so.
    Tools::find(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn llvm() -> Llvm {
    Llvm::new(tools(), "x86-64-v3,aes")
}

/// A page with a loop that divides: `fdiv.d fa0, fa1, fa2; addi a0, a0, -1; bnez a0, -8; ret`.
fn profile() -> Profile {
    let code: [u32; 4] = [0x1ac5_f553, 0xfff5_0513, 0xfe05_1ce3, 0x0000_8067];
    let mut bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(64, 0);
    let block = |offset, bytes, heat| ProfileBlock { offset, bytes, heat, ..ProfileBlock::default() };
    let of_loop = ProfileBlock { ways: [900, 100], ..block(0, 12, 1000) };
    let blocks = vec![of_loop, block(12, 4, 900)];
    Profile {
        pages: vec![ProfilePage {
            gpa: 0x8000_0000,
            known: 1,
            bytes,
            blocks,
            roaming: vec![],
            apart: vec![],
            beside: vec![],
        }],
    }
}

fn lifted() -> (Vec<Job>, Vec<Lifted>) {
    let jobs = plan(&profile(), 1);
    let mut compiler = Compiler::new().unwrap();
    let lifted = jobs.iter().map(|job| job.lift(&mut compiler)).collect();
    (jobs, lifted)
}

fn built() -> Contents {
    let (jobs, lifted) = lifted();
    let pairs: Vec<_> = jobs.iter().zip(lifted).collect();
    let module = llvm().module(pairs.iter().map(|(_, lifted)| lifted)).unwrap();
    let made = llvm().compile(&pairs, &module).unwrap();
    assemble(jobs.into_iter().zip(made.into_iter().map(Some)))
}

#[test]
fn a_unit_is_what_cranelift_would_have_made_but_for_its_code_and_the_same_bytes_each_time() {
    let mut compiler = Compiler::new().unwrap();
    let jobs = plan(&profile(), 1);
    let made: Vec<Made> = jobs.iter().map(|job| job.compile(&mut compiler).unwrap()).collect();
    let by_cranelift = assemble(jobs.into_iter().zip(made.into_iter().map(Some)));
    let by_llvm = built();
    assert_ne!(by_llvm.text, by_cranelift.text);
    assert_eq!(by_llvm.words, by_cranelift.words);
    let facts = |contents: &Contents| {
        let unit = &contents.units[0];
        let ways_in: Vec<u16> = unit.entries.iter().map(|entry| entry.0).collect();
        (contents.units.len(), ways_in, unit.sites.clone(), unit.links.clone(), unit.slots)
    };
    assert_eq!(facts(&by_llvm), facts(&by_cranelift));
    assert_eq!(by_llvm, built());
}

#[test]
fn an_operation_that_sets_flags_is_done_each_time_though_its_result_is_not_used() {
    let (_, lifted) = lifted();
    let module = llvm().module(lifted.iter()).unwrap().text;
    assert!(module.contains("constrained.fdiv.f64"), "{module}");
    let bitcode = tools().optimise(module.as_bytes()).unwrap();
    let code = &object::units(&tools().generate(&bitcode).unwrap(), 1).unwrap()[0].bytes;
    // vdivsd xmm, xmm, xmm: a VEX prefix of scalar doubles, then 5e.
    assert!(
        code.windows(3).any(|bytes| bytes[0] == 0xc5 && bytes[1] & 3 == 3 && bytes[2] == 0x5e),
        "{code:x?}"
    );
}

#[test]
fn what_the_guest_rarely_does_is_told_by_weights() {
    let (_, lifted) = lifted();
    let module = llvm().module(lifted.iter()).unwrap().text;
    assert!(module.contains("!{!\"branch_weights\", i32 100, i32 900}"), "{module}");
}

/// The object file of a function with this body.
fn object_of(body: &str) -> Vec<u8> {
    let text = format!(
        "target triple = \"x86_64-unknown-linux-gnu\"\n@w1.2 = external hidden global i64\n\
         declare void @memset(ptr, i32, i64)\n@other = global i64 1\n\
         define void @u0() section \".text.u0\" {{\n{body}\nret void\n}}\n"
    );
    tools().generate(&tools().optimise(text.as_bytes()).unwrap()).unwrap()
}

#[test]
fn words_are_names_and_whatever_else_code_refers_to_is_refused_by_name() {
    let good = object_of("store volatile i64 1, ptr @w1.2");
    let unit = &object::units(&good, 1).unwrap()[0];
    assert_eq!(unit.names.len(), 1);
    assert_eq!((unit.names[0].space, unit.names[0].index), (1, 2));

    let refused = |body: &str| object::units(&object_of(body), 1).unwrap_err().to_string();
    let told = refused("call void @memset(ptr @w1.2, i32 0, i64 100)");
    assert!(told.contains(".text.u0") && told.contains("memset"), "{told}");
    let told = refused("store volatile i64 1, ptr @other");
    assert!(told.contains("expected a relative relocation"), "{told}");
    assert!(object::units(&good, 2).unwrap_err().to_string().contains(".text.u1"));
    assert!(object::units(b"no object", 1).is_err());
}

#[test]
fn a_module_that_a_tool_refuses_is_an_error_with_its_words() {
    let told = tools().optimise(b"define void @u0() { nonsense }").unwrap_err().to_string();
    assert!(told.contains("opt") && told.contains("expected instruction opcode"), "{told}");
}

/// A directory with tools that only tell a version.
fn pretended(version: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for tool in ["opt-19", "llc-19"] {
        let path = directory.path().join(tool);
        std::fs::write(&path, format!("#!/bin/sh\necho 'Debian LLVM version {version}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    directory
}

#[test]
fn another_version_is_refused_and_none_is_told_with_the_package_to_install() {
    let other = pretended("18.1.8");
    let told = Tools::among(other.path().as_os_str(), Path::new("/nowhere")).unwrap_err().to_string();
    assert!(told.contains("expected LLVM 19") && told.contains("18.1.8"), "{told}");
    let same = pretended("19.9.9");
    assert_eq!(Tools::among(same.path().as_os_str(), Path::new("/nowhere")).unwrap().version, "19.9.9");
    let told = Tools::among("".as_ref(), Path::new("/nowhere")).unwrap_err().to_string();
    assert!(told.contains("llvm-19") && told.contains("opt-19"), "{told}");
}
