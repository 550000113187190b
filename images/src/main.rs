//! Makes guest images from Debian's packages, without root.
//!
//! `images list` names the recipes; `images RECIPE` makes one, into
//! `images/out/RECIPE/`. What is there and still current is left alone.

mod apt;
mod command;
mod deb822;
mod dpkg;
mod host;
mod manifest;
mod module;
mod place;
mod progress;
mod recipe;
mod sources;
mod vmm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use images::cpio;

use crate::place::Place;
use crate::recipe::{Recipe, Wishes, With};

/// Makes guest images from Debian's packages, without root.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// A recipe to make, or `list` (every recipe and its state), or `clean` (removes
    /// the cache and all outputs).
    what: String,

    /// Look for newer packages, even if the output is there.
    #[arg(long)]
    update: bool,

    /// The Debian mirror to use instead of the one in the host's apt sources.
    #[arg(long, value_name = "URI")]
    mirror: Option<String>,

    /// What runs the guest that configures the disk image.
    #[arg(long, value_enum, default_value = "vm-boot")]
    with: With,

    /// The directory that holds `cache` and `out`.
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("images: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let place = Place::new(&arguments.directory.unwrap_or_else(own_directory))?;
    match arguments.what.as_str() {
        "list" => {
            list(&place);
            Ok(())
        }
        "clean" => place.clean(),
        name => {
            let wishes = Wishes { update: arguments.update, mirror: arguments.mirror, with: arguments.with };
            recipe::make(named(name)?.as_ref(), &place, &wishes)
        }
    }
}

fn named(name: &str) -> Result<Box<dyn Recipe>> {
    recipe::all().into_iter().find(|recipe| recipe.name() == name).with_context(|| {
        let names: Vec<_> = recipe::all().iter().map(|recipe| recipe.name()).collect();
        format!("expected list, clean or a recipe ({}), found {name:?}", names.join(", "))
    })
}

fn list(place: &Place) {
    for recipe in recipe::all() {
        println!("{:14} {:9} {}", recipe.name(), recipe::state(recipe.as_ref(), place), recipe.about());
    }
}

/// This crate's directory: cargo names it for `cargo run`; elsewhere it is where
/// the repository keeps it.
fn own_directory() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("images"), PathBuf::from)
}
