//! The host-target interface: an ELF with the symbol `tohost` ends the machine by a store there.

mod common;

use common::{Files, RAM, read, run};
use vm_cpu::isa::asm::assemble;

/// A linked program of one segment at the start of RAM, with a symbol table that names `tohost`.
fn elf(code: &[u8], tohost: u64) -> Vec<u8> {
    const NAMES: &[u8] = b"\0tohost\0.symtab\0.strtab\0";
    let symbols_at = 120 + code.len().next_multiple_of(8) as u64;
    let names_at = symbols_at + 48;
    let sections_at = (names_at + NAMES.len() as u64).next_multiple_of(8);
    let mut file = Vec::new();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    put(&[2, 0, 243, 0, 1, 0, 0, 0]);
    [RAM, 64, sections_at].iter().for_each(|word| put(&word.to_le_bytes()));
    put(&0u32.to_le_bytes());
    [64u16, 56, 1, 64, 3, 2].iter().for_each(|half| put(&half.to_le_bytes()));
    put(&[1, 0, 0, 0, 7, 0, 0, 0]);
    let len = code.len() as u64;
    [120, RAM, RAM, len, len, 4096].iter().for_each(|word| put(&word.to_le_bytes()));
    put(code);
    put(&vec![0; code.len().next_multiple_of(8) - code.len()]);
    put(&[0; 24]);
    put(&[1, 0, 0, 0, 0x10, 0, 0xf1, 0xff]);
    [tohost, 8].iter().for_each(|word| put(&word.to_le_bytes()));
    put(NAMES);
    put(&vec![0; (sections_at - names_at) as usize - NAMES.len()]);
    put(&[0; 64]);
    // Symbols (type 2, linked to their names), then the names (type 3).
    let section = |name: u32, kind: u32, at: u64, len: u64, link: u32, info: u32, size: u64| {
        let head = [name, kind].map(u32::to_le_bytes).concat();
        let place = [0, 0, at, len].map(u64::to_le_bytes).concat();
        let links = [link, info].map(u32::to_le_bytes).concat();
        [head, place, links, [1, size].map(u64::to_le_bytes).concat()].concat()
    };
    put(&section(8, 2, symbols_at, 48, 2, 1, 24));
    put(&section(16, 3, names_at, NAMES.len() as u64, 0, 0, 0));
    file
}

#[test]
fn a_store_to_tohost_ends_the_machine() {
    for code in [0, 3, 21] {
        let source = format!(
            "
                la   t0, tohost
                li   t1, {}
                sd   t1, 0(t0)
            1:  j    1b
            .align 8
            tohost: .dword 0",
            code << 1 | 1
        );
        let program = assemble(RAM, &source).unwrap();
        let files = Files::new();
        let kernel = files.write("test.elf", elf(&program.bytes, program.label("tohost").unwrap()));
        let (found, _, err) = read(&run(&["run", "--kernel", &kernel]));
        assert_eq!(found, Some(code), "{err}");
    }
}
