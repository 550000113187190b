//! Options of `aot`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Notes at the end of the help.
pub const AOT_NOTES: &str = "\
Images are made by aot-builder and lie in $XDG_DATA_HOME/vm-boot/aot, which is ~/.local/share/vm-boot/aot
unless the variable is set: a directory for each guest, in it a file for each version and CPU level.";

/// What to do with the images that are there.
#[derive(Clone, Debug, Subcommand)]
pub enum AotCommand {
    /// List images by guest, newest first
    List(StoreArgs),
    /// Check every byte of all images, and that they are signed by a trusted key
    Verify {
        /// Directory of the public keys that are trusted (docs/format-aot.md)
        #[arg(long, value_name = "DIR")]
        aot_trust: PathBuf,
        /// Where they are
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Remove old images, and files that were left behind or are none
    Prune {
        /// How many versions to keep of each guest and CPU level
        #[arg(long, value_name = "N", default_value_t = 2)]
        keep: usize,
        /// Where they are
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Which images.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// Directory of the images [default: that of this user]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}
