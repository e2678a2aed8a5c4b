//! Classical quorum access: a get asks everybody for the state, a set makes everybody apply the update, and a
//! quorum of answers suffices.
//!
//! # Promises
//! - QAF1 validity, QAF2 real-time ordering (safety).
//! - QAF3 termination (liveness): a call of a correct process returns, if some read and some write quorum
//!   consist of correct processes to which and from which its channels are correct.
//!
//! # Assumes
//! Perfect links; quorums of which every read quorum meets every write quorum. If channels fail in one
//! direction, a call may block although a generalized quorum system exists: see
//! [`generalized`](crate::generalized). A gap does not stop a call: a process asks again what the peer has
//! not answered.
//!
//! # Messages
//! - `GetRequest(call)`, to all: send your state. `GetResponse(call, state)`, back.
//! - `SetRequest(call, update)`, to all: apply this. `SetResponse(call)`, back.
//! - `Resumed(made, open)`, to one, after a gap: ask again; of the calls that I have made, these are open.
//!
//! # Cost
//! A call takes 2(n−1) messages and 2 steps (n = 1: none); with another process dead, 2n−3 messages. Memory:
//! the state; of each call in flight its update, and the states that came for it; a watermark of the calls of
//! each process.
//!
//! # Why it holds
//! A process applies a set's update once, since calls are numbered (QAF1). When a set has returned, a whole
//! write quorum has its update. A get that begins later has the states of a read quorum, which has a member
//! in common with that write quorum, and these states are from a still later time (QAF2). Responses carry the
//! number of the call: a response to an earlier get says nothing about what happened since. In a gap, a
//! question or its answer may be lost, and the question is asked again under its number: an update is not
//! applied twice (QAF1), and a get finds a still later state (QAF2).
//!
//! # Source
//! “Tight Bounds on Channel Reliability via Generalized Quorum Systems”, arXiv 2505.02646, figure 2, after
//! Attiya, Bar-Noy, Dolev. Deviations: calls of one process may overlap; updates are applied
//! once per call.
use crate::Quorums;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::{
    link::{self, Deliver, To},
    quorum_access::{self, Answer, Call, Indication, Request, State, observe_request},
};
use quorate_core::{
    Algorithm, Ctx, Observation, Observe, ProcessId, ProcessSet, ports,
    watermark::Watermark,
    wire::{Undecodable, Wire, put_number, take_number},
};
use std::collections::BTreeMap;

/// The messages of quorum access. Calls are numbered by the process that makes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<S: State> {
    /// Asks for the state.
    GetRequest { call: u64 },
    /// Answers with the state.
    GetResponse {
        call: u64,
        /// The state of the answerer.
        state: S,
    },
    /// Asks to apply an update.
    SetRequest { call: u64, update: S::Update },
    /// Says that the update is applied.
    SetResponse { call: u64 },
    /// Says that a stream to the receiver has begun anew: answers to the receiver may be lost, so that it has
    /// to ask again. Also says which of the sender's own calls are open: no other will be asked for again.
    Resumed {
        /// How many calls the sender has made.
        made: u64,
        /// The calls that are open, ascending.
        open: Vec<u64>,
    },
}

impl<S: State> Message<S> {
    fn call(&self) -> u64 {
        match self {
            Message::GetRequest { call }
            | Message::GetResponse { call, .. }
            | Message::SetRequest { call, .. }
            | Message::SetResponse { call }
            | Message::Resumed { made: call, .. } => *call,
        }
    }
}

impl<S: State> Wire for Message<S> {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(match self {
            Message::GetRequest { .. } => 0,
            Message::GetResponse { .. } => 1,
            Message::SetRequest { .. } => 2,
            Message::SetResponse { .. } => 3,
            Message::Resumed { .. } => 4,
        });
        put_number(self.call(), out);
        match self {
            Message::GetRequest { .. } | Message::SetResponse { .. } => {}
            Message::Resumed { open, .. } => {
                for call in open {
                    put_number(*call, out);
                }
            }
            Message::GetResponse { state, .. } => state.encode(out),
            Message::SetRequest { update, .. } => update.encode(out),
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let kind = bytes.try_get_u8().map_err(|_| Undecodable)?;
        let call = take_number(&mut bytes)?;
        match kind {
            0 if bytes.is_empty() => Ok(Message::GetRequest { call }),
            1 => {
                let state = S::decode(bytes)?;
                Ok(Message::GetResponse { call, state })
            }
            2 => {
                let update = S::Update::decode(bytes)?;
                Ok(Message::SetRequest { call, update })
            }
            3 if bytes.is_empty() => Ok(Message::SetResponse { call }),
            4 => {
                let mut open = Vec::new();
                while !bytes.is_empty() {
                    let next = take_number(&mut bytes)?;
                    if next > call || open.last().is_some_and(|last| *last >= next) {
                        return Err(Undecodable);
                    }
                    open.push(next);
                }
                Ok(Message::Resumed { made: call, open })
            }
            _ => Err(Undecodable),
        }
    }
}

impl<S: State> Observe for Message<S> {
    fn observe(&self) -> Observation {
        let observation = match self {
            Message::GetRequest { .. } => Observation::internal("GetRequest"),
            Message::GetResponse { state, .. } => {
                Observation::internal("GetResponse").digest(state.digest())
            }
            Message::SetRequest { update, .. } => {
                Observation::internal("SetRequest").digest(S::digest_of(update))
            }
            Message::SetResponse { .. } => Observation::internal("SetResponse"),
            Message::Resumed { .. } => Observation::internal("Resumed"),
        };
        observation.instance(self.call())
    }
}

/// Calls this far above the oldest unanswered one of a process are refused.
const AHEAD: u64 = 1 << 16;
/// No process makes this many calls.
const LAST: u64 = 1 << 62;

/// A call in flight.
enum Pending<S: State> {
    /// A get, with the states that have come.
    Get(BTreeMap<ProcessId, S>),
    /// A set of this update, with the processes that have applied it.
    Set(S::Update, ProcessSet),
}

impl<S: State> Pending<S> {
    /// The question of this call to `q`, if `q` has not answered it.
    fn asks(&self, call: u64, q: ProcessId) -> Option<Message<S>> {
        match self {
            Pending::Get(states) => {
                (!states.contains_key(&q)).then_some(Message::GetRequest { call })
            }
            Pending::Set(update, applied) => {
                let update = update.clone();
                (!applied.contains(q)).then_some(Message::SetRequest { call, update })
            }
        }
    }
}

/// Classical quorum access.
pub struct Classical<S: State> {
    quorums: Quorums,
    state: S,
    /// How many calls this process has made.
    made: u64,
    /// The calls in flight, each with the user's number for it.
    pending: BTreeMap<u64, (u64, Pending<S>)>,
    /// By process: its calls that were answered, or have ended.
    answered: BTreeMap<ProcessId, Watermark>,
}

ports! {
    for<S: State>;
    offers quorum_access::Port<S> => Request -> Return, observed observe_request::<S>;
    uses links: link::Port<Message<S>> => Link;
    watches status: link::Status => Status, by link::watch_streams;

    /// Starts classical quorum access over links.
    pub fn spawn(host, quorums: Quorums, initial: S) = Classical::new(quorums, initial);
}

impl<S: State> Algorithm for Classical<S> {
    type Event = Event<S>;
    type Effect = Effect<S>;

    fn upon(&mut self, event: Event<S>, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(request) => self.upon_request(request, ctx),
            Event::Link(Deliver { from, message }) => match message {
                Message::GetRequest { call } => self.upon_get_request(from, call, ctx),
                Message::SetRequest { call, update } => {
                    self.upon_set_request(from, call, &update, ctx);
                }
                Message::GetResponse { call, state } => {
                    self.upon_get_response(from, call, state, ctx);
                }
                Message::SetResponse { call } => self.upon_set_response(from, call, ctx),
                Message::Resumed { made, open } => self.upon_resumed(from, made, open, ctx),
            },
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl<S: State> Classical<S> {
    /// The algorithm with this initial state.
    pub fn new(quorums: Quorums, initial: S) -> Self {
        Classical {
            quorums,
            state: initial,
            made: 0,
            pending: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }

    /// A call is a question to everybody, this process included.
    fn upon_request(&mut self, request: Request<S::Update>, ctx: &mut Ctx<Self>) {
        self.made += 1;
        let call = self.made;
        let (pending, message) = match request.call {
            Call::Get => {
                let pending = Pending::Get(BTreeMap::new());
                (pending, Message::GetRequest { call })
            }
            Call::Set(update) => {
                let pending = Pending::Set(update.clone(), ProcessSet::EMPTY);
                (pending, Message::SetRequest { call, update })
            }
        };
        self.pending.insert(call, (request.operation, pending));
        ctx.count("calls");
        let to = To::All;
        ctx.trigger(Effect::Link(link::SendRequest { to, message }));
    }

    /// When a stream begins anew, tells its receiver which calls are over, as it may not have heard of them,
    /// and asks it again what it has not answered.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        let link::Status::Begun { peer } = *status else {
            return;
        };
        let (made, open) = (self.made, self.pending.keys().copied().collect());
        let (to, message) = (To::One(peer), Message::Resumed { made, open });
        ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        self.ask_again(peer, ctx);
    }

    /// The peer's answers may be lost: asks again. Of the peer's calls, only the open ones will be asked for
    /// again; a number that the peer cannot have reached is ignored.
    fn upon_resumed(&mut self, from: ProcessId, made: u64, open: Vec<u64>, ctx: &mut Ctx<Self>) {
        let answered = self.answered.entry(from).or_default();
        answered.fill(made.min(LAST), open);
        self.ask_again(from, ctx);
    }

    /// Asks a process again what it has not answered, under the same numbers.
    fn ask_again(&self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        let open = self.pending.iter();
        for message in open.filter_map(|(call, (_, pending))| pending.asks(*call, peer)) {
            let to = To::One(peer);
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
    }

    /// Whether the question is asked for the first time; `None` if it is refused. No correct process asks a
    /// question that is far ahead: links lose nothing except in a gap, after which the sender says which
    /// calls are over.
    fn is_first(&mut self, from: ProcessId, call: u64, ctx: &mut Ctx<Self>) -> Option<bool> {
        let answered = self.answered.entry(from).or_default();
        if call.saturating_sub(answered.low()) > AHEAD {
            ctx.count("call too far ahead");
            return None;
        }
        Some(answered.insert(call))
    }

    /// A get that is asked for again is answered again, with the present state.
    fn upon_get_request(&mut self, from: ProcessId, call: u64, ctx: &mut Ctx<Self>) {
        if self.is_first(from, call, ctx).is_some() {
            let state = self.state.clone();
            let (to, message) = (To::One(from), Message::GetResponse { call, state });
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
    }

    /// The update is applied before the answer, and only once, however often it is asked for.
    fn upon_set_request(
        &mut self,
        from: ProcessId,
        call: u64,
        update: &S::Update,
        ctx: &mut Ctx<Self>,
    ) {
        if let Some(is_first) = self.is_first(from, call, ctx) {
            if is_first {
                self.state.apply(update);
            }
            let (to, message) = (To::One(from), Message::SetResponse { call });
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
    }

    /// A get returns the states of a read quorum.
    fn upon_get_response(&mut self, from: ProcessId, call: u64, state: S, ctx: &mut Ctx<Self>) {
        let Some((operation, Pending::Get(states))) = self.pending.get_mut(&call) else {
            return;
        };
        states.insert(from, state);
        let Some(quorum) = self.quorums.reads.within(states.keys().copied().collect()) else {
            return;
        };
        states.retain(|p, _| quorum.contains(*p));
        let states = std::mem::take(states).into_values().collect();
        let operation = *operation;
        self.upon_end(call, operation, Answer::Got(states), ctx);
    }

    /// A set returns when a write quorum has applied it.
    fn upon_set_response(&mut self, from: ProcessId, call: u64, ctx: &mut Ctx<Self>) {
        let Some((operation, Pending::Set(_, applied))) = self.pending.get_mut(&call) else {
            return;
        };
        applied.insert(from);
        if self.quorums.writes.within(*applied).is_some() {
            let operation = *operation;
            self.upon_end(call, operation, Answer::Set, ctx);
        }
    }

    fn upon_end(&mut self, call: u64, operation: u64, answer: Answer<S>, ctx: &mut Ctx<Self>) {
        self.pending.remove(&call);
        ctx.count("calls that returned");
        ctx.trigger(Effect::Return(Indication { operation, answer }));
    }
}

#[cfg(test)]
mod tests;
