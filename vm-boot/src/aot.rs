//! `vm-boot aot`: images of code translated ahead of time, described and cleared away.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use vm_cpu::aot::day::Day;
use vm_cpu::aot::standing::Standing;
use vm_cpu::aot::store::{Entry, StoreError};
use vm_cpu::aot::{CpuLevel, KeyId, Store, Trust};

use crate::cli::{AotCommand, StoreArgs};

/// What a command found, and whether all of it was good.
#[derive(Debug)]
pub struct Told {
    /// For people.
    pub text: String,
    /// Nothing was refused.
    pub good: bool,
}

/// Carries out a command.
pub fn run(command: &AotCommand) -> Result<Told> {
    match command {
        AotCommand::List(args) => list(&store(args)?),
        AotCommand::Verify { aot_trust, store: args } => verify(&store(args)?, aot_trust),
        AotCommand::Prune { keep, store: args } => prune(&store(args)?, *keep),
    }
}

fn store(args: &StoreArgs) -> Result<Store, StoreError> {
    args.store.as_ref().map_or_else(Store::of_user, |dir| Ok(Store::at(dir)))
}

fn list(store: &Store) -> Result<Told> {
    let mut text = format!(
        "{:<24} {:>8} {:>9}  {:<18} {:<16}  {:<11}  KEY\n",
        "GUEST", "VERSION", "SIZE", "CPU", "BUILD ID", "STANDING"
    );
    for found in store.list()? {
        let _ = match found {
            Ok(entry) => writeln!(text, "{}", row(&entry)),
            Err(error) => writeln!(text, "{error}"),
        };
    }
    Ok(Told { text, good: true })
}

fn row(entry: &Entry) -> String {
    let Entry { header, length, .. } = entry;
    let build_id: String = header.build_id[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let (guest, version, level, key) = (&header.guest, header.version, &header.level, KeyId::of(&header.key));
    let fits = level.parse::<CpuLevel>().is_ok_and(|level| CpuLevel::of_host().covers(&level));
    let note = if fits { "" } else { "  (not for this CPU)" };
    let standing = match entry.standing() {
        Ok(Standing::Canary) => "new",
        Ok(Standing::Proven) => "proven",
        Ok(Standing::Quarantined(_)) => "quarantined",
        Err(_) => "unknown",
    };
    format!(
        "{guest:<24} {version:>8} {:>8}K  {level:<18} {build_id:<16}  {standing:<11}  {key}{note}",
        length.div_ceil(1024)
    )
}

fn verify(store: &Store, keys: &Path) -> Result<Told> {
    let trust = Trust::read(keys, Day::today())?;
    let mut told = Told { text: String::new(), good: true };
    for found in store.list()? {
        let _ = match found.and_then(|entry| entry.verify(&trust).map(|_| entry)) {
            Ok(entry) => writeln!(told.text, "{}: whole and trusted", entry.path.display()),
            Err(error) => {
                told.good = false;
                writeln!(told.text, "{error}")
            }
        };
    }
    Ok(told)
}

fn prune(store: &Store, keep: usize) -> Result<Told> {
    let removed = store.prune(keep)?;
    let text = removed.iter().map(|path| format!("removed {}\n", path.display())).collect();
    Ok(Told { text, good: true })
}
