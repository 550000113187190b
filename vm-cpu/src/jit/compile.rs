//! From a region to host code: Cranelift, and a way in for each entry ([`ways`](super::ways)).

use cranelift_codegen::Context;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{self, ExternalName};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Final, FinalizedRelocTarget, MachSrcLoc, verify_function};
use cranelift_frontend::FunctionBuilderContext;
use thiserror::Error;

use super::lift::{self, Binding, Place, Sides};
use super::region::Region;
use super::ways::ways_in;

/// Why there is no code for a region. It stays with the interpreter.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The host is none that Cranelift knows.
    #[error("no code generator for this host: {0}")]
    Host(String),
    /// The code generator refused.
    #[error("cannot compile the region at {page:#x}: {reason}")]
    Refused {
        /// Guest-physical address of its page.
        page: u64,
        /// In its words.
        reason: String,
    },
}

/// A compiler with its room, for one thread.
pub struct Compiler {
    isa: OwnedTargetIsa,
    context: Context,
    builder: FunctionBuilderContext,
    control: ControlPlane,
    /// Code of the last region.
    pub code: Vec<u8>,
    /// Where each entry's way in begins in it, in the order of the region's blocks.
    pub entries: Vec<u32>,
    /// Where it names words behind the text: none if it was made for this process.
    pub names: Vec<Name>,
    /// Whose code lies where, if it was made ahead: bytes behind the begin of the one before, and the number of
    /// the instruction in the region.
    pub places: Vec<(u32, u16)>,
}

/// Where code names a word behind the text: by its distance from the place, in 4 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// Offset in the code.
    pub at: u32,
    /// Added to the distance.
    pub addend: i64,
    /// One of [`space`](super::lift::space).
    pub space: u32,
    /// Which word.
    pub index: u32,
}

impl Compiler {
    /// For this host.
    pub fn new() -> Result<Compiler, CompileError> {
        Ok(Compiler {
            isa: host_isa().map_err(CompileError::Host)?,
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
            control: ControlPlane::default(),
            code: Vec::new(),
            entries: Vec::new(),
            names: Vec::new(),
            places: Vec::new(),
        })
    }

    /// Compiles `region`.
    pub fn compile(&mut self, region: &Region, place: Place<'_>) -> Result<(), CompileError> {
        self.context.clear();
        let ahead = matches!(place.binding, Binding::Ahead { .. });
        lift::lift(&mut self.context.func, &mut self.builder, self.isa.frontend_config(), region, place);
        let refused = |reason: String| CompileError::Refused { page: region.page, reason };
        let function = &mut self.context.func;
        if cfg!(debug_assertions)
            && let Err(errors) = verify_function(function, &*self.isa)
        {
            return Err(refused(format!("{errors:?}")));
        }
        // Whoever enters a unit has put its registers by. Cranelift has no convention that both keeps none and knows
        // tail calls, but it takes what a function keeps from its own one only.
        function.signature.call_conv = CallConv::Winch;
        if let Err(error) = self.context.compile(&*self.isa, &mut self.control) {
            return Err(refused(format!("{:?}", error.inner)));
        }
        let Some(compiled) = self.context.compiled_code() else { return Err(refused("nothing".to_owned())) };
        self.names.clear();
        for reloc in compiled.buffer.relocs() {
            let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = &reloc.target else {
                return Err(refused(format!("its code refers to {:?}", reloc.target)));
            };
            // A far name that is near is taken for a call by the code generator, which is the same.
            if !ahead || !matches!(reloc.kind, Reloc::X86PCRel4 | Reloc::X86CallPCRel4) {
                return Err(refused(format!("its code has a relocation of kind {:?}", reloc.kind)));
            }
            let name = &self.context.func.params.user_named_funcs()[*name];
            let (space, index) = (name.namespace, name.index);
            self.names.push(Name { at: reloc.offset, addend: reloc.addend, space, index });
        }
        self.places.clear();
        if ahead {
            self.places.extend(places(compiled.buffer.get_srclocs_sorted()));
        }
        self.code.clear();
        self.code.extend_from_slice(compiled.code_buffer());
        self.entries = ways_in(&mut self.code, region.entries().count());
        Ok(())
    }

    /// What `region` is lifted to, for another code generator, and which of its blocks are ways of the guest's branches.
    pub fn lift(&mut self, region: &Region, place: Place<'_>) -> (ir::Function, Sides) {
        self.context.clear();
        let config = self.isa.frontend_config();
        let sides = lift::lift(&mut self.context.func, &mut self.builder, config, region, place);
        (std::mem::replace(&mut self.context.func, ir::Function::new()), sides)
    }
}

/// Whose code lies where: what is nobody's counts for whom it follows, and in front for the first.
fn places(sorted: &[MachSrcLoc<Final>]) -> Vec<(u32, u16)> {
    let mut places = vec![(0, 0)];
    let mut at = 0;
    for place in sorted.iter().filter(|place| !place.loc.is_default()) {
        let site = place.loc.bits() as u16;
        if places.last().is_some_and(|&(_, last)| last != site) {
            places.push((place.start - at, site));
            at = place.start;
        }
    }
    places
}

fn host_isa() -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    let wanted = [
        ("opt_level", "speed"),
        ("enable_verifier", "false"),
        ("unwind_info", "false"),
        ("enable_nan_canonicalization", "false"),
        ("enable_probestack", "false"),
        ("enable_pinned_reg", "true"),
        ("preserve_frame_pointers", "true"),
    ];
    for (name, value) in wanted {
        flags.set(name, value).map_err(|error| error.to_string())?;
    }
    let host = cranelift_native::builder().map_err(str::to_owned)?;
    host.finish(settings::Flags::new(flags)).map_err(|error| error.to_string())
}
