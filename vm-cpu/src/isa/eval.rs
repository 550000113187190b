//! What the pure integer operations compute, for engines that compute and for those that fold constants.

use super::emit::{Bin, Cmp, Un};

impl Un {
    /// The result.
    #[inline(always)]
    pub fn eval(self, a: u64) -> u64 {
        match self {
            Un::Sext8 => a as i8 as u64,
            Un::Sext16 => a as i16 as u64,
            Un::Sext32 => a as i32 as u64,
            Un::Zext8 => a & 0xff,
            Un::Zext16 => a & 0xffff,
            Un::Zext32 => a & 0xffff_ffff,
            Un::Clz64 => u64::from(a.leading_zeros()),
            Un::Clz32 => u64::from((a as u32).leading_zeros()),
            Un::Ctz64 => u64::from(a.trailing_zeros()),
            Un::Ctz32 => u64::from((a as u32).trailing_zeros()),
            Un::Cpop64 => u64::from(a.count_ones()),
            Un::Cpop32 => u64::from((a as u32).count_ones()),
            Un::Rev8 => a.swap_bytes(),
            Un::OrcB => {
                let low = 0x7f7f_7f7f_7f7f_7f7f;
                let ones = (((a & low) + low) | a) >> 7 & 0x0101_0101_0101_0101;
                ones * 0xff
            }
            Un::Not => !a,
        }
    }
}

impl Bin {
    /// The result.
    #[inline(always)]
    pub fn eval(self, a: u64, b: u64) -> u64 {
        let (sa, sb) = (a as i64, b as i64);
        match self {
            Bin::Add => a.wrapping_add(b),
            Bin::Sub => a.wrapping_sub(b),
            Bin::And => a & b,
            Bin::Or => a | b,
            Bin::Xor => a ^ b,
            Bin::Sll => a << (b & 63),
            Bin::Srl => a >> (b & 63),
            Bin::Sra => (sa >> (b & 63)) as u64,
            Bin::Rol => a.rotate_left((b & 63) as u32),
            Bin::Ror => a.rotate_right((b & 63) as u32),
            Bin::Mul => a.wrapping_mul(b),
            Bin::Mulh => ((i128::from(sa) * i128::from(sb)) >> 64) as u64,
            Bin::Mulhsu => ((i128::from(sa) * i128::from(b)) >> 64) as u64,
            Bin::Mulhu => ((u128::from(a) * u128::from(b)) >> 64) as u64,
            Bin::Div => match sb {
                0 => u64::MAX,
                _ => sa.wrapping_div(sb) as u64,
            },
            Bin::Divu => a.checked_div(b).unwrap_or(u64::MAX),
            Bin::Rem => match sb {
                0 => a,
                _ => sa.wrapping_rem(sb) as u64,
            },
            Bin::Remu => a.checked_rem(b).unwrap_or(a),
            Bin::Min => sa.min(sb) as u64,
            Bin::Max => sa.max(sb) as u64,
            Bin::Minu => a.min(b),
            Bin::Maxu => a.max(b),
        }
    }
}

impl Cmp {
    /// Whether it holds.
    #[inline(always)]
    pub fn eval(self, a: u64, b: u64) -> bool {
        match self {
            Cmp::Eq => a == b,
            Cmp::Ne => a != b,
            Cmp::Lt => (a as i64) < (b as i64),
            Cmp::Ge => (a as i64) >= (b as i64),
            Cmp::Ltu => a < b,
            Cmp::Geu => a >= b,
        }
    }
}
