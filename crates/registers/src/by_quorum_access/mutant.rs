//! Registers by quorum access with one wrong rule.
use super::{ByQuorumAccess, Effect, Event, Phase, Registers, Update};
use bytes::Bytes;
use quorate_abstractions::{
    quorum_access::{self, Answer, State},
    register::{RegisterResponse, Tag},
};
use quorate_core::{
    Algorithm, Ctx,
    wire::{Undecodable, Wire},
};

/// Which rule is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// That of the algorithm.
    Corrected,
    /// A read does not write back what it returns (G3-E1).
    NoWriteBack,
    /// An update overwrites the present value, whatever its tag (G3-E2).
    Overwrites,
    /// A process has several operations on a register at a time (G3-E3).
    NoBusy,
}

/// The algorithm with one wrong rule.
pub struct Ruled(Rule, ByQuorumAccess);

impl Ruled {
    /// The algorithm under this rule.
    pub fn by(rule: Rule, registers: ByQuorumAccess) -> Self {
        Ruled(rule, registers)
    }

    /// Returns what the get of a read has got, and writes nothing back. Returns whether it is one of a read.
    fn upon_got(&mut self, call: u64, states: &[Registers], ctx: &mut Ctx<Self>) -> bool {
        let pending = self.1.pending.get(&call);
        if !pending.is_some_and(|pending| matches!(pending.phase, Phase::Reads)) {
            return false;
        }
        if let Some(mut pending) = self.1.pending.remove(&call) {
            let values = states.iter().map(|state| state.get(&pending.register));
            let newest = values.max_by_key(|(tag, _)| *tag);
            let (tag, value) = newest.unwrap_or((Tag::INITIAL, None));
            pending.phase = Phase::Sets(RegisterResponse::Read { tag, value });
            self.1.end(pending, ctx);
        }
        true
    }
}

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match (self.0, &event) {
            (Rule::NoBusy, Event::Request(request)) => {
                self.1.busy.remove(&request.register);
            }
            (Rule::NoWriteBack, Event::Access(returned)) => {
                if let Answer::Got(states) = &returned.answer
                    && self.upon_got(returned.operation, states, ctx)
                {
                    return;
                }
            }
            _ => {}
        }
        self.1.upon(event, ctx);
    }
}

/// Registers whose value is the last update that arrived.
#[derive(Clone, Default)]
pub struct Overwritten(Registers);

impl Overwritten {
    /// The indication, of the registers.
    pub fn as_registers(
        returned: quorum_access::Indication<Overwritten>,
    ) -> quorum_access::Indication<Registers> {
        let answer = match returned.answer {
            Answer::Got(states) => Answer::Got(states.into_iter().map(|state| state.0).collect()),
            Answer::Set => Answer::Set,
        };
        let operation = returned.operation;
        quorum_access::Indication { operation, answer }
    }
}

impl Wire for Overwritten {
    fn encode(&self, out: &mut bytes::BytesMut) {
        self.0.encode(out);
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        Registers::decode(bytes).map(Overwritten)
    }
}

impl State for Overwritten {
    type Update = Update;

    fn apply(&mut self, update: &Update) -> bool {
        if let Some(value) = &update.value {
            self.0.put(&update.register, update.tag, value);
        }
        true
    }

    fn digest(&self) -> u64 {
        State::digest(&self.0)
    }

    fn digest_of(update: &Update) -> u64 {
        Registers::digest_of(update)
    }
}
