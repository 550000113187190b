//! What the recipes share with others: writing an initramfs.

pub mod cpio;
