//! Lock-step: runs units on trial, then the same instructions here, and compares. See [`crate::lockstep`].

use super::{BlockId, Engine, Left, run_code};
use crate::hart::{Core, Exit, Stop};
use crate::isa::Insn;
use crate::jit::abi::Leave;
use crate::jit::enter;
use crate::lockstep::{Shadow, State, Step, report};

/// Instructions of a step that is traced for a report at most.
const TRACED: u64 = 1 << 20;

/// How the interpreter comes to its end otherwise than the unit did.
type Lost = &'static str;

impl Engine {
    /// Runs the unit at `code`, in lock-step if that is asked for; `Err` says that it was wrong.
    #[inline]
    pub(super) fn enter(&mut self, core: &mut Core, code: u64) -> Result<Leave, Exit> {
        if core.shadow.is_some() && self.is_to_be_compared(core, code) {
            self.step(core, code)
        } else {
            Ok(enter::run(core, code))
        }
    }

    fn step(&mut self, core: &mut Core, code: u64) -> Result<Leave, Exit> {
        let before = State::of(core, false);
        let lines = core.port_lines();
        core.with_shadow(|shadow, _| shadow.begin(lines));
        core.forget_data(false);
        core.prepare_native();
        let leave = enter::run(core, code);
        let trapped = leave == Leave::Trap;
        let unit = State::of(core, trapped);
        core.with_shadow(|shadow, core| shadow.turn_back(core.memory()));
        before.restore(core);
        core.forget_data(true);
        let count = unit.retired.wrapping_sub(before.retired);
        let lost = self.replay(core, count, trapped).err();
        let interpreter = State::of(core, trapped);
        let memory = core.with_shadow(|shadow, core| shadow.differences(core.memory()));
        let same = lost.is_none() && interpreter.agrees(&unit) && memory.is_empty();
        if !same {
            core.with_shadow(|shadow, core| shadow.turn_back_again(core.memory()));
            before.restore(core);
            core.forget_data(true);
            let watched = memory.first().map(|word| word.gpa);
            let steps = self.trace(core, count, watched);
            let text = report(&before, &unit, &interpreter, &memory, lost, &steps);
            core.with_shadow(|shadow, _| *shadow.report.borrow_mut() = Some(text));
        }
        core.with_shadow(|shadow, _| shadow.end());
        core.tally.steps += 1;
        core.tally.compared += count;
        match (same, &self.canary, &self.jit) {
            (true, ..) => Ok(leave),
            // The hart is where the interpreter has brought it, in front of an instruction.
            (false, Some(_), Some(jit)) => {
                jit.quarantine(core.with_shadow(|shadow, _| shadow.report.take()));
                Ok(Leave::Dispatch)
            }
            (false, ..) => Err(Exit::Diverged),
        }
    }

    /// Executes `count` instructions with the traps and interrupts that the trial took among them and behind
    /// them, then one more that must trap if `trapped`.
    fn replay(&mut self, core: &mut Core, count: u64, trapped: bool) -> Result<(), Lost> {
        let end = core.retired.wrapping_add(count);
        loop {
            let left = end.wrapping_sub(core.retired);
            let (trap, interrupt) = core.shadow.as_ref().map(|shadow| shadow.expects()).unwrap_or_default();
            if left == 0 && interrupt && !trap {
                core.recheck = true;
                if !core.take_pending_interrupt() {
                    return Err("took no interrupt at the end");
                }
                continue;
            }
            if left == 0 && !trapped && !trap {
                return Ok(());
            }
            let Ok(id) = self.find(core) else {
                return Err("met an instruction that it cannot fetch");
            };
            match self.run_some(core, id, left.max(1)) {
                Left::Stop(Stop::Outside, _) => return Err("came to a device"),
                Left::Stop(Stop::Trap, _) if trap && !core.traps_to_host() => core.take_trap(core.pc),
                Left::Stop(Stop::Trap, _) if trapped && core.retired == end => return Ok(()),
                Left::Stop(Stop::Trap, _) => return Err("trapped"),
                Left::Stop(Stop::Again, _) => {}
                _ if left == 0 => return Err("did not trap at the end"),
                Left::Sync if core.retired != end => {
                    self.sync(core);
                    core.take_pending_interrupt();
                }
                _ => {}
            }
        }
    }

    /// Executes the first `most` instructions of a block, or fewer: what was done is retired, and pc is
    /// behind it.
    fn run_some(&mut self, core: &mut Core, id: BlockId, most: u64) -> Left {
        let block = self.blocks.get(id);
        let code = self.blocks.code(block);
        let count = usize::try_from(most).map_or(code.len(), |most| most.min(code.len()));
        let bytes = code.get(count).map_or(block.bytes, |next| u32::from(next.at) * 2);
        core.retired += count as u64;
        let left = run_part(core, &code[..count], bytes);
        if let Left::Stop(stop, at) = left {
            let done = code.iter().position(|insn| insn.at == at).unwrap_or(0);
            core.retired -= (count - done) as u64;
            core.pc = core.pc.wrapping_add(u64::from(at) * 2);
            if stop == Stop::Done {
                core.retired += 1;
                core.pc = core.pc.wrapping_add(code[done].len.into());
            }
        }
        left
    }

    /// Executes the instructions of a step one by one and notes them.
    fn trace(&mut self, core: &mut Core, count: u64, watched: Option<u64>) -> Vec<Step> {
        let mut steps = Vec::new();
        let read = |core: &Core| watched.and_then(|gpa| core.memory().read_u64(gpa).ok());
        while (steps.len() as u64) <= count.min(TRACED) {
            let Ok(id) = self.find(core) else { break };
            let Some(&insn) = self.blocks.code(self.blocks.get(id)).first() else { break };
            let (pc, word) = (core.pc, read(core));
            let last = steps.len() as u64 == count;
            let left = if last { Left::Fell } else { self.run_some(core, id, 1) };
            steps.push(Step { pc, insn, stored: word != read(core) });
            match left {
                Left::Stop(Stop::Trap, _) if !core.traps_to_host() => core.take_trap(core.pc),
                Left::Stop(Stop::Trap | Stop::Outside, _) => break,
                Left::Sync => {
                    self.sync(core);
                    core.take_pending_interrupt();
                }
                _ => {}
            }
        }
        steps
    }
}

/// A copy of the interpreter that the hot loop does not share.
#[inline(never)]
fn run_part(core: &mut Core, code: &[Insn], bytes: u32) -> Left {
    run_code(core, code, bytes)
}

impl Core {
    /// Calls `act` with the shadow, which a step has.
    fn with_shadow<R: Default>(&self, act: impl FnOnce(&Shadow, &Core) -> R) -> R {
        self.shadow.as_ref().map(|shadow| act(shadow, self)).unwrap_or_default()
    }

    /// From here on each first access to a page is looked at; but for one page, which is as good as written,
    /// because units need one that they may write to. `again` says that the step has begun: then what it has
    /// translated is translated once more, which may have marked page tables.
    fn forget_data(&mut self, again: bool) {
        if let Some(gpa) = self.tlb.forget_data(self.data.class, again) {
            self.with_shadow(|shadow, core| shadow.save(core.memory(), gpa));
        }
    }
}
