//! Floating point against independent oracles: another soft-float, the host's FPU, stored vectors.

mod apfloat;
mod host;
mod instructions;
mod manual;
mod operands;
mod vectors;
