//! Floating point against independent oracles: another soft-float, the host's FPU, stored vectors.

mod apfloat;
mod host;
mod operands;
