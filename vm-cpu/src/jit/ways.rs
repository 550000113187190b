//! The ways into a unit: a piece of code for each entry, behind the unit's own.
//!
//! ```text
//!  ┌─────────────────────────────┬──────────────────────┬──────────────────────┬─────
//!  │ begin │ table │ entries …   │ begin │ jmp entry 0  │ begin │ jmp entry 1  │ …
//!  └─────────────────▲───────────┴────────────┬─────────┴─────────────────────────────
//!                    └────────────────────────┘          one blob without relocations: it may be copied
//! ```
//! Compilers know functions of one entry. So a unit begins by jumps by the number of the entry, which is in `esi`:
//! through a table, or one comparison after the other. Nobody can predict these if much code is entered but once in
//! a while, and each leads through other lines of the host's instruction cache. So what comes
//! before them is done again for each entry, and they are followed here. What of a begin is not understood is
//! jumped to with the number in `esi`.
//!
//! **Invariant.** A way in does what the unit does from its first byte on, if `esi` holds the number: what is copied
//! does the same anywhere and leaves `esi` alone, and a table in a unit is that of its entries: nothing else of the
//! lifter's branches through one.

/// Bytes that are done again for a way in, more or less.
const LONGEST: usize = 96;

/// `esi` as an operand.
const SI: u8 = 6;

/// Appends a way in for each entry to the code of a unit; where they begin.
pub fn ways_in(code: &mut Vec<u8>, entries: usize) -> Vec<u32> {
    if entries == 1 {
        return vec![0];
    }
    let way_in = |number: usize| {
        let at = code.len();
        let (begin, to) = way(code, number);
        code.extend_from_slice(&begin);
        code.push(0xe9); // jmp
        let distance = to as i32 - (code.len() + 4) as i32;
        code.extend_from_slice(&distance.to_le_bytes());
        at as u32
    };
    (0..entries).map(way_in).collect()
}

/// What is to be done before the place that is then jumped to.
fn way(code: &[u8], number: usize) -> (Vec<u8>, usize) {
    let mut done = vec![0xbe]; // mov esi, number
    done.extend_from_slice(&(number as u32).to_le_bytes());
    let (mut at, mut compared) = (0, None);
    // Up to the last jump that was followed.
    let mut best = (done.len(), 0);
    while done.len() < LONGEST {
        let Some(rest) = code.get(at..) else { break };
        let len = match (comparison(rest), compared.and_then(|with| branch(rest, number as i64, with))) {
            (Some((with, len)), _) => {
                compared = Some(with);
                len
            }
            (_, Some((len, taken))) => {
                let next = at as i64 + len as i64 + taken;
                let Some(to) = place(code, next) else { break };
                (at, best) = (to, (done.len(), to));
                continue;
            }
            _ => {
                if let Some(to) = by_table(code, at, number) {
                    best = (done.len(), to);
                    break;
                }
                compared = None;
                let Some(len) = movable(rest) else { break };
                len
            }
        };
        done.extend_from_slice(&rest[..len]);
        at += len;
    }
    done.truncate(best.0);
    (done, best.1)
}

/// `test esi, esi` or `cmp esi, number`: with what, and its length.
fn comparison(code: &[u8]) -> Option<(i64, usize)> {
    let (wide, code) = match code {
        [0x48, rest @ ..] => (1, rest),
        _ => (0, code),
    };
    match code {
        [0x85, 0xf6, ..] => Some((0, wide + 2)),
        [0x83, 0xfe, with @ 0..=0x7f, ..] => Some((i64::from(*with), wide + 3)),
        [0x81, 0xfe, ..] => {
            let with = word(code, 2).filter(|&with| with >= 0)?;
            Some((with.into(), wide + 6))
        }
        _ => None,
    }
}

/// A jump by how `number` compares with another, neither below 0: its length, and how far it leads from its end.
fn branch(code: &[u8], number: i64, with: i64) -> Option<(usize, i64)> {
    let (condition, len, far) = match code {
        [0xe9, ..] => return Some((5, word(code, 1)?.into())),
        [0xeb, far, ..] => return Some((2, (*far as i8).into())),
        [condition @ 0x70..=0x7f, far, ..] => (condition & 15, 2, i64::from(*far as i8)),
        [0x0f, condition @ 0x80..=0x8f, ..] => (condition & 15, 6, word(code, 2)?.into()),
        _ => return None,
    };
    let holds = match condition >> 1 {
        1 | 6 => number < with,
        2 => number == with,
        3 | 7 => number <= with,
        _ => return None,
    };
    let taken = holds != (condition & 1 == 1);
    Some((len, if taken { far } else { 0 }))
}

/// `lea a, [table]; movsxd b, [a + i*4]; add a, b; jmp a`, where `i` can only be the number: where it leads.
fn by_table(code: &[u8], at: usize, number: usize) -> Option<usize> {
    let is_lea = matches!(code.get(at..at + 3)?, [0x48 | 0x4c, 0x8d, kind] if kind & 0xc7 == 5);
    let table = place(code, (at + 7) as i64 + i64::from(word(code, at + 3)?))?;
    let is_jump = matches!(
        code.get(at + 7..table)?,
        [0x48..=0x4f, 0x63, _, _, 0x48..=0x4f, 0x01 | 0x03, _, 0xff, 0xe0..=0xe7]
            | [0x48..=0x4f, 0x63, _, _, 0x48..=0x4f, 0x01 | 0x03, _, 0x41, 0xff, 0xe0..=0xe7]
    );
    if !is_lea || !is_jump {
        return None;
    }
    place(code, table as i64 + i64::from(word(code, table + 4 * number)?))
}

/// A place in the code.
fn place(code: &[u8], at: i64) -> Option<usize> {
    usize::try_from(at).ok().filter(|&at| at < code.len())
}

fn word(code: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(code.get(at..at + 4)?.try_into().ok()?))
}

/// Length of the first instruction, if it is known, does the same anywhere, and leaves `esi` alone.
fn movable(code: &[u8]) -> Option<usize> {
    let (rex, at) = match *code.first()? {
        rex @ 0x40..=0x4f => (rex & 15, 1),
        _ => (0, 0),
    };
    let op = *code.get(at)?;
    let (two, at) = if op == 0x0f { (Some(*code.get(at + 1)?), at + 2) } else { (None, at + 1) };
    let number = match op {
        0xb8..=0xbf if rex & 8 != 0 => 8,
        0xb8..=0xbf | 0x81 | 0xc7 => 4,
        0x83 | 0xc1 => 1,
        _ => 0,
    };
    let kind = || code.get(at).copied();
    // Registers that may change: of the two operands, and of the opcode.
    let register = |kind: u8| rex & 4 == 0 && kind >> 3 & 7 == SI;
    let other = |kind: u8| rex & 1 == 0 && kind >> 6 == 3 && kind & 7 == SI;
    let changes = match (op, two) {
        (0x50..=0x57, _) => return Some(at),
        (0xb8..=0xbf, _) => {
            let len = at + number;
            return ((rex & 1 == 1 || op & 7 != SI) && len <= code.len()).then_some(len);
        }
        (0x39 | 0x3b | 0x85, _) => false,
        (0x01 | 0x09 | 0x29 | 0x31 | 0x89 | 0x81 | 0x83 | 0xc1 | 0xc7, _) => other(kind()?),
        (0x03 | 0x0b | 0x2b | 0x33 | 0x8b | 0x8d, _) | (_, Some(0x40..=0x4f | 0xb6 | 0xb7)) => {
            register(kind()?)
        }
        _ => return None,
    };
    let len = at + operands(code.get(at..)?)? + number;
    (!changes && len <= code.len()).then_some(len)
}

/// Bytes that say what an instruction works on. `None` if that is a place named by its distance.
fn operands(code: &[u8]) -> Option<usize> {
    const INDEXED: u8 = 4;
    const DISTANT: u8 = 5;
    let kind = *code.first()?;
    let near = if kind & 7 == INDEXED { 2 } else { 1 };
    match kind >> 6 {
        0 if kind & 7 == DISTANT => None,
        0 if kind & 7 == INDEXED && code.get(1)? & 7 == DISTANT => Some(6),
        0 => Some(near),
        1 => Some(near + 1),
        2 => Some(near + 4),
        _ => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `push rbp; mov rbp, rsp; sub rsp, 0x60; mov [rsp+0x40], rbx; mov rax, r15; mov [rax+0xdd0], rdi`.
    const BEGIN: &[u8] = &[
        0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x60, 0x48, 0x89, 0x5c, 0x24, 0x40, 0x4c, 0x89, 0xf8, 0x48,
        0x89, 0xb8, 0xd0, 0x0d, 0, 0,
    ];

    /// What a way does after `mov esi`, and where it leads.
    fn ways(code: &[u8], entries: usize) -> Vec<(Vec<u8>, usize)> {
        let mut whole = code.to_vec();
        let ways = ways_in(&mut whole, entries);
        assert_eq!(&whole[..code.len()], code, "the unit is what it was");
        let ends = ways.iter().skip(1).map(|&at| at as usize).chain([whole.len()]);
        let way = |(number, (&at, end)): (usize, (&u32, usize))| {
            let way = &whole[at as usize..end];
            assert_eq!(way[..5], [&[0xbe][..], &(number as u32).to_le_bytes()].concat());
            assert_eq!(way[way.len() - 5], 0xe9);
            let to = end as i64 + i64::from(word(way, way.len() - 4).unwrap());
            (way[5..way.len() - 5].to_vec(), to as usize)
        };
        ways.iter().zip(ends).enumerate().map(way).collect()
    }

    #[test]
    fn a_table_is_looked_at_when_the_code_is_made() {
        // mov ecx, 3; mov edx, esi; cmp edx, ecx; cmovb ecx, edx
        let clamp = [0xb9, 3, 0, 0, 0, 0x8b, 0xd6, 0x3b, 0xd1, 0x0f, 0x42, 0xca];
        // lea rdx, [rip+9]; movsxd rcx, [rdx+rcx*4]; add rdx, rcx; jmp rdx
        let jump = [0x48, 0x8d, 0x15, 9, 0, 0, 0, 0x48, 0x63, 0x0c, 0x8a, 0x48, 0x03, 0xd1, 0xff, 0xe2];
        let table = [16u32, 20, 18, 16].map(u32::to_le_bytes).concat();
        let front = [BEGIN, &clamp].concat();
        let start = front.len() + jump.len();
        let code = [&front, &jump[..], &table, &[0x90; 8]].concat();
        let way = |to: usize| (front.clone(), start + to);
        assert_eq!(ways(&code, 3), [way(16), way(20), way(18)]);
    }

    #[test]
    fn comparisons_are_made_when_the_code_is() {
        // test esi, esi; je +9; cmp esi, 2; jb +0x11; ja +0x22; ud2 and more of it
        let tree = [0x85, 0xf6, 0x74, 9, 0x83, 0xfe, 2, 0x72, 0x11, 0x0f, 0x87, 0x22, 0, 0, 0];
        let code = [BEGIN, &tree, &[0x0f, 0x0b].repeat(40)].concat();
        let (start, done) = (BEGIN.len(), |len: usize| [BEGIN, &tree[..2], &tree[4..4 + len]].concat());
        let expected = [
            ([BEGIN, &tree[..2]].concat(), start + 4 + 9),
            (done(3), start + 9 + 0x11),
            (done(3), start + 15),
            (done(3), start + 15 + 0x22),
        ];
        assert_eq!(ways(&code, 4), expected);
    }

    #[test]
    fn what_is_not_understood_is_jumped_to() {
        let start = |code: &[u8]| ways(&[code, &[0x85, 0xf6, 0x74, 0, 0x90]].concat(), 2);
        let whole = vec![(vec![], 0), (vec![], 0)];
        assert_eq!(start(&[0xcc]), whole);
        assert_eq!(start(&[0x48, 0x8b, 0x05, 0, 0, 0, 0]), whole, "a place by its distance");
        assert_eq!(start(&[0x8b, 0xf0]), whole, "mov esi, eax");
        assert_eq!(start(&[0x48, 0x83, 0xc6, 1]), whole, "add rsi, 1");
        assert_eq!(start(&[0xbe, 0, 0, 0, 0]), whole, "mov esi, 0");
        assert_ne!(start(&[0x44, 0x8b, 0xf0]), whole, "mov r14d, eax");
        assert_eq!(ways(&[], 2), whole);
        assert_eq!(ways(&BEGIN[..3], 2), whole, "it ends within an instruction");
    }

    #[test]
    fn whatever_the_code_is_there_are_ways_in() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            let code: Vec<u8> = (0..next() % 64).map(|_| next()).collect();
            let code = [&BEGIN[..usize::from(next() % 24)], &code].concat();
            assert!(ways(&code, 3).iter().all(|(_, to)| *to == 0 || *to < code.len()));
        }
    }
}
