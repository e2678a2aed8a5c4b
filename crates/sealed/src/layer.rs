//! Authenticated datagrams: what a process gets from a peer was sealed by this peer for it.
//!
//! The layer stands between an edge and the perfect link. It offers the port of the edge, and makes sessions with the
//! peers whose identities it is given. The perfect link over it is the authenticated perfect link of the book.
//!
//! # Promises
//! Of the fair-loss links that it stands on, against an adversary who reads, forges, repeats, alters and drops
//! datagrams:
//! - **FLL1 fair loss** (liveness): if the edge promises it of the datagrams that the adversary leaves alone.
//! - **FLL2 no duplication** (safety): a datagram that was transmitted once arrives at most once.
//! - **FLL3 no creation** (safety): what is delivered from a session with correct p, p transmitted to this process.
//!
//! With a perfect link above, these give:
//! - **AL1 reliable delivery** (liveness): what a correct process sends to a correct one is delivered.
//! - **AL2 no duplication** (safety): a message is delivered as often as it was sent, at most.
//! - **AL3 authenticity** (safety): if correct p delivers m from q and q is correct, q sent m to p.
//!
//! Besides: only the two can read a datagram, and not even with both secrets once the session is over.
//!
//! # Assumes
//! Any model, Byzantine peers included; fair-loss links. Each process knows the identities of the others. No two starts
//! of a process have the same incarnation. The host's generator is seeded with enough randomness that nobody can guess
//! it: what it draws is mixed with the secret, but secrecy after the loss of the secret rests on it alone.
//!
//! # Messages
//! INITIATE, p → q: begins a handshake (Noise, pattern IK). It carries no data, because it can be read by whoever gets
//! q's secret later. RESPOND, q → p: ends it. RETRY, q → p: a cookie, with which p is to begin again.
//! SEALED: a datagram of the layer above; or a word of this layer: CONFIRM, by which q learns that p has the keys;
//! CHALLENGE and ANSWER, by which a peer proves that it is at a new address. Layouts: [`frame`](crate::frame).
//!
//! # Cost
//! One round trip for a pair, once, and again after 2³² datagrams or an hour; two round trips after a restart, or while
//! strangers cause load. 30 bytes a datagram. Four key agreements at each side. Memory: three sessions a peer, a window of
//! 1,984 counters each, and at most 16 transmissions that wait. Timers: one.
//!
//! # Why it holds
//! - AL3: a datagram is delivered only if it opens under keys of a session. Only the holder of an identity that is
//!   listed for the peer's seat can have them (Noise), and the layer above gets no datagram that claims another seat
//!   (M-E4). The prologue binds the cluster, the version, the stack, the lanes, the seats and the start of the one
//!   who begins; the answer binds the start of the other.
//! - AL2: the counter is the nonce, and each session accepts each counter once. It belongs to the session and not to
//!   the layer above, so that a retransmission has a new one (M-E1). A start has no sessions of an earlier start
//!   (M-E3).
//! - AL1: forgeries change nothing. The window moves only after the tag was checked (M-E2). An answered handshake
//!   becomes the session only when the peer has used it, which nobody can who only repeats datagrams. A handshake is
//!   repeated by the one who waits for its answer; if both have begun, that of the lower seat counts at first.
//! - A repeated INITIATE of the same start has a number that is not new. One of another start needs a fresh cookie: a
//!   recorded one has none, and only the peer itself can put one on it, because the code is made with a key that follows
//!   from both identities. RESPOND and RETRY have such codes, too: who has read the question cannot answer it.
//! - If both have begun and each answers the other, the session that the lower seat has begun stays: it forgets what it has
//!   answered, and the higher seat does not.
//! - Strangers: what does not know this process's identity costs one hash. Beyond a budget a key agreement needs a
//!   cookie. Handshakes with one draw on a budget of the seat, since only its process can make them. Cookies have budgets,
//!   too: one for each listed address, and one for all others. Nothing is stored of strangers.
//! - Addresses: datagrams may come from elsewhere because somebody passes copies on. So an address counts only after
//!   it has answered a challenge inside the session, and until then both get the datagrams.
//!
//! # Source
//! Cachin, Guerraoui, Rodrigues, *Introduction to Reliable and Secure Distributed Programming*, 2.4.6 "Authenticated
//! Perfect Links", there with one code a message. The handshake is that of Perrin, *The Noise Protocol Framework*;
//! codes, cookies, counters and the change of keys follow Donenfeld, *WireGuard* (NDSS 2017), without its clock: the
//! number of a handshake counts within a start. The credit of a new address is that of RFC 9000, 8.1.
use crate::{
    frame::OVERHEAD,
    keys::{Identity, Secret},
    peers::Peers,
    session,
    settings::Settings,
    step::{Output, Step, Strangeness},
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    addressed::{self, Path},
    fair_loss::{self, datagrams},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Incarnation, Observation, Observe, ProcessId, Time, TimerId, ports,
};

ports! {
    offers fair_loss::Port => Transmit -> Arrive;
    uses edge: addressed::Port => Edge / Route;
    accepts Change => Change;
    serves News => Watch -> Tell;
    timer Timer;

    /// Starts the layer over an edge.
    pub fn spawn(host, settings: Settings) = Sealed::new(host.me(), host.incarnation(), settings);
}

/// Requests a change of who is who.
#[derive(Clone, Debug)]
pub enum Change {
    /// This seat has these identities from now on. Sessions with another one end.
    Identities(ProcessId, Vec<Identity>),
    /// This process has this secret from now on.
    Secret(Secret),
}

/// What those learn who watch sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// There is a session with this start of the peer, which has proven this identity.
    Begun(ProcessId, Incarnation, Identity),
    /// The peer has proven that it is there.
    Moved(ProcessId, Path),
    /// The session has ended, because the identity is no longer listed.
    Ended(ProcessId),
    /// Somebody there, in the place of the peer, is no party to a handshake, or refuses to be.
    Stranger(ProcessId, Path, Strangeness),
}

impl Observe for Change {
    fn observe(&self) -> Observation {
        match self {
            Change::Identities(p, _) => Observation::internal("Identities").peer(*p),
            Change::Secret(_) => Observation::internal("Secret"),
        }
    }
}

impl Observe for News {
    fn observe(&self) -> Observation {
        match self {
            News::Begun(p, ..) => Observation::internal("Begun").peer(*p),
            News::Moved(p, _) => Observation::internal("Moved").peer(*p),
            News::Ended(p) => Observation::internal("Ended").peer(*p),
            News::Stranger(p, ..) => Observation::internal("Stranger").peer(*p),
        }
    }
}

/// How much shorter the datagrams of the layer above must be than those of the edge.
pub const SHORTER: usize = OVERHEAD;

/// The longest datagram of the layer above.
pub const LONGEST: usize = session::LONGEST;

/// The layer at one process.
pub struct Sealed {
    peers: Peers,
    outputs: Vec<Output>,
    counts: Vec<&'static str>,
    watchers: Vec<Addr<News>>,
    /// The running timer, and when it fires.
    armed: Option<(Time, TimerId)>,
}

impl Algorithm for Sealed {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.step(ctx, Peers::begin);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Transmit(transmit) => self.upon_transmit(transmit, ctx),
            Event::Edge(indication) => self.upon_edge(indication, ctx),
            Event::Change(change) => self.upon_change(change, ctx),
            Event::Watch(watcher) => self.watchers.push(watcher),
            Event::Timer => self.upon_timer(ctx),
        }
    }
}

impl Sealed {
    /// The layer at the start `incarnation` of the process `me`.
    pub fn new(me: ProcessId, incarnation: Incarnation, settings: Settings) -> Self {
        Sealed {
            peers: Peers::new(me, incarnation, settings),
            outputs: Vec::new(),
            counts: Vec::new(),
            watchers: Vec::new(),
            armed: None,
        }
    }

    /// Seals the datagrams, or keeps them until there is a session.
    fn upon_transmit(&mut self, transmit: fair_loss::Transmit, ctx: &mut Ctx<Self>) {
        let fair_loss::Transmit { to, bytes, segment } = transmit;
        self.step(ctx, |peers, step| peers.send(to, bytes, segment, step));
    }

    /// AL3: hands up only what opens.
    fn upon_edge(&mut self, indication: addressed::Indication, ctx: &mut Ctx<Self>) {
        match indication {
            addressed::Indication::Arrive {
                source,
                bytes,
                segment,
            } => self.step(ctx, |peers, step| {
                for datagram in datagrams(bytes, segment) {
                    peers.receive(source, &datagram, step);
                }
            }),
            addressed::Indication::Reopened(p) => {
                self.step(ctx, |peers, step| peers.reopened(p, step));
                ctx.trigger(Effect::Arrive(fair_loss::Indication::Reopened(p)));
            }
        }
    }

    fn upon_change(&mut self, change: Change, ctx: &mut Ctx<Self>) {
        match change {
            Change::Identities(p, identities) => {
                self.step(ctx, |peers, step| peers.list(p, &identities, step));
            }
            Change::Secret(secret) => {
                self.step(ctx, |peers, step| peers.replace_secret(secret, step));
            }
        }
    }

    fn upon_timer(&mut self, ctx: &mut Ctx<Self>) {
        self.armed = None;
        self.step(ctx, Peers::fire);
    }

    /// Lets the peers act, and passes on what comes of it.
    fn step(&mut self, ctx: &mut Ctx<Self>, act: impl FnOnce(&mut Peers, &mut Step<'_>)) {
        let now = ctx.now();
        let mut step = Step {
            now,
            rng: ctx.rng(),
            outputs: &mut self.outputs,
            counts: &mut self.counts,
        };
        act(&mut self.peers, &mut step);
        for reason in self.counts.drain(..) {
            ctx.count(reason);
        }
        let mut arrived = Arrived::default();
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Transmit {
                    to,
                    path,
                    bytes,
                    segment,
                } => {
                    ctx.trigger(Effect::Route(addressed::Transmit {
                        to,
                        path,
                        bytes,
                        segment,
                    }));
                }
                Output::Deliver { bytes, .. } => arrived.push(bytes, ctx),
                Output::Begun {
                    peer,
                    incarnation,
                    identity,
                } => self.tell(News::Begun(peer, incarnation, identity), ctx),
                Output::Moved { peer, path } => self.tell(News::Moved(peer, path), ctx),
                Output::Ended(p) => self.tell(News::Ended(p), ctx),
                Output::Stranger { peer, path, why } => {
                    self.tell(News::Stranger(peer, path, why), ctx);
                }
                Output::Reopened(p) => {
                    ctx.trigger(Effect::Arrive(fair_loss::Indication::Reopened(p)));
                }
            }
        }
        arrived.flush(ctx);
        self.outputs = outputs;
        self.arm(ctx);
    }

    fn tell(&self, news: News, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Tell(news, self.watchers.clone()));
    }

    /// Arms the timer for what is due first. Handshakes with the dead never end, so they are background activity.
    fn arm(&mut self, ctx: &mut Ctx<Self>) {
        let now = ctx.now();
        let Some(due) = self.peers.due() else {
            return;
        };
        if self.armed.is_some_and(|(armed, _)| armed == due) {
            return;
        }
        let timer = ctx.after_in_background(due - now, Event::Timer);
        if let Some((_, former)) = self.armed.replace((due, timer)) {
            ctx.cancel(former);
        }
    }
}

/// Datagrams of equal length that arrived together go up together.
#[derive(Default)]
struct Arrived {
    segment: usize,
    bytes: BytesMut,
    single: Bytes,
}

impl Arrived {
    fn push(&mut self, datagram: Bytes, ctx: &mut Ctx<Sealed>) {
        if datagram.is_empty() {
            return;
        }
        if !self.single.is_empty() && datagram.len() <= self.segment && self.is_open() {
            if self.bytes.is_empty() {
                self.bytes.extend_from_slice(&self.single);
            }
            self.bytes.extend_from_slice(&datagram);
            return;
        }
        self.flush(ctx);
        self.segment = datagram.len();
        self.single = datagram;
    }

    /// Whether all datagrams so far have the same length.
    fn is_open(&self) -> bool {
        self.bytes.len().is_multiple_of(self.segment)
    }

    fn flush(&mut self, ctx: &mut Ctx<Sealed>) {
        let single = std::mem::take(&mut self.single);
        if single.is_empty() {
            return;
        }
        let many = std::mem::take(&mut self.bytes);
        let bytes = if many.is_empty() {
            single
        } else {
            many.freeze()
        };
        let segment = self.segment;
        ctx.trigger(Effect::Arrive(fair_loss::Indication::Arrive {
            bytes,
            segment,
        }));
    }
}

#[cfg(test)]
mod tests;
