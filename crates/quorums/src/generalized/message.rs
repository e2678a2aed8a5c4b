//! The messages that generalized quorum access floods.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_abstractions::quorum_access::State;
use quorate_core::{
    Observation, Observe,
    wire::{Undecodable, Wire, put_number, take_number},
};

/// The messages of quorum access. Calls are numbered by the process that makes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<S: State> {
    /// Asks to apply an update.
    SetRequest {
        call: u64,
        /// The oldest call of the caller that is in flight.
        oldest: u64,
        update: S::Update,
    },
    /// Says that the update is applied.
    SetResponse {
        call: u64,
        /// The clock of the sender, after the update.
        clock: u64,
    },
    /// Asks for the clock.
    ClockRequest {
        call: u64,
        /// The oldest call of the caller that is in flight.
        oldest: u64,
    },
    /// Answers with the clock.
    ClockResponse {
        call: u64,
        /// The clock of the sender.
        clock: u64,
    },
    /// The sender's state at this clock.
    State { clock: u64, state: S },
    /// The sender's state at this clock is the one that it pushed before.
    Clock {
        clock: u64,
        /// The sender's clock when it pushed the state.
        since: u64,
    },
}

impl<S: State> Wire for Message<S> {
    fn encode(&self, out: &mut BytesMut) {
        let mut put = |kind: u8, first: u64, second: Option<u64>| {
            out.put_u8(kind);
            put_number(first, out);
            if let Some(second) = second {
                put_number(second, out);
            }
        };
        match self {
            Message::SetRequest { call, oldest, .. } => put(0, *call, Some(*oldest)),
            Message::SetResponse { call, clock } => put(1, *call, Some(*clock)),
            Message::ClockRequest { call, oldest } => put(2, *call, Some(*oldest)),
            Message::ClockResponse { call, clock } => put(3, *call, Some(*clock)),
            Message::State { clock, .. } => put(4, *clock, None),
            Message::Clock { clock, since } => put(5, *clock, Some(*since)),
        }
        match self {
            Message::SetRequest { update, .. } => update.encode(out),
            Message::State { state, .. } => state.encode(out),
            Message::SetResponse { .. }
            | Message::ClockRequest { .. }
            | Message::ClockResponse { .. }
            | Message::Clock { .. } => {}
        }
    }

    fn decode(mut bytes: Bytes) -> Result<Self, Undecodable> {
        let kind = bytes.try_get_u8().map_err(|_| Undecodable)?;
        let first = take_number(&mut bytes)?;
        if kind == 4 {
            let (clock, state) = (first, S::decode(bytes)?);
            return Ok(Message::State { clock, state });
        }
        let (call, second) = (first, take_number(&mut bytes)?);
        let (oldest, clock) = (second, second);
        match kind {
            0 => {
                let update = S::Update::decode(bytes)?;
                Ok(Message::SetRequest {
                    call,
                    oldest,
                    update,
                })
            }
            1 if bytes.is_empty() => Ok(Message::SetResponse { call, clock }),
            2 if bytes.is_empty() => Ok(Message::ClockRequest { call, oldest }),
            3 if bytes.is_empty() => Ok(Message::ClockResponse { call, clock }),
            5 if bytes.is_empty() => Ok(Message::Clock {
                clock: first,
                since: second,
            }),
            _ => Err(Undecodable),
        }
    }
}

impl<S: State> Observe for Message<S> {
    fn observe(&self) -> Observation {
        match self {
            Message::SetRequest { call, update, .. } => Observation::internal("SetRequest")
                .instance(*call)
                .digest(S::digest_of(update)),
            Message::SetResponse { call, .. } => {
                Observation::internal("SetResponse").instance(*call)
            }
            Message::ClockRequest { call, .. } => {
                Observation::internal("ClockRequest").instance(*call)
            }
            Message::ClockResponse { call, .. } => {
                Observation::internal("ClockResponse").instance(*call)
            }
            Message::State { state, .. } => Observation::internal("State").digest(state.digest()),
            Message::Clock { clock, .. } => Observation::internal("Clock").digest(*clock),
        }
    }
}
