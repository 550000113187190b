//! Reading a configuration from text, and the rules among features.

use vm_mmu::Scheme;

use super::{CpuConfig, FIXED};
use crate::isa::ext::{Extension, Extensions};
use crate::pmp::ENTRIES;

/// Why a text is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuConfigError {
    /// The first word is no preset.
    #[error("expected a cpu, one of {}, found `{found}`", BASES.join(", "))]
    UnknownBase {
        /// What stands there.
        found: String,
    },
    /// A profile of which parts are missing.
    #[error("cpu `{base}` needs {missing}, which are not implemented yet")]
    NotImplemented {
        /// The profile.
        base: String,
        /// Its missing extensions.
        missing: &'static str,
    },
    /// A key that is no feature.
    #[error("unknown cpu feature `{key}`; nearest are {}", nearest.join(", "))]
    UnknownKey {
        /// What stands there.
        key: String,
        /// The most similar keys, best first.
        nearest: Vec<&'static str>,
    },
    /// A value that the key does not take.
    #[error("cpu feature `{key}` takes {expected}, found `{found}`")]
    BadValue {
        /// The key.
        key: String,
        /// The values it takes.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A feature that every guest has.
    #[error("cpu feature `{key}` cannot be switched off")]
    Fixed {
        /// The key.
        key: String,
    },
    /// A feature is on, and its basis is off.
    #[error("cpu feature `{feature}` needs `{needs}`, which is off")]
    Needs {
        /// What is on.
        feature: &'static str,
        /// What is off.
        needs: &'static str,
    },
}

/// The presets that can be had.
const BASES: &[&str] = &["rv64gc", "rva22", "rva22s64"];

/// Keys that are not extensions.
const OTHER_KEYS: &[&str] = &["sv48", "sv57", "pmp", "lrsc"];

/// (feature, what it stands on).
const NEEDS: &[(Extension, Extension)] = &[
    (Extension::D, Extension::F),
    (Extension::Zfa, Extension::F),
    (Extension::Zfhmin, Extension::F),
    (Extension::Zacas, Extension::A),
    (Extension::Zawrs, Extension::A),
    (Extension::Zcb, Extension::C),
    (Extension::Zcmop, Extension::C),
    (Extension::Zcmop, Extension::Zimop),
    (Extension::Zihpm, Extension::Zicntr),
];

/// How many similar keys an error names.
const SUGGESTIONS: usize = 3;

impl CpuConfig {
    /// Reads `base,key=value,…`. A key without a value means `on`; of two for one key the later
    /// counts. The order of keys is of no importance otherwise.
    pub fn parse(text: &str) -> Result<CpuConfig, CpuConfigError> {
        let mut words = text.split(',').map(str::trim);
        let mut config = preset(words.next().unwrap_or(""))?;
        let mut sv48 = config.paging >= Scheme::Sv48;
        let mut sv57 = config.paging >= Scheme::Sv57;
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, "on"));
            match key {
                "sv48" => sv48 = on_off(key, value)?,
                "sv57" => sv57 = on_off(key, value)?,
                "pmp" => config.pmp_entries = entries(value)?,
                "lrsc" => config.strict_lrsc = lrsc(value)?,
                _ => config.switch(key, value)?,
            }
        }
        config.paging = paging(sv48, sv57)?;
        config.check()?;
        Ok(config)
    }

    fn switch(&mut self, key: &str, value: &str) -> Result<(), CpuConfigError> {
        let ext = key
            .parse::<Extension>()
            .map_err(|_| CpuConfigError::UnknownKey { key: key.to_owned(), nearest: nearest(key) })?;
        let on = on_off(key, value)?;
        if !on && FIXED.contains(ext) {
            return Err(CpuConfigError::Fixed { key: key.to_owned() });
        }
        self.extensions.set(ext, on);
        Ok(())
    }

    /// Whether a configuration that was not parsed, but stored, is one that can be had.
    pub fn check(&self) -> Result<(), CpuConfigError> {
        if let Some(missing) = FIXED.without(self.extensions).iter().next() {
            return Err(CpuConfigError::Fixed { key: missing.name().to_owned() });
        }
        entries(&self.pmp_entries.to_string())?;
        match NEEDS.iter().find(|&&(feature, needs)| self.has(feature) && !self.has(needs)) {
            None => Ok(()),
            Some(&(feature, needs)) => {
                Err(CpuConfigError::Needs { feature: feature.name(), needs: needs.name() })
            }
        }
    }
}

fn preset(base: &str) -> Result<CpuConfig, CpuConfigError> {
    match base {
        "rv64gc" => Ok(CpuConfig::default()),
        "rva22" | "rva22s64" => Ok(CpuConfig::rva22()),
        "rva23" | "rva23s64" => {
            Err(CpuConfigError::NotImplemented { base: base.to_owned(), missing: "V and H" })
        }
        _ => Err(CpuConfigError::UnknownBase { found: base.to_owned() }),
    }
}

fn on_off(key: &str, value: &str) -> Result<bool, CpuConfigError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(bad_value(key, "`on` or `off`", value)),
    }
}

fn entries(value: &str) -> Result<u8, CpuConfigError> {
    let count = value.parse().ok().filter(|&n: &u8| usize::from(n) <= ENTRIES);
    count.ok_or_else(|| bad_value("pmp", &format!("a number of entries from 0 to {ENTRIES}"), value))
}

fn lrsc(value: &str) -> Result<bool, CpuConfigError> {
    match value {
        "cas" => Ok(false),
        "strict" => Ok(true),
        _ => Err(bad_value("lrsc", "`cas` or `strict`", value)),
    }
}

fn paging(sv48: bool, sv57: bool) -> Result<Scheme, CpuConfigError> {
    match (sv48, sv57) {
        (true, true) => Ok(Scheme::Sv57),
        (true, false) => Ok(Scheme::Sv48),
        (false, false) => Ok(Scheme::Sv39),
        (false, true) => Err(CpuConfigError::Needs { feature: "sv57", needs: "sv48" }),
    }
}

fn bad_value(key: &str, expected: &str, found: &str) -> CpuConfigError {
    CpuConfigError::BadValue { key: key.to_owned(), expected: expected.to_owned(), found: found.to_owned() }
}

/// The keys that are least edits away from `key`.
fn nearest(key: &str) -> Vec<&'static str> {
    let names = Extensions::all().without(FIXED).iter().map(Extension::name);
    let mut keys: Vec<_> = names.chain(OTHER_KEYS.iter().copied()).collect();
    keys.sort_by_key(|known| distance(key, known));
    keys.truncate(SUGGESTIONS);
    keys
}

/// Edit distance (insert, delete, replace), row by row.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
