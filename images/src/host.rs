//! Facts about the host that decide what is fetched for it.

use std::fs;

use anyhow::{Context, Result};

const OS_RELEASE: &str = "/etc/os-release";

/// The name of the host's Debian release, `bookworm` or `trixie`.
pub fn codename() -> Result<String> {
    let text = fs::read_to_string(OS_RELEASE).with_context(|| format!("reading {OS_RELEASE}"))?;
    value(&text, "VERSION_CODENAME").with_context(|| {
        format!("expected VERSION_CODENAME in {OS_RELEASE}, found none: is this Debian 12 or 13?")
    })
}

fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(line.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_with_and_without_quotes() {
        let text = "ID=debian\nVERSION_CODENAME=trixie\nNAME=\"Debian GNU/Linux\"\n";
        assert_eq!(value(text, "VERSION_CODENAME").as_deref(), Some("trixie"));
        assert_eq!(value(text, "NAME").as_deref(), Some("Debian GNU/Linux"));
        assert_eq!(value(text, "VERSION"), None);
    }
}
