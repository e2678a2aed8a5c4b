//! How a process gets a state: a newcomer, or a member that lacks what nobody keeps any more.
use super::{
    ByLeader, Effect, Event, Message,
    message::Start,
    send,
    transfer::{StateMessage, Transfer, digest_on},
};
use bytes::Bytes;
use quorate_abstractions::{
    link::{self, Adopt, Status, To},
    reconfigurable::{Indication, Restore},
    total_order::Deliver,
};
use quorate_consensus::ballots::Ballots;
use quorate_core::{Ctx, MessageId, ProcessId, message::Origin, wire};
use std::{collections::BTreeMap, time::Duration};

/// The highest number that a state may mention.
const MOST: u64 = 1 << 48;
/// After this time, another process is asked for the state.
const JOINING: Duration = Duration::from_millis(200);
/// The wait before asking another process grows up to this.
const MOST_JOINING: Duration = Duration::from_secs(5);
/// Chunks that have overtaken this many others are dropped: there are never more in flight.
const CHUNKS_AHEAD: u64 = 1 << 12;

/// The role of this process in the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// It does not know yet whether another incarnation held its seat.
    Waits,
    /// It takes part.
    Member,
    /// It lacks the state, and asks for it once the links have admitted it.
    Newcomer {
        /// Whether the links have admitted it.
        admitted: bool,
    },
    /// Another incarnation holds its seat.
    Gone,
}

/// A state that is being received.
#[derive(Debug)]
struct Receiving {
    from: ProcessId,
    transfer: Transfer,
    /// Where the state begins, once its first chunk is here.
    start: Option<Start>,
    /// The place of the next chunk.
    next: u64,
    /// The digest of the chunks before the next one.
    digest: u64,
    /// Chunks that came too early, each with its expected digest, and whether it is the last.
    ahead: BTreeMap<u64, (Bytes, u64, bool)>,
}

/// The progress of this process on its way into the group, or in catching up with the others.
#[derive(Debug)]
pub(super) struct Joining {
    role: Role,
    /// Whether this process came after another in its seat.
    came_later: bool,
    /// The process that was last asked for the state, if an answer is wanted.
    asks: Option<ProcessId>,
    receiving: Option<Receiving>,
    /// The number of processes asked so far.
    asked: usize,
    backoff: Duration,
    /// Whether the timer before asking again runs.
    waits: bool,
    /// Whether a part of an answer has come since the request, or since this was last checked.
    moves: bool,
}

impl Joining {
    /// A process that takes part.
    pub(super) fn member() -> Self {
        Joining {
            role: Role::Member,
            came_later: false,
            asks: None,
            receiving: None,
            asked: 0,
            backoff: JOINING,
            waits: false,
            moves: false,
        }
    }

    /// A process that does not know yet whether another incarnation held its seat before.
    pub(super) fn unknown() -> Self {
        Joining {
            role: Role::Waits,
            ..Joining::member()
        }
    }

    /// Whether this process has its state and holds its seat.
    pub(super) fn takes_part(&self) -> bool {
        self.role == Role::Member
    }

    /// Whether another incarnation holds the seat of this process.
    pub(super) fn is_gone(&self) -> bool {
        self.role == Role::Gone
    }

    /// Another incarnation holds the seat of this process.
    pub(super) fn leave(&mut self) {
        self.role = Role::Gone;
    }

    /// Makes this a newcomer that has asked `p` for its state.
    #[cfg(test)]
    pub(super) fn note_newcomer_asking(&mut self, p: ProcessId) {
        self.role = Role::Newcomer { admitted: true };
        self.asks = Some(p);
    }

    /// Part of an answer has come.
    #[cfg(test)]
    pub(super) fn note_move(&mut self) {
        self.moves = true;
    }

    fn wants_state(&self) -> bool {
        self.role == Role::Newcomer { admitted: true }
    }

    /// Whether a part of an answer has come since this was last called.
    pub(super) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moves)
    }
}

impl ByLeader {
    /// Asks the next process for the state, and another one after a timeout.
    pub(super) fn upon_ask_to_join(&mut self, ctx: &mut Ctx<Self>) {
        self.joining.waits = false;
        self.ask_to_join(ctx);
    }

    pub(super) fn ask_to_join(&mut self, ctx: &mut Ctx<Self>) {
        let joining = &mut self.joining;
        if !joining.wants_state() || joining.waits || self.processes.n() == 1 {
            return;
        }
        joining.waits = true;
        ctx.after(joining.backoff, Event::AskToJoin);
        joining.backoff = joining.backoff.saturating_mul(2).min(MOST_JOINING);
        // If an answer is coming, asking again would only start it over.
        if !joining.has_moved() {
            self.ask_for_state(ctx);
        }
    }

    /// Asks the next process for the state. What has come from another process is void.
    pub(super) fn ask_for_state(&mut self, ctx: &mut Ctx<Self>) {
        self.abandon(ctx);
        let others: Vec<_> = self.processes.others(self.me.process).iter().collect();
        let Some(p) = others.get(self.joining.asked % others.len().max(1)) else {
            return;
        };
        self.joining.asked += 1;
        self.joining.asks = Some(*p);
        let message = Message::Join {
            incarnation: self.me.incarnation,
            is_newcomer: self.joining.came_later,
        };
        send(ctx, To::One(*p), message);
    }

    /// No state is wanted, or not the one that is coming.
    pub(super) fn abandon(&mut self, ctx: &mut Ctx<Self>) {
        self.joining.asks = None;
        self.joining.moves = false;
        let Some(receiving) = self.joining.receiving.take() else {
            return;
        };
        let (to, transfer) = (To::One(receiving.from), receiving.transfer);
        let message = StateMessage::Enough { transfer };
        ctx.trigger(Effect::State(link::SendRequest { to, message }));
        if receiving.start.is_some() {
            ctx.trigger(Effect::Indicate(Indication::Restore(Restore::Abandoned)));
        }
    }

    /// Too much waits here: what has come of later epochs is dropped, and sent again once this process has a
    /// later state. A member remains a member, with all that it has promised.
    pub(super) fn upon_too_far_behind(&mut self, ctx: &mut Ctx<Self>) {
        ctx.count("too far behind");
        self.ahead.drop_messages();
        self.missing.note_dropped(&self.processes);
        self.ask_to_join(ctx);
    }

    /// A chunk of a state has come. One state is received at a time, from the process that was asked last.
    pub(super) fn upon_chunk(
        &mut self,
        from: ProcessId,
        transfer: Transfer,
        (number, last, digest): (u64, bool, u64),
        bytes: Bytes,
        ctx: &mut Ctx<Self>,
    ) {
        let wants = self.joining.wants_state() || self.missing.has_asked_for_state();
        let known = self.joining.receiving.as_ref();
        let is_known = known.is_some_and(|r| (r.from, r.transfer) == (from, transfer));
        if !is_known {
            if !wants || known.is_some() || self.joining.asks != Some(from) {
                let (to, message) = (To::One(from), StateMessage::Enough { transfer });
                ctx.trigger(Effect::State(link::SendRequest { to, message }));
                return ctx.count("no state is wanted");
            }
            self.joining.receiving = Some(Receiving {
                from,
                transfer,
                start: None,
                next: 0,
                digest: 0,
                ahead: BTreeMap::new(),
            });
        }
        let Some(receiving) = &mut self.joining.receiving else {
            return;
        };
        if number < receiving.next || number - receiving.next > CHUNKS_AHEAD {
            return ctx.count("chunk out of place");
        }
        receiving.ahead.insert(number, (bytes, digest, last));
        self.joining.moves = true;
        self.upon_next_chunks(ctx);
        let start = self.joining.receiving.as_ref();
        let start = start.and_then(|receiving| receiving.start.as_ref());
        if start.is_some_and(|start| !self.is_news(start)) {
            self.abandon(ctx);
        }
    }

    /// When the next chunks of the state are here, the user gets them, and they are acknowledged.
    fn upon_next_chunks(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(receiving) = &mut self.joining.receiving
            && let Some((bytes, digest, last)) = receiving.ahead.remove(&receiving.next)
        {
            let number = receiving.next;
            receiving.next += 1;
            receiving.digest = digest_on(receiving.digest, &bytes);
            let is_damaged = receiving.digest != digest;
            let (to, transfer) = (To::One(receiving.from), receiving.transfer);
            if is_damaged || number == 0 && !self.upon_start(bytes.clone()) {
                ctx.count("impossible state");
                return self.abandon(ctx);
            }
            let restore = match number {
                0 => Restore::Begin,
                _ => Restore::Chunk(bytes),
            };
            if !last {
                ctx.trigger(Effect::Indicate(Indication::Restore(restore)));
            }
            let message = StateMessage::Took {
                transfer,
                up_to: number,
            };
            ctx.trigger(Effect::State(link::SendRequest { to, message }));
            if last {
                return self.upon_whole(ctx);
            }
        }
    }

    /// The first chunk says where the state begins. Returns whether this process may begin there.
    fn upon_start(&mut self, mut bytes: Bytes) -> bool {
        let Ok(start) = wire::take_head::<Start>(&mut bytes) else {
            return false;
        };
        let is_possible = bytes.is_empty() && self.may_begin(&start) && self.is_news(&start);
        if let Some(receiving) = &mut self.joining.receiving {
            receiving.start = is_possible.then_some(start);
        }
        is_possible
    }

    fn may_begin(&self, start: &Start) -> bool {
        let is_own =
            |(origin, _): &(Origin, u64)| origin.process != self.me.process || *origin == self.me;
        let is_of_group = |(origin, _): &(Origin, u64)| self.processes.contains(origin.process);
        let numbers = start.newcomers.iter().map(|(_, number)| number);
        let ordered = start.streams.iter().flat_map(|(_, o, d)| [o, d]);
        let mut numbers = numbers.chain(ordered).chain([&start.epoch, &start.applied]);
        let has_place =
            !self.joining.came_later || start.newcomers.iter().any(|(o, _)| *o == self.me);
        has_place
            && start.newcomers.iter().all(|o| is_own(o) && is_of_group(o))
            && self.processes.contains(start.leader)
            && numbers.all(|number| *number <= MOST)
    }

    /// Whether the state covers more of the order than this process has applied.
    fn is_news(&self, start: &Start) -> bool {
        let own = (self.epoch.number(), self.sequence.applied());
        !self.joining.takes_part() || (start.epoch, start.applied) > own
    }

    /// The state is complete: this process takes part from there on, unless it has come further meanwhile.
    fn upon_whole(&mut self, ctx: &mut Ctx<Self>) {
        let start = self.joining.receiving.as_mut().and_then(|r| r.start.take());
        let Some(start) = start.filter(|start| self.is_news(start)) else {
            ctx.trigger(Effect::Indicate(Indication::Restore(Restore::Abandoned)));
            return self.abandon(ctx);
        };
        if let Some(wait) = self.missing.upon_state() {
            ctx.cancel(wait);
        }
        let skipped = self.begin(&start);
        if !self.user.keeps_state() {
            tell_skipped(skipped, ctx);
        }
        for (origin, number) in &start.newcomers {
            ctx.trigger(Effect::Adopt(Adopt {
                seat: origin.process,
                incarnation: origin.incarnation,
                number: *number,
            }));
        }
        ctx.trigger(Effect::Indicate(Indication::Restore(Restore::Whole)));
        let epoch = self.epoch.present();
        ctx.trigger(Effect::Indicate(Indication::Epoch(epoch)));
        self.ask_everybody(ctx);
        self.upon_beginning(ctx);
    }

    /// Goes on from the state, and returns the messages that it covers and that have not come here. Within
    /// its epoch a member is bound by all that it has promised and accepted.
    fn begin(&mut self, start: &Start) -> Vec<(MessageId, u64)> {
        let goes_on = self.joining.takes_part() && start.epoch == self.epoch.number();
        self.joining.role = Role::Member;
        (self.joining.asks, self.joining.receiving) = (None, None);
        self.joining.backoff = JOINING;
        self.epoch
            .begin(start.epoch, start.leader, &start.newcomers);
        let may_hold_seat = |origin| self.epoch.may_hold_seat(origin);
        let skipped = self.batches.advance(&start.streams, may_hold_seat);
        self.sequence.skip_to(start.applied);
        if goes_on {
            self.ballots.skip_to(start.applied);
        } else {
            self.begin_epoch(start);
        }
        skipped
    }

    fn begin_epoch(&mut self, start: &Start) {
        let (me, processes) = (self.me.process, self.processes);
        let ballots = Ballots::from(me, processes, start.leader, start.applied).dropping();
        self.ballots = if self.acceptances_go_to_leader() {
            ballots.to_leader_alone()
        } else {
            ballots
        };
        self.stable = start.applied;
        self.batches.forget_holders();
        self.sequence.begin_anew();
    }

    /// The links report which streams have begun anew, and, if processes may come back, which process has
    /// come back without its memory (perhaps this one).
    pub(super) fn upon_status(&mut self, status: Status, ctx: &mut Ctx<Self>) {
        match (status, self.joining.role) {
            (Status::Begun { peer }, _) => self.upon_begun(peer, ctx),
            (Status::Gap { peer }, _) => self.upon_gap(peer, ctx),
            (
                Status::Replaced {
                    peer,
                    known,
                    newcomer,
                },
                _,
            ) if self.user.rejoins() => self.epoch.note_replaced(peer, known, newcomer),
            (Status::Admitted, Role::Waits) => {
                self.joining.role = Role::Member;
                self.upon_beginning(ctx);
            }
            (Status::Newcomer { .. }, Role::Waits) => {
                self.joining.role = Role::Newcomer { admitted: false };
                self.joining.came_later = true;
            }
            (Status::Admitted, Role::Newcomer { .. }) => {
                self.joining.role = Role::Newcomer { admitted: true };
                self.upon_ask_to_join(ctx);
            }
            (
                Status::Admitted
                | Status::Newcomer { .. }
                | Status::Replaced { .. }
                | Status::Connected { .. }
                | Status::Refused { .. }
                | Status::Ended { .. }
                | Status::Excluded { .. },
                _,
            ) => {}
        }
    }

    /// The stream to `peer` has begun anew: messages sent to it before may be lost.
    fn upon_begun(&mut self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        for (id, batch) in self.batches.begin_stream(peer) {
            send(ctx, To::One(peer), Message::Data { id, batch });
        }
        // A request that the peer sent after it heard of the gap may have been answered before this stream
        // began.
        if let Some(request) = self.batches.answered(peer) {
            let message = Message::Found {
                request,
                part: (0, 1),
                more: true,
                short: false,
                found: None,
            };
            send(ctx, To::One(peer), message);
        }
        self.stop_sending_state([peer].into_iter().collect());
        self.ask_anew(peer, ctx);
        if self.joining.takes_part() {
            self.ballots.begin_stream(peer);
        }
        self.upon_ballots_said(ctx);
    }

    /// The stream from `peer` has begun anew: some of what it sent before is lost.
    fn upon_gap(&mut self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        self.stop_sending_state([peer].into_iter().collect());
        self.ask_anew(peer, ctx);
        if self.joining.takes_part() {
            self.ballots.resume(peer);
        }
        self.upon_ballots_said(ctx);
    }

    /// What was asked of `peer` is asked again in due course.
    fn ask_anew(&mut self, peer: ProcessId, ctx: &mut Ctx<Self>) {
        self.missing.cancel(peer);
        let receiving = self.joining.receiving.as_ref().map(|r| r.from);
        if self.joining.asks == Some(peer) || receiving == Some(peer) {
            self.abandon(ctx);
        }
    }

    /// An epoch has begun here, or this process takes part in it from a later point: what was said in it before is
    /// heard.
    pub(super) fn upon_beginning(&mut self, ctx: &mut Ctx<Self>) {
        self.candidacy.upon_beginning(&mut self.ballots);
        for (from, epoch, message) in self.ahead.take_messages() {
            if epoch >= self.epoch.number() {
                self.hear(from, epoch, message, ctx);
            }
        }
        for (id, batch) in self.ahead.take_batches() {
            self.hold(id, batch, ctx);
        }
        self.upon_batches_here(ctx);
        self.upon_ballots_heard(ctx);
    }
}

/// Nobody keeps these messages, nor a state that covers them: the user learns where each origin goes on.
fn tell_skipped(skipped: Vec<(MessageId, u64)>, ctx: &mut Ctx<ByLeader>) {
    for (next, messages) in skipped {
        ctx.count_many("messages skipped, since nobody keeps them", messages);
        ctx.trigger(Effect::Indicate(Indication::Deliver(Deliver {
            origin: next.origin,
            first: next.sequence,
            payloads: Vec::new(),
        })));
    }
}
