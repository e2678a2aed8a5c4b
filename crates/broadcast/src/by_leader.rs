//! Uniform total-order broadcast, driven by a leader: origins spread payloads, the leader orders them.
//!
//! # Promises
//! - TOB1 validity (liveness): a correct process delivers its own broadcasts.
//! - TOB2 no duplication (safety). TOB3 no creation (safety).
//! - TOB4 uniform agreement (liveness): what any process delivers, every correct process delivers.
//! - TOB5 uniform total order (safety): of any two delivery sequences, one is a prefix of the other.
//! - FRB5 first-in first-out order (safety): messages of one origin are delivered in the order in
//!   which they were broadcast.
//!
//! # Assumes
//! Perfect links, whose streams may end and begin anew, the eventual leader detector Ω, f < n/2 crashes.
//! Safety needs neither the detector nor timing. Nobody is assumed to keep up: of who lacks more than the
//! others keep, liveness (TOB1, TOB4) is that of its user's state, which stands for what it lacks
//! ([`spawn_with_state`], [`spawn_reconfigurable`]). With a user that keeps nothing ([`spawn`]), it goes on
//! behind that, and is told with a [`Deliver`] without payloads where each origin goes on.
//!
//! # Messages
//! - `Data(id, batch)`, from the origin → all: the requests that waited together. Again, where it is not
//!   ordered, → who may lack it once a stream has begun anew.
//! - `Accept`, `Accepted` and the other messages of [`ballots`], on a [`Cut`] an instance: for each
//!   origin, up to which batch its messages come next.
//! - `Stable(held, decided)`, from the leader, now and then, where acceptances go to it alone, → the
//!   others: what everybody holds, and need not be kept.
//! - `Lacks(request, held)`, from who misses batches of a cut, after a while, → one after the other, one
//!   request open to each; answered with `Found(request, batch)`: at most 64 batches of an origin and about
//!   1 MiB, nothing that is on its way already, and whether there is more, or something is not kept any
//!   more. From who gets no further it asks for decisions, too.
//! - `Join(incarnation)`, from a newcomer, or from a member who lacks what nobody keeps → one after the other;
//!   answered with the state. That has a lane of its own: `Chunk(transfer, number, digest)`, of which about
//!   1 MiB is in flight, `Took`, and `Enough` from who wants no more.
//! - `Slower`, from one that two states in a row have reached too late → all others, until one is in: for
//!   20 s an origin lets 20 ms pass between its batches, and half a second for each MiB.
//!
//! # Cost
//! One isolated message, stable leader: n − 1 `Data`, n − 1 `Accept`, (n−1)² `Accepted`, together n² − 1
//! messages. The leader's own message is delivered by everybody at step 2, another's at step 3 (the
//! followers a step earlier if n ≤ 3). With another process dead: n − 1 + n − 1 + (n−2)(n−1). With the
//! leader crashing after 1 ≤ k < n of its `Data`: k, 2n − 3 for p2's promises, n − 1 `Accept` and
//! (n−2)(n−1) `Accepted`, and 3 for each of the n − 1 − k that lack the payload, which ask the leader in
//! vain, then p2, and are answered: n² + 3n − 5 − 2k, and the time of their timeouts. Of up to three
//! processes the leader's acceptance and one's own are a majority: with [`Acceptances::WhoNeedsThem`]
//! `Accepted` goes to the leader alone, in as many steps: 3(n − 1) messages, and n − 1 `Stable` each 16
//! instances. Messages that wait together travel and are ordered together.
//!
//! # Why it holds
//! Decided cuts are the same everywhere and are applied in the order of their instances, and what a cut
//! adds depends only on the cuts before it (TOB5). Cuts are cumulative, so that an origin's messages are
//! ordered without gap or repetition, even if two leaders order the same ones (TOB2, FRB5). A process
//! accepts a cut only once it holds everything up to it, so that a decided cut is held by a majority,
//! a correct process among them, which can be asked (TOB4). What a correct process broadcasts reaches
//! the leader that Ω settles on, which orders whatever it holds (TOB1). What is forgotten is held by
//! everybody, or is ordered, and the state of whoever has delivered it stands for it.
//!
//! # Streams
//! A stream between two processes that ends takes messages along, and neither ceases to be a member. Once
//! it begins anew, both say again, in their present epoch, what is open between them: what
//! [`ballots`] says, and an origin its batches that are not ordered. A request for what is missing, and a
//! state on its way between the two, are over. What was ordered the other asks for, as it finds that it lacks
//! it: it hears of later decisions, or of cuts beyond what it holds. Who gets no further for a second asks
//! for decisions and batches; and who hears that they are not kept any more asks for the state. Within its
//! epoch that only moves it forward: what it has promised, and accepted above, stays.
//!
//! # Memory
//! What is not ordered; of what is ordered the last 1,024 batches or 16 MiB an origin, of one in each seat
//! that is gone, too, that some process is not known to hold (65,536 or 128 MiB while this process gives its
//! state to another); 1,024 decisions (65,536). At who is behind: 65,536 decisions that are not applied, of
//! an origin 65,536 batches or 96 MiB and what the next cut needs, of later epochs 2¹⁸ messages and 64 MiB of
//! batches. What is dropped is asked for later. Of a state the chunks in flight, and at who gives it the
//! user's view, one at a time, for as long as somebody takes it.
//!
//! # Processes that come back without their memory
//! Started with [`spawn_reconfigurable`], it is [`reconfigurable`]: a cut may name an incarnation with
//! no batches, which puts it in its seat once the cut is applied. That ends the *epoch*: what
//! was decided in later instances is void, and the acceptors begin anew after this instance, with
//! nothing promised and nothing accepted, the newcomer like everybody. So it matters to nobody what the
//! one before it had promised, which never takes part again: its messages, and all of earlier
//! epochs, are dropped. Cuts are cumulative and origins keep their batches, so that what was
//! void is ordered again. Whoever begins anew first sends the others the decisions that they may lack of
//! the epoch that is over: if anybody gets beyond it, every correct process does, or takes a state.
//!
//! A newcomer that its peers' links have adopted asks one process after the other for the state as of
//! some later instance, and takes part from there. What comes before that waits, within bounds. A start in a
//! seat that never had one is no newcomer, however late it is: it is a member that lags behind, has promised
//! nothing, and asks for the state like any other.
//!
//! Chunks of a state name its sender's number for it, and the epoch and instance of which it is, and each the
//! digest of all up to it: those of two states do not mix. One comes at a time. Of whom nothing comes any
//! more is given up, and another asked. The new epoch's first ballot belongs to the lowest in rank who is not
//! new, so that nobody has to wait for a newcomer. A newcomer counts towards majorities once it has its
//! state: a crash in between is one more than a minority survives only if there are more of them at a time
//! than f.
//!
//! # Source
//! Lamport: *The Part-Time Parliament*, 1998, on identifiers; the separation of payloads from order as
//! in Chandra, Toueg, 1996, section 7. Deviations: those of [`ballots`]; cuts as in
//! [`by_consensus`](crate::by_consensus).
mod accepting;
mod ahead;
mod batches;
mod catching_up;
mod deferred;
mod early;
mod epoch;
mod giving;
mod joining;
mod leading;
mod message;
mod pace;
mod rejoining;
mod sequence;
mod transfer;

pub use crate::ordering::{Acceptances, Configuration, Cut};
use ahead::Ahead;
use batches::Batches;
use bytes::Bytes;
use catching_up::Missing;
use epoch::Epoch;
use giving::Giving;
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
pub use transfer::Chunk;

/// No batch, and no epoch, has a higher number.
const MOST: u64 = 1 << 48;

/// Leader-driven total order.
pub struct ByLeader {
    configuration: Configuration,
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
    giving: Giving,
    pace: Pace,
    user: User,
    /// Up to this instance the others were told what everybody holds.
    stable: u64,
}

/// What stands on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum User {
    /// One that keeps nothing for others.
    KeepsNothing,
    /// One that gives its state to who needs it.
    KeepsState,
    /// …where processes come back without their memory.
    ComesBack,
}

impl User {
    fn keeps_state(self) -> bool {
        self != User::KeepsNothing
    }

    fn comes_back(self) -> bool {
        self == User::ComesBack
    }
}

ports! {
    offers reconfigurable::Port => Request -> Indicate;
    uses link: link::Port<Message> => Link;
    uses chunks: link::Port<Chunk> => Chunk / State;
    watches status: link::Status => Status;
    watches detector: Trust => Leader;
    asks adopt: link::Adopt => Adopt;
    timer Retry;
    timer Ask;
    timer Give;
    timer Paced;
    timer AskToJoin;
    timer Behind;
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
            Event::Leader(Trust(p)) => self.upon_trust(p),
            Event::Retry => self.candidacy.upon_retry(&mut self.ballots),
            Event::Ask => self.upon_ask(ctx),
            Event::Status(status) => self.upon_status(status, ctx),
            Event::Request(Request::State { ticket, view }) => self.upon_state(ticket, view, ctx),
            Event::Chunk(link::Deliver { from, message }) => {
                self.upon_transfer(from, message, ctx);
            }
            Event::Give => self.upon_give(ctx),
            Event::Paced => self.pace.upon_waited(),
            Event::AskToJoin => self.upon_ask_to_join(ctx),
            Event::Behind => self.upon_still_behind(ctx),
        }
        self.upon_progress(ctx);
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
    pub fn new(host: &impl Host, configuration: Configuration) -> Self {
        let processes = *host.processes();
        let me = Origin {
            process: host.me(),
            incarnation: host.incarnation(),
        };
        let mut algorithm = ByLeader {
            configuration,
            processes,
            me,
            candidacy: Candidacy::new(host.me()),
            ballots: Ballots::new(host.me(), processes).dropping(),
            batches: Batches::new(me, processes, &configuration),
            sequence: Sequence::default(),
            missing: Missing::nothing(),
            epoch: Epoch::default(),
            ahead: Ahead::default(),
            joining: Joining::member(),
            giving: Giving::default(),
            pace: Pace::default(),
            user: User::KeepsNothing,
            stable: 0,
        };
        if algorithm.is_sparing() {
            algorithm.ballots = algorithm.ballots.to_leader_alone();
        }
        algorithm
    }

    /// A number that nobody gets to would be waited for, and asked for, for ever.
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
            Message::Ballots {
                configuration,
                message,
            } => self.upon_of_epoch(from, configuration, message, ctx),
            Message::Stable {
                configuration,
                held,
                decided,
            } => self.upon_held_by_all(configuration, &held, decided, ctx),
            Message::Join {
                incarnation,
                is_newcomer,
            } => self.upon_join(from, incarnation, is_newcomer, ctx),
            Message::Slower => self.pace.slow(ctx.now()),
        }
    }

    fn upon_transfer(&mut self, from: ProcessId, message: Chunk, ctx: &mut Ctx<Self>) {
        match message {
            Chunk::Chunk {
                transfer,
                number,
                last,
                digest,
                bytes,
            } => self.upon_chunk(from, transfer, (number, last, digest), bytes, ctx),
            Chunk::Took { transfer, up_to } => self.upon_taken(from, transfer, Some(up_to), ctx),
            Chunk::Enough { transfer } => self.upon_taken(from, transfer, None, ctx),
        }
    }

    fn upon_trust(&mut self, p: ProcessId) {
        if self.joining.takes_part() {
            self.candidacy.upon_trust(p, &mut self.ballots);
        } else {
            self.candidacy.note_trust(p);
        }
    }

    /// A message of the acceptors of some epoch.
    fn upon_of_epoch(
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
            ctx.count("of another configuration");
        } else if !self.ahead.hear((from, epoch, message)) {
            self.upon_too_far_behind(ctx);
        }
    }

    /// Upon requests and room for a batch: they leave together.
    fn upon_room_for_batches(&mut self, ctx: &mut Ctx<Self>) {
        while self.batches.is_next_due() {
            if !self.pace.is_free(ctx.now()) {
                if let Some(wait) = self.pace.wait(ctx.now()) {
                    ctx.after(wait, Event::Paced);
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
        if self.batches.is_forged(id) {
            return ctx.count("impossible identifier");
        }
        if !self.joining.takes_part() || !self.epoch.may_hold(id.origin) {
            let dropped = self.ahead.hold(id, batch);
            if dropped > 0 {
                self.missing.upon_dropped(&self.processes);
            }
            return ctx.count_many("of another configuration", dropped);
        }
        if id.sequence > MOST {
            return ctx.count("impossible identifier");
        }
        let needed = self.needed(id.origin);
        if !self.batches.hold(id, batch, needed) {
            self.missing.upon_dropped(&self.processes);
            ctx.count("identifier too far ahead");
        }
    }

    /// After every event: messages leave, decisions are applied, an elected process leads once it holds
    /// what it is obliged to propose, and what is missing is asked for in the end.
    fn upon_progress(&mut self, ctx: &mut Ctx<Self>) {
        if !self.joining.takes_part() {
            return;
        }
        loop {
            self.upon_held(ctx);
            self.upon_elected();
            for (instance, cut) in self.ballots.take_decisions() {
                self.sequence.decide(instance, cut);
            }
            let epoch = self.epoch.number();
            self.upon_applicable(ctx);
            if epoch == self.epoch.number() {
                break;
            }
            self.upon_beginning(ctx);
        }
        if let Some(patience) = self.candidacy.wait(&self.ballots) {
            ctx.after(patience, Event::Retry);
        }
        self.upon_missing(ctx);
        let outgoing = self.ballots.take_outgoing();
        self.say(outgoing, ctx);
        self.upon_stable(ctx);
        self.upon_behind(ctx);
    }

    /// Says this in the present configuration.
    fn say(&self, outgoing: Vec<(To, ballots::Message<Cut>)>, ctx: &mut Ctx<Self>) {
        let configuration = self.epoch.number();
        for (to, message) in outgoing {
            let message = Message::Ballots {
                configuration,
                message,
            };
            send(ctx, to, message);
        }
    }

    /// Upon the next decision, all of whose batches are here: deliver them, origin by origin.
    fn upon_applicable(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(cut) = self.sequence.next()
            && self.batches.holds_all(cut)
        {
            self.missing.upon_progress();
            let Some(Cut(cut)) = self.sequence.apply() else {
                return;
            };
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
}

fn send(ctx: &mut Ctx<ByLeader>, to: To, message: Message) {
    ctx.trigger(Effect::Link(link::Send { to, message }));
}

/// Starts leader-driven total order over perfect links and Ω, with a user that keeps nothing for others.
///
/// After a gap in the streams to it, a process may lack messages that nobody keeps any more. Then it goes on
/// behind them: a [`Deliver`] without payloads tells before which of an origin's messages they were skipped, and
/// a counter tells how many were. A user that can do better takes [`spawn_with_state`].
pub fn spawn(
    host: &impl Host,
    configuration: Configuration,
    links: &impl Links,
    detector: &Subscribe<Trust>,
    up: Addr<Deliver>,
) -> Addr<Broadcast> {
    let delivered = Addr::new(move |indication| match indication {
        Indication::Deliver(indication) => up.send(indication),
        // Nobody gives a state, and nobody is ever replaced.
        Indication::Configuration(_) | Indication::StateWanted { .. } | Indication::Restore(_) => {}
    });
    let algorithm = ByLeader::new(host, configuration);
    let adopt = Addr::nowhere();
    rejoining::start(host, algorithm, links, detector, adopt, delivered).with(Request::Broadcast)
}

#[cfg(test)]
mod tests;
