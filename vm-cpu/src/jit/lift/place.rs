//! Where a unit will be, and how its code finds what belongs to that place.
//!
//! ```text
//!  made here:       addresses of this process, as constants
//!  made ahead:      words behind the text, reached relative to the code: one load more
//! ```

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    ExternalName, GlobalValueData, InstBuilder, UserExternalName, Value, immediates::Imm64,
};

use super::{Lifter, Options};
use crate::jit::abi::{Site, native};
use crate::jit::enter::Helper;
use crate::jit::slots::SlotSpan;

/// What lifting needs to know of the host and of the place the unit will have.
pub struct Place<'a> {
    /// Instructions of the region in order, where the unit's metadata keeps them.
    pub sites: &'a [Site],
    /// Their inline caches.
    pub slots: Option<SlotSpan>,
    /// What it is tied to.
    pub binding: Binding<'a>,
    /// Optimisations in force.
    pub options: Options,
}

/// What a unit is tied to.
pub enum Binding<'a> {
    /// To this process.
    Here {
        /// Number of the translation.
        number: u32,
        /// Gives the address of the cell of a guest-physical address.
        cell: &'a mut dyn FnMut(u64) -> u64,
        /// There is an image too, and what is not executed from it is counted.
        counted: bool,
    },
    /// To the words of an image.
    Ahead {
        /// Offsets in the page that it leaves for, in the order of their words.
        links: &'a mut Vec<u16>,
    },
}

/// Kinds of names in the code of a unit made ahead.
pub mod space {
    /// The index is of a word at the front.
    pub const HELPERS: u32 = 0;
    /// The index is of one of the unit's own words.
    pub const OWN: u32 = 1;
}

/// Words at the front of an image's: addresses of helpers, without and with vector registers.
pub const HELPER_WORDS: u32 = 2 * Helper::COUNT as u32;
/// Of a unit's words: the number of the translation.
pub const NUMBER_WORD: u32 = 0;
/// The address of its first site.
pub const SITES_WORD: u32 = 1;
/// The first cell.
pub const LINK_WORDS: u32 = 2;

impl Lifter<'_, '_> {
    /// A word behind the text.
    fn word_behind(&mut self, namespace: u32, index: u32) -> Value {
        let name = UserExternalName { namespace, index };
        let name = self.b.func.declare_imported_user_function(name);
        let data = GlobalValueData::Symbol {
            name: ExternalName::user(name),
            offset: Imm64::new(0),
            colocated: true,
            tls: false,
        };
        let global = self.b.func.create_global_value(data);
        let address = self.b.ins().symbol_value(I64, global);
        let flags = self.kinds.table;
        self.b.ins().load(I64, flags, address, 0)
    }

    /// Number of the translation.
    pub(super) fn number(&mut self) -> Value {
        match self.place.binding {
            Binding::Here { number, .. } => self.iconst(number.into()),
            Binding::Ahead { .. } => self.word_behind(space::OWN, NUMBER_WORD),
        }
    }

    /// Address of the site of an instruction.
    pub(super) fn site(&mut self, index: usize) -> Value {
        match self.place.binding {
            Binding::Here { .. } => self.iconst(&raw const self.place.sites[index] as i64),
            Binding::Ahead { .. } => {
                let sites = self.word_behind(space::OWN, SITES_WORD);
                self.b.ins().iadd_imm_s(sites, (index * size_of::<Site>()) as i64)
            }
        }
    }

    /// Address of the cell of an offset in the page.
    pub(super) fn cell(&mut self, offset: u16) -> Value {
        let page = self.region.page;
        match &mut self.place.binding {
            Binding::Here { cell, .. } => {
                let cell = cell(page + u64::from(offset));
                self.iconst(cell as i64)
            }
            Binding::Ahead { links } => {
                let known = links.iter().position(|&link| link == offset);
                let at = known.unwrap_or(links.len());
                if known.is_none() {
                    links.push(offset);
                }
                self.word_behind(space::OWN, LINK_WORDS + at as u32)
            }
        }
    }

    /// Address of a helper.
    pub(super) fn helper(&mut self, helper: Helper) -> Value {
        match self.place.binding {
            Binding::Here { .. } => self.iconst(helper.address(self.vectors) as i64),
            Binding::Ahead { .. } => {
                self.word_behind(space::HELPERS, 2 * helper as u32 + u32::from(self.vectors))
            }
        }
    }

    /// Marks the unit as entered. What was made ahead is never swept, and nobody asks.
    pub(super) fn touch(&mut self) {
        if let Binding::Here { number, .. } = self.place.binding {
            let touched = self.fixed_word(native!(touched));
            let one = self.b.ins().iconst(cranelift_codegen::ir::types::I8, 1);
            let flags = self.kinds.table;
            self.b.ins().store(flags, one, touched, number as i32);
        }
    }

    /// Tells the hart how much of what it executes was not translated ahead: what `counted` adds to `retired`. Most
    /// of it is, and runs faster for not being counted.
    pub(super) fn count_here(&mut self) {
        if let Binding::Here { counted: true, .. } = self.place.binding {
            let before = self.word(native!(here));
            let after = self.b.ins().iadd(before, self.counted);
            self.set_word(native!(here), after);
        }
    }
}
