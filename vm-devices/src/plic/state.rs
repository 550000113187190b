//! The PLIC's registers and gateways.
//!
//! A gateway turns a level into requests, one at a time: while a source is in
//! service (claimed, not completed) its level is only watched; at completion a
//! wire that is still high becomes pending again. A request that has become
//! pending is not taken back when the wire falls, as the specification says.
//!
//! A latching wire is one whose device may hold it high for a cause that a guest never
//! looks at (see [`super::Plic::latching_line`]).

use crate::map::PLIC_SOURCES;
use crate::snapshot::RestoreError;
use serde::{Deserialize, Serialize};

/// Priorities and thresholds have three bits.
const PRIORITY_MASK: u32 = 7;

/// A set of sources, one bit each.
type Sources = [u32; PlicState::WORDS];

/// Everything the PLIC remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlicState {
    /// By source.
    pub priority: Vec<u8>,
    /// Requests no context has claimed.
    pub pending: Sources,
    /// The sources' wires.
    pub level: Sources,
    /// Claimed, not completed.
    pub in_service: Sources,
    /// Two per hart: M, then S.
    pub contexts: Vec<Context>,
}

/// The registers of one context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The sources that interrupt this context.
    pub enable: Sources,
    /// Priorities up to this do not interrupt.
    pub threshold: u8,
}

fn bit(source: usize) -> (usize, u32) {
    (source / 32, 1 << (source % 32))
}

impl PlicState {
    /// Words of a set of sources.
    pub const WORDS: usize = PLIC_SOURCES as usize / 32;

    pub(super) fn new(contexts: usize) -> PlicState {
        PlicState {
            priority: vec![0; PLIC_SOURCES as usize],
            pending: [0; Self::WORDS],
            level: [0; Self::WORDS],
            in_service: [0; Self::WORDS],
            contexts: vec![Context::default(); contexts],
        }
    }

    /// The reset state, with the wires as they are.
    pub(super) fn reset(&mut self) {
        let level = self.level;
        *self = PlicState { level, pending: level, ..PlicState::new(self.contexts.len()) };
    }

    /// A wire of which only the events count: a rise, also while it is high, becomes pending even in
    /// service, a fall takes the request back. Says whether pending changed.
    pub(super) fn latch(&mut self, source: usize, level: bool) -> bool {
        let (word, bit) = bit(source);
        let before = self.pending[word];
        if level {
            self.pending[word] |= bit;
        } else {
            self.pending[word] &= !bit;
        }
        self.pending[word] != before
    }

    /// Drives the wire of `source`; says whether a request became pending.
    pub(super) fn set_level(&mut self, source: usize, level: bool) -> bool {
        let (word, bit) = bit(source);
        if !level {
            self.level[word] &= !bit;
            return false;
        }
        self.level[word] |= bit;
        let new = bit & !self.in_service[word] & !self.pending[word];
        self.pending[word] |= new;
        new != 0
    }

    pub(super) fn set_priority(&mut self, source: usize, priority: u32) {
        if source != 0 {
            self.priority[source] = (priority & PRIORITY_MASK) as u8;
        }
    }

    pub(super) fn set_enable(&mut self, context: usize, word: usize, value: u32) {
        let exists = if word == 0 { !1 } else { !0 };
        self.contexts[context].enable[word] = value & exists;
    }

    pub(super) fn set_threshold(&mut self, context: usize, threshold: u32) {
        self.contexts[context].threshold = (threshold & PRIORITY_MASK) as u8;
    }

    /// The pending source that `context` would claim: the highest priority, then
    /// the lowest number. The threshold does not matter for a claim.
    fn best(&self, context: usize) -> Option<(usize, u8)> {
        let mut best: Option<(usize, u8)> = None;
        for (word, &enable) in self.contexts[context].enable.iter().enumerate() {
            let mut candidates = self.pending[word] & enable & !self.in_service[word];
            while candidates != 0 {
                let source = word * 32 + candidates.trailing_zeros() as usize;
                candidates &= candidates - 1;
                let priority = self.priority[source];
                if priority > best.map_or(0, |(_, priority)| priority) {
                    best = Some((source, priority));
                }
            }
        }
        best
    }

    /// Whether the wire of `context` is high.
    pub(super) fn interrupts(&self, context: usize) -> bool {
        self.best(context).is_some_and(|(_, priority)| priority > self.contexts[context].threshold)
    }

    pub(super) fn enables(&self, context: usize, source: usize) -> bool {
        let (word, bit) = bit(source);
        self.contexts[context].enable[word] & bit != 0
    }

    /// Takes the best source of `context` into service.
    pub(super) fn claim(&mut self, context: usize) -> Option<usize> {
        let (source, _) = self.best(context)?;
        let (word, bit) = bit(source);
        self.pending[word] &= !bit;
        self.in_service[word] |= bit;
        Some(source)
    }

    /// Ends the service of `source` and opens its gateway. Like QEMU's, any
    /// context may complete, enabled or not: kernels that mask a source in its
    /// own handler depend on it. Says whether it became pending again.
    pub(super) fn complete(&mut self, source: u32) -> bool {
        if source >= PLIC_SOURCES {
            return false;
        }
        let (word, bit) = bit(source as usize);
        let completed = self.in_service[word] & bit;
        self.in_service[word] &= !completed;
        self.pending[word] |= completed & self.level[word];
        completed & self.pending[word] != 0
    }

    /// Whether the state fits a PLIC of `contexts` contexts.
    pub(super) fn check(&self, contexts: usize) -> Result<(), RestoreError> {
        RestoreError::check_count("contexts of the plic", contexts, self.contexts.len())?;
        RestoreError::check_count("sources of the plic", PLIC_SOURCES as usize, self.priority.len())?;
        for (what, sources) in
            [("pending set", &self.pending), ("level set", &self.level), ("service set", &self.in_service)]
                .into_iter()
                .chain(self.contexts.iter().map(|context| ("enable set", &context.enable)))
        {
            if sources[0] & 1 != 0 {
                return Err(RestoreError::Value { what, found: sources[0].into() });
            }
        }
        let priorities = self.priority.iter().chain(self.contexts.iter().map(|context| &context.threshold));
        match priorities.copied().find(|&priority| u32::from(priority) > PRIORITY_MASK) {
            Some(priority) => Err(RestoreError::Value { what: "priority", found: priority.into() }),
            None => Ok(()),
        }
    }
}
