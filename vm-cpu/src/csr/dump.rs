//! The registers as text, for a console.

use std::fmt;

use super::table::rows;
use super::{CsrEnv, CsrFile};

/// Shows every CSR that the hart has by its name, four to a line. Members of large families are left
/// out while they are 0.
pub struct Dump<'a> {
    file: &'a CsrFile,
    env: CsrEnv,
}

impl CsrFile {
    /// The registers at the moment of `env`, to be printed.
    pub fn dump(&self, env: CsrEnv) -> Dump<'_> {
        Dump { file: self, env }
    }
}

impl fmt::Display for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "privilege {:?}", self.file.prv)?;
        let shown = rows().iter().filter_map(|row| {
            let value = self.file.peek(row.num, &self.env)?;
            (value != 0 || !row.name.in_family()).then_some((row.name, value))
        });
        for (k, (name, value)) in shown.enumerate() {
            f.write_str(if k % 4 == 0 { "\n" } else { "  " })?;
            write!(f, "{name:<13} {value:016x}")?;
        }
        Ok(())
    }
}
