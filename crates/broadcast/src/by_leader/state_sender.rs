//! How this process gives its state to a process that needs it: to one at a time, chunk by chunk, as fast as
//! the receiver takes them.
use super::{
    ByLeader, Effect, Event,
    message::Start,
    transfer::{StateMessage, Transfer, digest_on},
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    link::{self, To},
    reconfigurable::{Indication, LONGEST_CHUNK, View},
};
use quorate_consensus::ballots::KEPT;
use quorate_core::{Ctx, Incarnation, ProcessId, ProcessSet, message::Origin, wire};
use std::{collections::VecDeque, time::Duration};

/// When this many bytes of chunks are in flight, no further chunk leaves.
const WINDOW: usize = 1 << 20;
/// A receiver that has taken nothing for this time is given nothing more.
const TIMEOUT: Duration = Duration::from_secs(5);
/// At most this many decisions are kept during a state transfer.
const KEPT_MEANWHILE: usize = 1 << 16;

/// A chunk of the user's is longer than allowed: without it, the state would be incomplete.
struct TooLong;

/// A state that is being transferred.
#[derive(Debug)]
struct OutgoingTransfer {
    to: ProcessId,
    transfer: Transfer,
    start: Start,
    /// The user's view: `None` before the user has given it, and once it has been read.
    view: Option<View>,
    /// The place of the next chunk.
    next: u64,
    digest: u64,
    /// The lengths of the chunks in flight.
    in_flight: VecDeque<usize>,
    /// Whether the receiver has taken something since the timeout began anew.
    moves: bool,
}

impl OutgoingTransfer {
    /// The next chunk, if another one may be in flight.
    fn next_chunk(&mut self) -> Result<Option<StateMessage>, TooLong> {
        if self.in_flight.iter().sum::<usize>() >= WINDOW {
            return Ok(None);
        }
        let Some(view) = self.view.as_mut() else {
            return Ok(None);
        };
        let (bytes, last) = if self.next == 0 {
            let mut head = BytesMut::new();
            wire::put_head(&self.start, &mut head);
            (head.freeze(), false)
        } else {
            match view.next_chunk() {
                Some(chunk) if chunk.len() > LONGEST_CHUNK => return Err(TooLong),
                Some(chunk) => (chunk, false),
                None => (Bytes::new(), true),
            }
        };
        if last {
            self.view = None;
        }
        self.digest = digest_on(self.digest, &bytes);
        self.in_flight.push_back(bytes.len());
        let number = self.next;
        self.next += 1;
        Ok(Some(StateMessage::Chunk {
            transfer: self.transfer,
            number,
            last,
            digest: self.digest,
            bytes,
        }))
    }

    /// The receiver has taken the chunks up to this one.
    fn upon_taken(&mut self, up_to: u64) {
        let oldest = self.next - self.in_flight.len() as u64;
        if up_to >= self.next || up_to < oldest {
            return;
        }
        self.in_flight.drain(..=(up_to - oldest) as usize);
        self.moves = true;
    }

    fn is_taken(&self) -> bool {
        self.next > 0 && self.view.is_none() && self.in_flight.is_empty()
    }
}

/// The state that this process gives.
#[derive(Debug, Default)]
pub(super) struct StateSender {
    outgoing: Option<OutgoingTransfer>,
    /// The process that has got a state and may lack what comes after it, and whether it has asked since the
    /// timeout began anew. What comes after is kept as long as the process goes on asking.
    follows: Option<(ProcessId, bool)>,
    issued: u64,
    /// Whether the timeout runs.
    waits: bool,
}

impl StateSender {
    /// Whether a state is being transferred.
    pub(super) fn is_busy(&self) -> bool {
        self.outgoing.is_some()
    }

    /// These processes no longer want a state from this process, nor what comes after it.
    fn stop(&mut self, gone: ProcessSet) {
        self.outgoing.take_if(|outgoing| gone.contains(outgoing.to));
        self.follows.take_if(|(p, _)| gone.contains(*p));
    }

    /// A process has asked for what it lacks.
    pub(super) fn upon_asked(&mut self, p: ProcessId) {
        if let Some((follower, asked)) = &mut self.follows {
            *asked |= *follower == p;
        }
    }
}

impl ByLeader {
    /// A newcomer that the links have adopted, or a process that is too far behind, wants the state. It gets
    /// none before this process has applied the cut that put it in its seat, nor while another process is
    /// given the state.
    pub(super) fn upon_join(
        &mut self,
        from: ProcessId,
        incarnation: Incarnation,
        is_newcomer: bool,
        ctx: &mut Ctx<Self>,
    ) {
        let origin = Origin {
            process: from,
            incarnation,
        };
        let was_put_there = self.epoch.is_replaced(from);
        let has_place = self.epoch.may_hold_seat(origin) && (was_put_there || !is_newcomer);
        if !self.joining.takes_part() || !has_place || from == self.me.process {
            return ctx.count("no state for it");
        }
        // A process that asks again has given up its earlier request.
        self.stop_sending_state([from].into_iter().collect());
        if self.state_sender.is_busy() {
            return ctx.count("a state for one at a time");
        }
        self.state_sender.issued += 1;
        let (number, start) = (self.state_sender.issued, self.start());
        let transfer = Transfer {
            epoch: start.epoch,
            applied: start.applied,
            number,
        };
        self.state_sender.outgoing = Some(OutgoingTransfer {
            to: from,
            transfer,
            start,
            view: None,
            next: 0,
            digest: 0,
            in_flight: VecDeque::new(),
            moves: true,
        });
        self.keep_more(true);
        if !self.state_sender.waits {
            self.state_sender.waits = true;
            ctx.after(TIMEOUT, Event::TransferTimeout);
        }
        if self.user.keeps_state() {
            ctx.trigger(Effect::Indicate(Indication::StateWanted {
                transfer: number,
            }));
        } else {
            self.upon_state(number, View::of_bytes(Bytes::new()), ctx);
        }
    }

    /// Where a process begins that gets the present state of this one.
    fn start(&self) -> Start {
        Start {
            epoch: self.epoch.number(),
            leader: self.epoch.leader(&self.processes),
            applied: self.sequence.applied(),
            newcomers: self.epoch.newcomers(),
            streams: self.batches.ordered(),
        }
    }

    /// The user's state has come: its chunks leave as far as they may.
    pub(super) fn upon_state(&mut self, number: u64, view: View, ctx: &mut Ctx<Self>) {
        match &mut self.state_sender.outgoing {
            Some(outgoing) if outgoing.transfer.number == number && outgoing.next == 0 => {
                outgoing.view = Some(view);
                self.give(ctx);
            }
            Some(_) | None => ctx.count("nobody waits for this state"),
        }
    }

    /// Sends chunks while more may be in flight. Once all are taken, sends the decisions since then, unless
    /// they are already in flight.
    fn give(&mut self, ctx: &mut Ctx<Self>) {
        let Some(outgoing) = &mut self.state_sender.outgoing else {
            return;
        };
        let to = To::One(outgoing.to);
        loop {
            match outgoing.next_chunk() {
                Ok(Some(message)) => ctx.trigger(Effect::State(link::SendRequest { to, message })),
                Ok(None) => break,
                Err(TooLong) => {
                    let gone = ProcessSet::from_iter([outgoing.to]);
                    ctx.count("chunk of a state too long");
                    return self.stop_sending_state(gone);
                }
            }
        }
        if outgoing.is_taken() {
            let (to, transfer) = (outgoing.to, outgoing.transfer);
            if transfer.epoch == self.epoch.number() {
                self.ballots.inform(to, transfer.applied.saturating_add(1));
                self.upon_ballots_said(ctx);
            }
            self.state_sender.outgoing = None;
            self.state_sender.follows = Some((to, true));
        }
    }

    /// The receiver has taken chunks, or wants no more.
    pub(super) fn upon_taken(
        &mut self,
        from: ProcessId,
        transfer: Transfer,
        up_to: Option<u64>,
        ctx: &mut Ctx<Self>,
    ) {
        let outgoing = self.state_sender.outgoing.as_mut();
        let Some(outgoing) =
            outgoing.filter(|outgoing| (outgoing.to, outgoing.transfer) == (from, transfer))
        else {
            return;
        };
        match up_to {
            Some(up_to) => {
                outgoing.upon_taken(up_to);
                self.give(ctx);
            }
            None => self.stop_sending_state([from].into_iter().collect()),
        }
    }

    /// The timeout is over: a receiver that has taken nothing is given nothing more, and a process that has
    /// asked for nothing no longer has what comes after the state kept for it.
    pub(super) fn upon_transfer_timeout(&mut self, ctx: &mut Ctx<Self>) {
        self.state_sender.waits = false;
        let (to, moves) = match (
            &mut self.state_sender.outgoing,
            &mut self.state_sender.follows,
        ) {
            (Some(outgoing), _) => (outgoing.to, std::mem::take(&mut outgoing.moves)),
            (None, Some((follower, asked))) => (*follower, std::mem::take(asked)),
            (None, None) => return,
        };
        if moves {
            self.state_sender.waits = true;
            ctx.after(TIMEOUT, Event::TransferTimeout);
        } else {
            self.stop_sending_state([to].into_iter().collect());
        }
    }

    /// These processes no longer want a state from this process.
    pub(super) fn stop_sending_state(&mut self, gone: ProcessSet) {
        self.state_sender.stop(gone);
        if !self.state_sender.is_busy() && self.state_sender.follows.is_none() {
            self.keep_more(false);
        }
    }

    /// Whether to keep what comes after a state for its receiver, while the state is being transferred or has
    /// just come.
    fn keep_more(&mut self, more: bool) {
        self.batches.keep_more(more);
        self.ballots.keep(if more { KEPT_MEANWHILE } else { KEPT });
    }
}
