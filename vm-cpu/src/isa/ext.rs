//! The extensions a guest can have, by name, and sets of them.
//!
//! A row of the encoding table names the extensions it needs; the CPU's configuration says which are
//! there. The order of the list is that of an ISA string (unprivileged manual, "ISA Extension Naming
//! Conventions"): single letters, then `Z…` by category, then `S…`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

macro_rules! define {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal, )*) => {
        /// One extension, or one privilege mode that a guest may lack.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Extension { $( $(#[$doc])* $variant, )* }

        impl Extension {
            /// All of them, in the order of an ISA string.
            pub const ALL: &'static [Extension] = &[$(Extension::$variant),*];

            /// Lower-case name.
            pub const fn name(self) -> &'static str {
                match self { $(Extension::$variant => $name,)* }
            }
        }

        #[allow(non_upper_case_globals, reason = "the encoding table names sets as the manual does")]
        impl Extensions {
            $( $(#[$doc])* pub const $variant: Extensions = Extensions(1 << Extension::$variant as u64); )*
        }
    };
}

define! {
    /// Base integer instructions of RV64.
    I = "i",
    /// Multiplication and division.
    M = "m",
    /// Atomics.
    A = "a",
    /// Single-precision floating point.
    F = "f",
    /// Double-precision floating point.
    D = "d",
    /// Compressed instructions.
    C = "c",
    /// Supervisor mode.
    S = "s",
    /// User mode.
    U = "u",
    /// Cache-block management.
    Zicbom = "zicbom",
    /// Cache-block prefetch hints.
    Zicbop = "zicbop",
    /// Cache-block zeroing.
    Zicboz = "zicboz",
    /// Cycle, time and instret counters.
    Zicntr = "zicntr",
    /// Conditional zeroing.
    Zicond = "zicond",
    /// CSR instructions.
    Zicsr = "zicsr",
    /// Instruction-fetch fence.
    Zifencei = "zifencei",
    /// Spin-loop hint.
    Zihintpause = "zihintpause",
    /// Hardware performance counters.
    Zihpm = "zihpm",
    /// May-be-operations.
    Zimop = "zimop",
    /// Compare-and-swap.
    Zacas = "zacas",
    /// Waiting on a reservation set.
    Zawrs = "zawrs",
    /// Additional floating-point instructions.
    Zfa = "zfa",
    /// Conversions to and from half precision.
    Zfhmin = "zfhmin",
    /// Additional compressed instructions.
    Zcb = "zcb",
    /// Compressed may-be-operations.
    Zcmop = "zcmop",
    /// Address generation.
    Zba = "zba",
    /// Basic bit manipulation.
    Zbb = "zbb",
    /// Single-bit instructions.
    Zbs = "zbs",
    /// Supervisor timer compare register.
    Sstc = "sstc",
    /// Page fault on a clear A or D bit.
    Svade = "svade",
    /// Hardware update of A and D bits.
    Svadu = "svadu",
    /// Fine-grained address-translation invalidation.
    Svinval = "svinval",
    /// Naturally aligned power-of-two page-table contiguity.
    Svnapot = "svnapot",
    /// Page-based memory types.
    Svpbmt = "svpbmt",
}

/// A set of extensions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Extensions(u64);

impl Extensions {
    /// The empty set.
    pub const NONE: Extensions = Extensions(0);
    /// Stands for "C is absent", when jump targets must be multiples of 4. Set by the decoder alone.
    pub(super) const IALIGN32: Extensions = Extensions(1 << 63);

    /// The set of `list`.
    pub const fn of(list: &[Extension]) -> Extensions {
        let (mut set, mut n) = (0, 0);
        while n < list.len() {
            set |= 1 << list[n] as u64;
            n += 1;
        }
        Extensions(set)
    }

    /// Every extension of the list.
    pub const fn all() -> Extensions {
        Extensions::of(Extension::ALL)
    }

    /// Union.
    pub const fn with(self, other: Extensions) -> Extensions {
        Extensions(self.0 | other.0)
    }

    /// Difference.
    pub const fn without(self, other: Extensions) -> Extensions {
        Extensions(self.0 & !other.0)
    }

    /// Whether every member of `other` is here.
    pub const fn has(self, other: Extensions) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether `e` is a member.
    pub const fn contains(self, e: Extension) -> bool {
        self.0 >> e as u64 & 1 == 1
    }

    /// Adds or removes `e`.
    pub fn set(&mut self, e: Extension, on: bool) {
        let one = Extensions::of(&[e]);
        *self = if on { self.with(one) } else { self.without(one) };
    }

    /// The members in the order of an ISA string.
    pub fn iter(self) -> impl Iterator<Item = Extension> {
        Extension::ALL.iter().copied().filter(move |&e| self.contains(e))
    }
}

/// The set of the names in brackets, as the tables write it.
macro_rules! extensions {
    ([$($name:ident)+]) => { $crate::isa::ext::Extensions::NONE $(.with($crate::isa::ext::Extensions::$name))+ };
}
pub(super) use extensions;

impl FromIterator<Extension> for Extensions {
    fn from_iter<T: IntoIterator<Item = Extension>>(list: T) -> Extensions {
        list.into_iter().fold(Extensions::NONE, |set, e| set.with(Extensions::of(&[e])))
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No extension has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the lower-case name of an extension, found `{0}`")]
pub struct UnknownExtension(pub String);

impl FromStr for Extension {
    type Err = UnknownExtension;

    fn from_str(name: &str) -> Result<Extension, UnknownExtension> {
        let known = Extension::ALL.iter().copied().find(|e| e.name() == name);
        known.ok_or_else(|| UnknownExtension(name.to_owned()))
    }
}

/// As a list of names, so that stored sets outlive a change of the bits.
impl Serialize for Extensions {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        // With its length, which binary formats want first.
        self.iter().map(Extension::name).collect::<Vec<_>>().serialize(s)
    }
}

impl<'de> Deserialize<'de> for Extensions {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Extensions, D::Error> {
        let names = Vec::<String>::deserialize(d)?;
        names.iter().map(|n| n.parse::<Extension>().map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for &e in Extension::ALL {
            assert_eq!(e.name().parse(), Ok(e));
            assert_eq!(e.name(), e.name().to_lowercase());
        }
        assert!("Zba".parse::<Extension>().is_err());
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set = Extensions::I.with(Extensions::Zba);
        assert!(set.contains(Extension::Zba) && !set.contains(Extension::Zbb));
        assert!(set.has(Extensions::I) && !set.has(Extensions::I.with(Extensions::Zbb)));
        set.set(Extension::Zba, false);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Extension::I]);
        assert!(!Extensions::all().has(Extensions::IALIGN32));
    }
}
