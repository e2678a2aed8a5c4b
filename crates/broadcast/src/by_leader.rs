//! Uniform total-order broadcast, driven by a leader: origins spread payloads, the leader orders them.
//!
//! # Promises
//! - TOB1 validity (liveness): a correct process delivers its own broadcasts.
//! - TOB2 no duplication (safety). TOB3 no creation (safety).
//! - TOB4 uniform agreement (liveness): what any process delivers, every correct process delivers.
//! - TOB5 uniform total order (safety): of any two delivery sequences, one is a prefix of the other; except
//!   for stretches that a lagging process skips: it is given a state for them, or is told where it goes on.
//! - FRB5 first-in first-out order (safety): messages of one origin are delivered in the order in
//!   which they were broadcast.
//!
//! # Assumes
//! Perfect links, whose streams may end and begin anew, the eventual leader detector Ω, f < n/2 crashes.
//! Safety needs neither the detector nor timing. Nobody is assumed to keep up. A process that lacks more than
//! the others still keep does not get those messages. It gets its user's state instead, and TOB1 and TOB4
//! hold in that sense ([`spawn_with_state`], [`spawn_reconfigurable`]). If the user keeps no state
//! ([`spawn`]), a state transfer that carries no user's state tells the process where each origin goes on, and a
//! [`Deliver`] without payloads tells its user; TOB1 and TOB4 do not hold for the messages that are skipped.
//!
//! # Messages
//! - `Data(id, batch)`, from the origin → all: the requests that waited together; `id` numbers the origin's
//!   batches, while users see the numbers of messages. A batch is *ordered* at a process once a cut that covers
//!   it is applied there. Until then it is sent again to a process whose stream has begun anew.
//! - `Accept`, `Accepted` and the other messages of [`ballots`], on one [`Cut`] per instance: for each
//!   origin, the number up to which its batches are delivered once the cut is applied.
//! - `Stable(held, decided)`, from the leader → the others, now and then, if acceptances go to the leader
//!   alone: every process holds all batches up to `held`, and has decided all instances up to `decided`, so that
//!   nobody needs to keep either. Otherwise the acceptances tell it.
//! - `Lacks(request, held)`, from a process that has missed batches of a cut for a while → one process
//!   after the other, or all at once after a state; at most one request is open with each. The answer is
//!   `Found(request, batch)`: at most 64 batches per origin and about 1 MiB, without those that the answerer has
//!   sent on the present stream, unless the request says that they were dropped. It also says whether there is
//!   more, or whether something is no longer kept. A process that is stuck uses this request to ask for
//!   decisions, too.
//! - `Join(incarnation)`, from a newcomer, or from a member that lacks what nobody keeps → the others in
//!   turn; answered with the state. The state has a lane of its own: `Chunk(transfer, number, digest)`, of
//!   which about 1 MiB is in flight, `Took`, and `Enough` from a process that wants no more.
//! - `Slower`, from a process that was still behind after each of its last two states → all others, until it has a
//!   state: for 20 s each origin waits between its batches, 20 ms and half a second per MiB.
//!
//! # Cost
//! One isolated message, stable leader: n − 1 `Data`, n − 1 `Accept`, (n−1)² `Accepted`, together n² − 1
//! messages. The leader's own message is delivered by everybody at step 2, another's at step 3 (the
//! followers a step earlier if n ≤ 3). With another process dead: n − 1 + n − 1 + (n−2)(n−1). With the
//! leader crashing after 1 ≤ k < n of its `Data`: k, 2n − 3 for p2's promises, n − 1 `Accept` and
//! (n−2)(n−1) `Accepted`, and 3 for each of the n − 1 − k that lack the payload, which ask the leader in
//! vain, then p2, and are answered: n² + 3n − 5 − 2k, and the time of their timeouts. Among up to three
//! processes, a process and the leader are a majority: with [`Acceptances::Fewest`] `Accepted` goes to
//! the leader alone, in as many steps: 3(n − 1) messages, and n − 1 `Stable` each 16 instances. Messages that
//! wait together travel and are ordered together.
//!
//! # Why it holds
//! Decided cuts are the same everywhere and are applied in the order of their instances, and what a cut
//! adds depends only on the cuts before it (TOB5). Cuts are cumulative, so that an origin's messages are
//! ordered without gap or repetition, even if two leaders order the same ones (TOB2, FRB5). A process
//! accepts a cut only once it holds everything up to it, so that a decided cut is held by a majority,
//! a correct process among them, which can be asked (TOB4). What a correct process broadcasts reaches
//! the leader that Ω settles on, which orders whatever it holds (TOB1). What is forgotten is held by
//! everybody, or is ordered; in the second case a process that has delivered it gives its state, or tells
//! what is skipped.
//!
//! # Streams
//! A stream between two processes that ends loses messages, but both remain members. Once it begins anew,
//! both send again, in their present epoch, what is open between them: the messages of [`ballots`], and each
//! origin its batches that are not ordered. A request for what is missing, and a state in transfer between the two,
//! are abandoned. Ordered batches are not sent again: the other asks for them when it notices, by later
//! decisions or by cuts beyond what it holds. A process that makes no progress for a second asks for decisions
//! and batches; if these are no longer kept, it asks for the state. A state of the present epoch only advances
//! a process: its promises stay, and so does what it accepted in later instances.
//!
//! # Memory
//! - What is not ordered.
//! - Per origin, of the ordered batches that are not known to be held by everybody, at most the last 1,024 and
//!   16 MiB (65,536 and 128 MiB while this process gives its state to another); likewise for the incarnation
//!   that was in each seat before.
//! - 1,024 decisions (65,536 while this process gives its state).
//! - At a process that lags: 65,536 decisions that are not applied; per origin, 65,536 batches or 96 MiB, and
//!   above 96 MiB the batches that something here waits for; of later epochs, and of incarnations that have no
//!   seat yet, 2¹⁸ messages, and 65,536 batches or 64 MiB. The process asks later for what it drops.
//! - Of a state, the chunks in flight; at the process that gives it, the user's view, one at a time, for as
//!   long as a receiver takes it.
//!
//! # Processes that come back without their memory
//! Started with [`spawn_reconfigurable`], it offers [`reconfigurable`]: an entry of a cut with the number 0
//! puts that incarnation in its seat once the cut is applied. Until its links say whether it came later than
//! another, no process takes part. A replacement ends the *epoch*: what
//! was decided in later instances is void, and the acceptors begin anew after this instance, with
//! nothing promised and nothing accepted, the newcomer like everybody. So the promises of the seat's earlier
//! incarnation no longer matter. That incarnation never takes part again: its messages, and all of earlier
//! epochs, are dropped. Cuts are cumulative and origins keep their batches, so that what was void is ordered
//! again. Before a process enters the new epoch, it sends the others the decisions of the old one that they may
//! lack: if any process gets beyond that epoch, every correct process does, or takes a state.
//!
//! A newcomer that the links of its peers talk to (they have *adopted* it) asks one process after the other for
//! the state as of some later instance, and takes part from there. What arrives before that waits, within
//! bounds. The first incarnation ever in a seat is no newcomer, however late it is: it is a member that lags,
//! has promised nothing, and asks for the state like any other.
//!
//! Each chunk carries the transfer that it belongs to (the sender's count of transfers, the epoch, the instance), its place
//! in it, and a digest of everything up to it, so that chunks of two states cannot be mixed. One state is
//! received at a time; a giver that falls silent is abandoned, and another is asked. The new epoch's first
//! ballot belongs to the process of lowest rank that is not new, so that nobody has to wait for a newcomer. A
//! newcomer counts towards majorities once it has its state. Until then it counts as down: those that are down and those
//! that have no state yet must be no more than f together.
//!
//! # Parts
//! - `batches`: one's own batches, those of others, who holds what. `accepting`, `deferred`: proposals, and those
//!   that wait for batches. `leading`: what a leader proposes. `sequence`: cuts, from proposed to applied.
//! - `catching_up`: what a process that lacks something asks for. `ahead`, `early`: what arrives before its time.
//! - `epoch`: who holds the seats, and what a replacement ends. `joining`: a state transfer to this
//!   process, and what happens over a gap. `state_sender`: a transfer from it. `transfer`: the messages of both.
//!   `pace`: how fast batches leave. `rejoining`: the wiring, with states and without.
//! - Rules (“upon exists …”) are called where they can become true: where batches are here that were not
//!   (`upon_batches_here`), where the ballots have heard or said something (`upon_ballots_heard`, `upon_ballots_said`),
//!   and where another rule has made them true.
//!
//! # Source
//! Lamport: *The Part-Time Parliament*, 1998, agreeing on identifiers rather than payloads; the separation of
//! payloads from order as in Chandra, Toueg, 1996, section 7. Deviations: those of [`ballots`]; cuts as in
//! [`by_consensus`](crate::by_consensus).
mod accepting;
mod ahead;
mod batches;
mod catching_up;
mod deferred;
mod early;
mod epoch;
mod joining;
mod leading;
mod message;
mod pace;
mod rejoining;
mod sequence;
mod state_sender;
mod transfer;

pub use crate::ordering::{Acceptances, Cut, OrderSettings};
use ahead::Ahead;
use batches::Batches;
use bytes::Bytes;
use catching_up::Missing;
use epoch::Epoch;
use joining::Joining;
pub use message::Message;
use pace::Pace;
use quorate_abstractions::{
    Subscribe,
    leader::Trust,
    link::{self, Links, To},
    reconfigurable::{self, Indication, Request},
    total_order::{Broadcast, Deliver},
};
use quorate_consensus::ballots::{self, Ballots, Candidacy};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Membership, MessageId, ProcessId, message::Origin, ports,
};
pub use rejoining::{spawn_reconfigurable, spawn_with_state};
use sequence::Sequence;
use state_sender::StateSender;
pub use transfer::StateMessage;

/// The highest number that a batch or an epoch can have.
const MOST: u64 = 1 << 48;

/// Leader-driven total order.
pub struct ByLeader {
    settings: OrderSettings,
    processes: Membership,
    me: Origin,
    candidacy: Candidacy,
    ballots: Ballots<Cut>,
    batches: Batches,
    sequence: Sequence,
    missing: Missing,
    epoch: Epoch,
    ahead: Ahead,
    joining: Joining,
    state_sender: StateSender,
    pace: Pace,
    user: User,
    /// The last instance up to which the others were told what everybody holds.
    stable: u64,
}

/// What the user above does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum User {
    /// It keeps no state for other processes.
    Stateless,
    /// It gives its state to a process that needs it.
    GivesState,
    /// It gives its state, and processes come back without their memory.
    Rejoins,
}

impl User {
    fn keeps_state(self) -> bool {
        self != User::Stateless
    }

    fn rejoins(self) -> bool {
        self == User::Rejoins
    }
}

ports! {
    offers reconfigurable::Port => Request -> Indicate;
    uses link: link::Port<Message> => Link;
    uses chunks: link::Port<StateMessage> => State;
    watches status: link::Status => Status;
    watches detector: Trust => Leader;
    asks adopt: link::Adopt => Adopt;
    // A candidate that has lost to a higher ballot campaigns again.
    timer Retry;
    // Batches have been missing for a while, or an answer has not come: the next process is asked.
    timer AskAgain;
    // Whether the receiver of a state still takes chunks, or asks for what follows, is looked at.
    timer TransferTimeout;
    // The next batch may leave, if this process was asked to broadcast less.
    timer PaceOver;
    // If no answer to the join request is arriving, another process is asked.
    timer AskToJoin;
    // Whether this process has applied anything since it was found to be behind is looked at.
    timer StillBehind;
}

impl Algorithm for ByLeader {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(Request::Broadcast(Broadcast { payload })) => {
                self.batches.request(payload);
            }
            Event::Link(link::Deliver { from, message }) => self.upon_message(from, message, ctx),
            Event::Leader(Trust(p)) => self.upon_trust(p, ctx),
            Event::Retry => self.upon_retry(ctx),
            Event::AskAgain => self.upon_ask_again(ctx),
            Event::Status(status) => self.upon_status(status, ctx),
            Event::Request(Request::State { transfer, view }) => {
                self.upon_state(transfer, view, ctx);
            }
            Event::State(link::Deliver { from, message }) => {
                self.upon_transfer(from, message, ctx);
            }
            Event::TransferTimeout => self.upon_transfer_timeout(ctx),
            Event::PaceOver => self.pace.upon_waited(),
            Event::AskToJoin => self.upon_ask_to_join(ctx),
            Event::StillBehind => self.upon_still_behind(ctx),
        }
    }

    fn upon_idle(&mut self, ctx: &mut Ctx<Self>) {
        if !self.joining.takes_part() {
            return;
        }
        self.upon_room_for_batches(ctx);
        self.upon_unordered(ctx);
    }
}

impl ByLeader {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host, settings: OrderSettings) -> Self {
        let processes = *host.processes();
        let me = Origin {
            process: host.me(),
            incarnation: host.incarnation(),
        };
        let mut algorithm = ByLeader {
            settings,
            processes,
            me,
            candidacy: Candidacy::new(host.me()),
            ballots: Ballots::new(host.me(), processes).dropping(),
            batches: Batches::new(me, processes, &settings),
            sequence: Sequence::default(),
            missing: Missing::nothing(),
            epoch: Epoch::default(),
            ahead: Ahead::default(),
            joining: Joining::member(),
            state_sender: StateSender::default(),
            pace: Pace::default(),
            user: User::Stateless,
            stable: 0,
        };
        if algorithm.acceptances_go_to_leader() {
            algorithm.ballots = algorithm.ballots.to_leader_alone();
        }
        algorithm
    }

    /// Refuses numbers that are never reached: this process would wait for them, and ask for them, for ever.
    fn upon_message(&mut self, from: ProcessId, message: Message, ctx: &mut Ctx<Self>) {
        if message.highest() > MOST {
            return ctx.count("number too high");
        }
        match message {
            Message::Data { id, batch } => self.upon_data(id, batch, ctx),
            Message::Lacks {
                request,
                held,
                decided,
                again,
            } => self.upon_lacks(from, request, &held, (decided, again), ctx),
            Message::Found {
                request,
                part,
                more,
                short,
                found,
            } => self.upon_found(from, request, part, (more, short), found, ctx),
            Message::Ballots { epoch, message } => {
                self.upon_epoch_message(from, epoch, message, ctx);
            }
            Message::Stable {
                epoch,
                held,
                decided,
            } => self.upon_held_by_all(epoch, &held, decided, ctx),
            Message::Join {
                incarnation,
                is_newcomer,
            } => self.upon_join(from, incarnation, is_newcomer, ctx),
            Message::Slower => self.pace.slow(ctx.now()),
        }
    }

    fn upon_transfer(&mut self, from: ProcessId, message: StateMessage, ctx: &mut Ctx<Self>) {
        match message {
            StateMessage::Chunk {
                transfer,
                number,
                last,
                digest,
                bytes,
            } => self.upon_chunk(from, transfer, (number, last, digest), bytes, ctx),
            StateMessage::Took { transfer, up_to } => {
                self.upon_taken(from, transfer, Some(up_to), ctx);
            }
            StateMessage::Enough { transfer } => self.upon_taken(from, transfer, None, ctx),
        }
    }

    fn upon_trust(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        if self.joining.takes_part() {
            self.candidacy.upon_trust(p, &mut self.ballots);
            self.upon_ballots_said(ctx);
        } else {
            self.candidacy.note_trust(p);
        }
    }

    /// A process that trusts itself and lost to another has waited: it asks again.
    fn upon_retry(&mut self, ctx: &mut Ctx<Self>) {
        self.candidacy.upon_retry(&mut self.ballots);
        self.upon_ballots_said(ctx);
    }

    /// A message of the acceptors of some epoch.
    fn upon_epoch_message(
        &mut self,
        from: ProcessId,
        epoch: u64,
        message: ballots::Message<Cut>,
        ctx: &mut Ctx<Self>,
    ) {
        self.hear(from, epoch, message, ctx);
        self.upon_ballots_heard(ctx);
    }

    /// Hears it in its epoch, or keeps it until that begins.
    fn hear(
        &mut self,
        from: ProcessId,
        epoch: u64,
        message: ballots::Message<Cut>,
        ctx: &mut Ctx<Self>,
    ) {
        let present = self.epoch.number();
        let takes_part = self.joining.takes_part();
        if takes_part && epoch == present {
            self.upon_ballots(from, message, ctx);
        } else if self.joining.is_gone() || takes_part && epoch < present {
            ctx.count("of another epoch");
        } else if !self.ahead.hear((from, epoch, message)) {
            self.upon_too_far_behind(ctx);
        }
    }

    /// When requests wait and a batch may leave, the requests leave together.
    fn upon_room_for_batches(&mut self, ctx: &mut Ctx<Self>) {
        while self.batches.is_next_due() {
            if !self.pace.is_free(ctx.now()) {
                if let Some(wait) = self.pace.wait(ctx.now()) {
                    ctx.after(wait, Event::PaceOver);
                }
                return;
            }
            let Some((id, batch)) = self.batches.next() else {
                return;
            };
            self.pace.upon_batch(batch.len(), ctx.now());
            send(ctx, To::All, Message::Data { id, batch });
        }
    }

    /// A batch has come: from now on it may be ordered.
    fn upon_data(&mut self, id: MessageId, batch: Bytes, ctx: &mut Ctx<Self>) {
        self.hold(id, batch, ctx);
        self.upon_batches_here(ctx);
    }

    /// Takes a batch in, or keeps it until it has a place.
    fn hold(&mut self, id: MessageId, batch: Bytes, ctx: &mut Ctx<Self>) {
        if self.batches.is_forged(id) {
            return ctx.count("impossible identifier");
        }
        if !self.joining.takes_part() || !self.epoch.may_hold_seat(id.origin) {
            let dropped = self.ahead.hold(id, batch);
            if dropped > 0 {
                self.missing.note_dropped(&self.processes);
            }
            return ctx.count_many("of another epoch", dropped);
        }
        if id.sequence > MOST {
            return ctx.count("impossible identifier");
        }
        let needed = self.needed(id.origin);
        if !self.batches.hold(id, batch, needed) {
            self.missing.note_dropped(&self.processes);
            ctx.count("identifier too far ahead");
        }
    }

    /// Batches are here that were not: proposals, promises or decisions may have waited for them. The first two rules
    /// send what follows from them.
    fn upon_batches_here(&mut self, ctx: &mut Ctx<Self>) {
        if self.joining.takes_part() {
            self.upon_held(ctx);
            self.upon_elected(ctx);
            self.upon_applicable(ctx);
        }
    }

    /// The ballots have taken in a message, or keep one until its batches are here.
    fn upon_ballots_heard(&mut self, ctx: &mut Ctx<Self>) {
        if self.joining.takes_part() {
            self.upon_held(ctx);
            self.upon_elected(ctx);
            self.upon_decided(ctx);
            self.upon_deposed(ctx);
            self.upon_missing(ctx);
            self.upon_outgoing(ctx);
            self.upon_stable(ctx);
            self.upon_behind(ctx);
        }
    }

    /// The ballots have messages that no received message caused: repetitions, or a new campaign. A campaign outdates the
    /// proposals that wait in lower ballots.
    fn upon_ballots_said(&mut self, ctx: &mut Ctx<Self>) {
        if self.joining.takes_part() {
            self.upon_held(ctx);
            self.upon_outgoing(ctx);
        }
    }

    /// Upon a process that trusts itself, and lost to another: it asks again, after a while.
    fn upon_deposed(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(backoff) = self.candidacy.wait(&self.ballots) {
            ctx.after(backoff, Event::Retry);
        }
    }

    /// Upon messages of the ballots: they leave, in the present epoch.
    fn upon_outgoing(&mut self, ctx: &mut Ctx<Self>) {
        let outgoing = self.ballots.take_outgoing();
        self.say(outgoing, ctx);
    }

    /// Sends these messages in the present epoch.
    fn say(&self, outgoing: Vec<(To, ballots::Message<Cut>)>, ctx: &mut Ctx<Self>) {
        let epoch = self.epoch.number();
        for (to, message) in outgoing {
            let message = Message::Ballots { epoch, message };
            send(ctx, to, message);
        }
    }

    /// Upon decisions: they wait for their turn, and for their batches.
    fn upon_decided(&mut self, ctx: &mut Ctx<Self>) {
        for (instance, cut) in self.ballots.take_decisions() {
            self.sequence.decide(instance, cut);
        }
        self.upon_applicable(ctx);
    }

    /// Upon the next decision, all of whose batches are here: deliver them, origin by origin. The one after it may lack
    /// batches; one that puts newcomers in their seats ends the epoch, and what is heard of the next may be applicable.
    fn upon_applicable(&mut self, ctx: &mut Ctx<Self>) {
        let (epoch, applied) = (self.epoch.number(), self.sequence.applied());
        while self.is_applicable() {
            self.apply_next(ctx);
        }
        if self.epoch.number() > epoch {
            self.upon_beginning(ctx);
        } else if self.sequence.applied() > applied {
            self.upon_missing(ctx);
        }
    }

    fn is_applicable(&self) -> bool {
        let next = self.sequence.next();
        next.is_some_and(|cut| self.batches.holds_all(cut))
    }

    fn apply_next(&mut self, ctx: &mut Ctx<Self>) {
        let Some(Cut(cut)) = self.sequence.apply() else {
            return;
        };
        self.missing.upon_applied();
        let mut newcomers = Vec::new();
        for (origin, up_to) in cut {
            if up_to == 0 {
                newcomers.push(origin);
                continue;
            }
            self.batches.deliver(origin, up_to, ctx);
            self.batches.forget(origin);
        }
        self.upon_replacements(&newcomers, ctx);
    }
}

fn send(ctx: &mut Ctx<ByLeader>, to: To, message: Message) {
    ctx.trigger(Effect::Link(link::SendRequest { to, message }));
}

/// Starts leader-driven total order over perfect links and Ω, with a user that keeps no state for other
/// processes.
///
/// After a gap in the streams to it, a process may lack messages that nobody keeps any more. Then it goes on
/// behind them: a [`Deliver`] without payloads tells, for each origin, the number of the first message after
/// the skipped ones, and a counter tells how many were skipped. A user that can do better uses
/// [`spawn_with_state`].
pub fn spawn(
    host: &impl Host,
    settings: OrderSettings,
    links: &impl Links,
    detector: &Subscribe<Trust>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let delivered = Addr::new(move |indication| match indication {
        Indication::Deliver(indication) => up.send(indication),
        // The user gives no state: a transfer carries only where each origin goes on. Nobody is ever replaced.
        Indication::Epoch(_) | Indication::StateWanted { .. } | Indication::Restore(_) => {}
    });
    let algorithm = ByLeader::new(host, settings);
    let adopt = Addr::nowhere();
    rejoining::start(host, algorithm, links, detector, adopt, delivered).with(Request::Broadcast)
}

#[cfg(test)]
mod tests;
