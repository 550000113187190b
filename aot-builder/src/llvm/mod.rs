//! Hot regions by LLVM: text through `opt` and `llc`, which run as child processes; nothing of LLVM is linked.
//!
//! ```text
//!  Job ──lift──► Cranelift's intermediate code ──text──► .ll │ opt-19 │ llc-19 ──► ELF ──object──► Made
//!                (the one instance of `Emit` that translates)
//! ```
//! **Invariant.** What comes out is what Cranelift would have given: code of the same convention that names the
//! same words, so an image does not show who compiled a unit, and a region that LLVM fails at is Cranelift's.

mod child;
mod float;
mod insts;
mod object;
mod text;
mod tools;

#[cfg(test)]
mod tests;

use std::fmt::Write;

use thiserror::Error;
use vm_cpu::aot::build::{Job, Made};
use vm_cpu::aot::lifted::Lifted;

pub use object::ObjectError;
pub use text::TextError;
pub use tools::{RunError, Tools, ToolsError};

/// Why there is no code from LLVM for a region, or for several.
#[derive(Debug, Error)]
pub enum LlvmError {
    /// It cannot be written down.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] RunError),
    /// The object file is not as expected.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// What functions are compiled for: guest words are the processor's own, and no register but r15 has a meaning.
const MODULE: &str = "\
target datalayout = \"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128\"
target triple = \"x86_64-unknown-linux-gnu\"
!0 = !{}
!1 = !{!\"memory\"}
!4 = !{!7, !7, i64 0}
!5 = !{!8, !8, i64 0}
!6 = !{!9, !9, i64 0}
!7 = !{!\"hart\", !1, i64 0}
!8 = !{!\"tables\", !1, i64 0}
!9 = !{!\"guest\", !1, i64 0}
attributes #2 = { nounwind }
attributes #3 = { nounwind strictfp }
";

/// Of functions: helpers keep what a unit holds in the low halves of vector registers, and only if it is lifted
/// from code that has floating point; the stack below its pointer is theirs.
const FUNCTION: &str = "nounwind noredzone noimplicitfloat \"frame-pointer\"=\"none\" \"no-builtins\" \
                        \"no-jump-tables\"=\"true\"";

/// How the tools are run, and what becomes of what they give: code follows from that, too.
const SOURCES: [&str; 2] = [include_str!("tools.rs"), include_str!("object.rs")];

/// Several regions in LLVM's language.
#[derive(Debug)]
pub struct Module {
    text: String,
    /// Of all that the code for it follows from.
    digest: [u8; 32],
}

impl Module {
    /// What the code of one of its regions follows from.
    pub fn given(&self, number: u32) -> [u8; 36] {
        let mut given = [0; 36];
        given[..32].copy_from_slice(&self.digest);
        given[32..].copy_from_slice(&number.to_le_bytes());
        given
    }
}

/// LLVM, for one level of processors.
#[derive(Debug)]
pub struct Llvm {
    tools: Tools,
    /// The processor it compiles for.
    cpu: String,
}

impl Llvm {
    /// For the processors that an image of `cpu_level` is for.
    pub fn new(tools: Tools, cpu_level: &str) -> Llvm {
        // Helpers do not keep what the fourth level adds.
        let level = cpu_level.split(',').next().unwrap_or_default();
        let cpu = if level == "x86-64-v4" { "x86-64-v3" } else { level };
        Llvm { tools, cpu: cpu.to_owned() }
    }

    /// The regions as one module of LLVM's language.
    pub fn module<'a>(&self, lifted: impl Iterator<Item = &'a Lifted>) -> Result<Module, LlvmError> {
        let (mut names, mut weights) = (insts::Names::new(), text::Weights::default());
        let mut module = MODULE.to_owned();
        for (number, strict) in ["", " strictfp"].into_iter().enumerate() {
            _ = writeln!(
                module,
                "attributes #{number} = {{ {FUNCTION} \"target-cpu\"=\"{}\"{strict} }}",
                self.cpu
            );
        }
        for (number, lifted) in lifted.enumerate() {
            module += &text::function(number, lifted, &mut names, &mut weights)?;
        }
        for (space, index) in names {
            _ = writeln!(module, "@{} = external hidden global i64", insts::word(space, index));
        }
        let text = module + &weights.text;
        let digest =
            *blake3::hash([&self.tools.version, SOURCES[0], SOURCES[1], &text].join("\0").as_bytes())
                .as_bytes();
        Ok(Module { text, digest })
    }

    /// Compiles regions, which `module` is of: the code of each, in their order.
    pub fn compile(&self, jobs: &[(&Job, Lifted)], module: &Module) -> Result<Vec<Made>, LlvmError> {
        let bitcode = self.tools.optimise(module.text.as_bytes())?;
        let file = self.tools.generate(&bitcode)?;
        let units = object::units(&file, jobs.len())?;
        Ok(jobs
            .iter()
            .zip(units)
            .map(|((job, lifted), unit)| job.made(lifted, unit.bytes, unit.names))
            .collect())
    }
}
