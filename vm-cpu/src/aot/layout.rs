//! The number of what code made ahead takes for granted of the program that runs it: where the hart keeps what,
//! and in which order words and helpers are.
//!
//! It is a hash of the intermediate code of every instruction, which holds every such offset.

use std::sync::OnceLock;

use vm_mmu::PAGE;

use super::build::Facts;
use crate::interp::Blocks;
use crate::isa::{Extensions, Insn, Op, decode};
use crate::jit::abi::Site;
use crate::jit::compile::Compiler;
use crate::jit::enter::Helper;
use crate::jit::lift::{Binding, Options, Place};
use crate::jit::region::Region;
use crate::jit::sites::{Known, assign_slots, sites_of};
use crate::jit::slots::SlotSpan;

/// See the module. The same for each program built from the same source by the same compiler.
pub fn layout_hash() -> u64 {
    static HASH: OnceLock<u64> = OnceLock::new();
    *HASH.get_or_init(|| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(
            format!("{:?} {} {}", Helper::ALL, size_of::<Site>(), env!("CARGO_PKG_VERSION")).as_bytes(),
        );
        if let Ok(mut compiler) = Compiler::new() {
            // Register fields that differ.
            let fields = 5 << 7 | 6 << 15 | 7 << 20 | 28 << 27;
            for op in Op::ALL {
                let pattern = op.row().pattern;
                for open in [fields, 0] {
                    let insn = decode(pattern.value | open & pattern.open, Extensions::all());
                    let code = insn.and_then(|insn| intermediate(&mut compiler, insn));
                    hasher.update(op.name().as_bytes()).update(code.unwrap_or_default().as_bytes());
                }
            }
        }
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    })
}

/// What a unit of one instruction is lifted to, with an inline cache and without.
fn intermediate(compiler: &mut Compiler, insn: Insn) -> Option<String> {
    let mut blocks = Blocks::default();
    let id = blocks.number(PAGE, 0);
    blocks.set_code(id, &[insn], insn.len.into());
    blocks.get_mut(id).heat = 1;
    let region = Region::discover(&blocks, blocks.get(id), &Facts::default())?;
    let mut text = String::new();
    for slotted in [false, true] {
        let mut sites = sites_of(&region);
        let known = Known { roams: &|_| !slotted, beside: &|_| slotted };
        let take = |len| Some(SlotSpan { first: 1, len, key: 1, stores: 0 });
        let options = Options { fma: true, ..Options::default() };
        let slots = assign_slots(&mut sites, &region, options.group, &known, take);
        let mut links = Vec::new();
        let place = Place { sites: &sites, slots, binding: Binding::Ahead { links: &mut links }, options };
        text += &compiler.intermediate(&region, place);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_code_takes_for_granted_is_in_its_intermediate_form() {
        let add = decode(0x00b5_0533, Extensions::all()).unwrap();
        let code = intermediate(&mut Compiler::new().unwrap(), add).unwrap();
        assert!(code.contains(&format!("+{}", crate::jit::abi::x_offset(10))), "{code}");
        assert_ne!(layout_hash(), 0);
    }
}
