//! Tests of guest memory through its public face.

mod dma;
mod formats;
mod image;
mod meet;
mod space;
mod tlb;
mod tlb_model;
mod tracker;
mod walk;
