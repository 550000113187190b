//! What a host CPU has, and what an image needs of it: a level of the x86-64 psABI, and features beyond.
//!
//! ```text
//!  x86-64-v3              the level's features
//!  x86-64-v2,fma,lzcnt    and some more
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Levels there are.
const LEVELS: std::ops::RangeInclusive<u8> = 1..=4;
/// How a level is written, up to its number.
const PREFIX: &str = "x86-64-v";

/// A level, and features that do not belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuLevel {
    level: u8,
    more: BTreeSet<String>,
}

/// A text that is no level.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("expected a CPU level as in \"x86-64-v3,aes\", found {0:?}")]
pub struct LevelError(String);

/// The features of each level by name, as they are detected; in none if it is 0.
macro_rules! features {
    ($($name:tt in $level:literal),* $(,)?) => {
        const FEATURES: &[(&str, u8)] = &[$(($name, $level)),*];

        fn detected() -> Vec<(&'static str, u8)> {
            [$(is_x86_feature_detected!($name).then_some(($name, $level))),*].into_iter().flatten().collect()
        }
    };
}

features! {
    "cmpxchg16b" in 2, "popcnt" in 2, "sse3" in 2, "ssse3" in 2, "sse4.1" in 2, "sse4.2" in 2,
    "avx" in 3, "avx2" in 3, "bmi1" in 3, "bmi2" in 3, "f16c" in 3, "fma" in 3, "lzcnt" in 3, "movbe" in 3,
    "avx512f" in 4, "avx512bw" in 4, "avx512cd" in 4, "avx512dq" in 4, "avx512vl" in 4,
    "adx" in 0, "aes" in 0, "avx512bitalg" in 0, "avx512vbmi" in 0, "pclmulqdq" in 0,
}

impl CpuLevel {
    /// What this host has.
    pub fn of_host() -> CpuLevel {
        let there = detected();
        let whole = |level: u8| FEATURES.iter().filter(|f| f.1 == level).all(|f| there.contains(f));
        let level = LEVELS.skip(1).take_while(|&level| whole(level)).last().unwrap_or(1);
        let beyond = |&&(_, of): &&(&str, u8)| of == 0 || of > level;
        CpuLevel { level, more: there.iter().filter(beyond).map(|f| f.0.to_owned()).collect() }
    }

    /// Whether what `other` needs is here.
    pub fn covers(&self, other: &CpuLevel) -> bool {
        self.level >= other.level && other.more.iter().all(|feature| self.has(feature))
    }

    fn has(&self, feature: &str) -> bool {
        let in_level = |&&(name, level): &&(&str, u8)| name == feature && (1..=self.level).contains(&level);
        self.more.contains(feature) || FEATURES.iter().find(in_level).is_some()
    }
}

impl fmt::Display for CpuLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.level)?;
        self.more.iter().try_for_each(|feature| write!(f, ",{feature}"))
    }
}

impl FromStr for CpuLevel {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<CpuLevel, LevelError> {
        let wrong = || LevelError(text.to_owned());
        let mut words = text.split(',');
        let level = words.next().and_then(|word| word.strip_prefix(PREFIX)).ok_or_else(wrong)?;
        let level = LEVELS.into_iter().find(|known| known.to_string() == level).ok_or_else(wrong)?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.';
        let mut more = BTreeSet::new();
        for word in words {
            if word.is_empty() || !word.bytes().all(plain) || !more.insert(word.to_owned()) {
                return Err(wrong());
            }
        }
        Ok(CpuLevel { level, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(text: &str) -> CpuLevel {
        text.parse().unwrap()
    }

    #[test]
    fn a_level_comes_out_as_it_went_in() {
        for text in ["x86-64-v1", "x86-64-v3,aes,sse4.2"] {
            assert_eq!(level(text).to_string(), text);
        }
        for text in
            ["", "x86-64", "x86-64-v5", "x86-64-v03", "x86-64-v3,", "x86-64-v3,AES", "x86-64-v3,aes,aes"]
        {
            assert!(text.parse::<CpuLevel>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_covers_lower_levels_and_the_features_in_its_own() {
        assert!(level("x86-64-v3").covers(&level("x86-64-v2,fma")));
        assert!(level("x86-64-v2,aes").covers(&level("x86-64-v1,aes")));
        assert!(!level("x86-64-v3").covers(&level("x86-64-v4")));
        assert!(!level("x86-64-v2").covers(&level("x86-64-v2,fma")));
        assert!(!level("x86-64-v4").covers(&level("x86-64-v1,aes")));
        assert!(!level("x86-64-v4").covers(&level("x86-64-v1,unheard")));
    }

    #[test]
    fn this_host_has_what_it_says() {
        let host = CpuLevel::of_host();
        assert_eq!(level(&host.to_string()), host);
        assert!(host.covers(&host) && host.covers(&level("x86-64-v1")));
        assert_eq!(host.has("avx2"), is_x86_feature_detected!("avx2"));
    }
}
