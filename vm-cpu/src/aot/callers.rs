//! Which functions to take first where not all can be: those that much code calls, and small ones.
//!
//! A function begins where a call leads, or where [`settle`](super::settle) says that one does. Its rank is the
//! square of its callers by its bytes. On two boots of Debian's kernel, half of the code by this order is 97 and 98
//! in a hundred of what is executed, a fifth is 50 and 60.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::survey::Spot;
use crate::isa::Op;

/// What is known of a function.
#[derive(Debug)]
struct Function {
    range: Range<usize>,
    callers: u64,
    bytes: u64,
}

/// Ranges of `spots` that hold the functions to take, in order, with no more than `most` instructions.
pub(super) fn most_called(spots: &[Spot], entries: &[u64], most: usize) -> Vec<Range<usize>> {
    let mut functions = functions(spots, entries);
    functions.sort_by_key(|function| {
        let rank = (u128::from(function.callers).pow(2) << 20) / u128::from(function.bytes.max(1));
        (Reverse(rank), function.range.start)
    });
    let mut left = most;
    let chosen = functions.into_iter().take_while(|function| {
        let rest = left.checked_sub(function.range.len());
        left = rest.unwrap_or(left);
        rest.is_some()
    });
    let mut chosen: Vec<Range<usize>> = chosen.map(|function| function.range).collect();
    chosen.sort_by_key(|range| range.start);
    chosen
}

fn functions(spots: &[Spot], entries: &[u64]) -> Vec<Function> {
    let (Some(first), Some(last)) = (spots.first(), spots.last()) else { return Vec::new() };
    let range = first.at..last.at + last.len;
    let jumps = jumps(spots);
    let called = jumps.iter().filter(|jump| jump.2).map(|jump| jump.1);
    let starts: BTreeSet<u64> =
        called.chain(entries.iter().copied()).filter(|at| range.contains(at)).collect();
    let place = |at: u64| spots.partition_point(|spot| spot.at < at);
    let mut bounds: Vec<usize> = std::iter::once(0).chain(starts.iter().map(|&at| place(at))).collect();
    bounds.push(spots.len());
    bounds.dedup();
    let whose = |at: u64| bounds.partition_point(|&bound| bound <= place(at)) - 1;
    let mut callers: BTreeMap<usize, u64> = BTreeMap::new();
    for &(from, to, call) in jumps.iter().filter(|jump| range.contains(&jump.1)) {
        if call || whose(from) != whose(to) {
            *callers.entry(whose(to)).or_default() += 1;
        }
    }
    let bounds = bounds.windows(2).map(|pair| pair[0]..pair[1]).enumerate();
    let function = |(number, range): (usize, Range<usize>)| Function {
        callers: callers.get(&number).copied().unwrap_or(0),
        bytes: spots[range.clone()].iter().map(|spot| spot.len).sum(),
        range,
    };
    bounds.map(function).collect()
}

/// From where, to where, and whether it is a call.
fn jumps(spots: &[Spot]) -> Vec<(u64, u64, bool)> {
    let mut found = Vec::new();
    let mut base = None;
    for spot in spots {
        let Some(insn) = &spot.insn else {
            base = None;
            continue;
        };
        let to = |from: u64| from.wrapping_add_signed(insn.imm.into());
        match insn.op {
            Op::jal => found.push((spot.at, to(spot.at), insn.rd != 0)),
            Op::jalr => {
                let known = base.filter(|&(register, _)| register == insn.rs1);
                found.extend(known.map(|(_, base)| (spot.at, to(base), insn.rd != 0)));
            }
            Op::beq | Op::bne | Op::blt | Op::bge | Op::bltu | Op::bgeu => {
                found.push((spot.at, to(spot.at), false));
            }
            _ => {}
        }
        base = (insn.op == Op::auipc).then(|| (insn.rd, to(spot.at)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aot::survey::{Section, sweep};

    #[test]
    fn what_is_called_most_by_its_size_comes_first() {
        let code = [
            0x00c0_00ef, // 0: jal 0xc
            0x00c0_00ef, // 4: jal 0x10
            0x0000_8067, // 8: ret
            0x0000_8067, // c: ret
            0xffdf_f0ef, // 10: jal 0xc
            0x0000_8067, // 14: ret
        ];
        let bytes: Vec<u8> = code.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        let spots = sweep(&Section { address: 0x1000, bytes: &bytes, entries: &[], most: None });
        let taken = |most| {
            let ranges = most_called(&spots, &[], most).into_iter();
            ranges.map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(taken(0), []);
        assert_eq!(taken(1), [(3, 4)]);
        assert_eq!(taken(3), [(3, 4), (4, 6)]);
        assert_eq!(taken(6), [(0, 3), (3, 4), (4, 6)]);
        assert!(most_called(&[], &[], 6).is_empty());
    }
}
