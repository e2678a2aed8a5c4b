//! Who is there, and who may take part: greetings, admission, exclusion.
//!
//! A peer is *verified* once it has echoed our nonce; what an unverified greeting says is answered,
//! and otherwise believed in nothing. The first verified incarnation of a slot, or the one that a
//! verified voter knows there, is its *voter*. Any other is told that it may not take part.
use super::{
    algorithm::{Ctx, PerfectLink},
    congestion::{Congestion, RoundTrip},
    datagrams::Passage,
    events::Effect,
    frame::{Token, Verdict, Voter},
    hello::{Hello, VERSION},
    newcomers::is_predecessor,
    outbox::Outbox,
    peer::{End, Session, Standing},
    receiving::Receiving,
    sending::Sending,
    transmission::jittered,
};
use quorate_abstractions::{fair_loss::Transmit, link::Status};
use quorate_core::{Addr, ProcessId, Random};
use rand::Rng;
use std::time::Duration;

/// Greetings that are not answered are repeated after this, then ever more slowly,
const GREETING: Duration = Duration::from_millis(20);
/// up to this.
pub const SLOWEST_GREETING: Duration = Duration::from_secs(1);
/// So many unanswered greetings keep a simulated run open.
pub const FOREGROUND_GREETINGS: u32 = 8;
/// News of voters waits so long for more of it.
const SPREADING: Duration = Duration::from_millis(50);
/// What a stranger's frame provokes leaves at most so often.
const PROVOKED: Duration = Duration::from_millis(20);
/// A refusal that reads differently is indicated at most so often.
const REFUSING: Duration = Duration::from_secs(1);

impl PerfectLink {
    /// Greets everybody. A process alone needs nobody.
    pub(super) fn introduce(&mut self, ctx: &mut Ctx) {
        for p in self.processes.others(self.identity.me).iter() {
            let peer = &mut self.peers[p.index()];
            // Zero stands for "not heard".
            peer.nonce = ctx.rng().next_u64() | 1;
            peer.greeting.due = true;
            self.touched.insert(p);
        }
        self.upon_admissible(ctx);
    }

    /// A greeting to `p`, with all that it may want to know.
    pub(super) fn greet(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let me = self.identity.me;
        let peer = &self.peers[p.index()];
        let mut hello = Hello::new(&self.identity, p);
        hello.nonce = peer.nonce;
        hello.echo = peer.heard_nonce;
        hello.ready = self.admitted && self.excluded.is_none();
        // On the timer everything is asked for that is still missing.
        let lacks_admission = !(peer.is_connected() && peer.admitted_us);
        hello.wants_reply = lacks_admission || peer.greeting.fruitless > 0 && !peer.ready;
        // What the receiver is known as comes first, in case not all of it fits.
        let start = ctx.rng().next_u64() as usize % self.processes.n();
        let mut slots: Vec<ProcessId> = self.processes.iter().collect();
        slots.rotate_left(start);
        // Once admitted, it says so even when excluded: it is no newcomer then.
        let was_adopted = self.voters[me.index()].is_some_and(|own| own.number > 0);
        slots.retain(|slot| *slot != p && (*slot != me || was_adopted || self.admitted));
        if !peer.is_closed() {
            slots.insert(0, p);
        }
        hello.voters = slots
            .into_iter()
            .filter_map(|slot| Some((slot, self.voters[slot.index()]?)))
            .collect();
        let bytes = hello.encode(self.configuration.datagram);
        let segment = bytes.len();
        ctx.trigger(Effect::Transmit(Transmit {
            to: p,
            bytes,
            segment,
        }));
        let now = ctx.now();
        let peer = &mut self.peers[p.index()];
        let over = peer.is_settled() && !peer.is_lost()
            || self.excluded.is_some() && peer.greeting.fruitless >= FOREGROUND_GREETINGS;
        // Whatever a stranger said in between, the next greeting is for the peer of the session.
        if let Standing::Connected(session) = &peer.standing {
            peer.heard_nonce = session.nonce;
        }
        let greeting = &mut peer.greeting;
        greeting.due = false;
        greeting.at = (!over).then(|| now + pause(greeting.fruitless, ctx.rng()));
    }

    pub(super) fn upon_hello(&mut self, hello: Hello, ctx: &mut Ctx) {
        let from = hello.from;
        if from == self.identity.me {
            // Two processes under one identity do not meet: neither sends to its own address.
            return ctx.count("own identity");
        }
        let is_member = self.processes.contains(from);
        if let Some(reason) = hello.difference(&self.identity) {
            ctx.count("refused");
            return if is_member {
                self.refuse(from, reason, ctx);
            } else {
                self.refuse_stranger(from, reason, ctx);
            };
        }
        if !is_member {
            return ctx.count("no member");
        }
        let peer = &mut self.peers[from.index()];
        self.touched.insert(from);
        if hello.echo != peer.nonce {
            // Not verified: it may learn our nonce, no more.
            ctx.count("unverified");
            peer.heard_nonce = hello.nonce;
            peer.greeting.due = true;
            return;
        }
        if self.excluded.is_some() {
            return self.answer(&hello);
        }
        match self.voters[from.index()] {
            Some(known) if known.incarnation != hello.incarnation => {
                self.upon_other(&hello, known, ctx);
            }
            _ => self.upon_voter(&hello, ctx),
        }
    }

    /// A verified greeting of the incarnation that is the voter of its slot, or becomes it now.
    fn upon_voter(&mut self, hello: &Hello, ctx: &mut Ctx) {
        let from = hello.from;
        let peer = &mut self.peers[from.index()];
        if let Standing::Closed { verdict, .. } = peer.standing {
            // It may have lost us as well, and has to verify our greetings then.
            peer.heard_nonce = hello.nonce;
            let known = self.voters[from.index()].unwrap_or_default();
            return self.turn_away(from, hello.nonce, known, verdict, ctx);
        }
        let me = self.identity.me;
        let own = hello.voters.iter().find(|(slot, _)| *slot == me);
        let own = own.map(|(_, voter)| *voter);
        let is_own = own.is_some_and(|own| own.incarnation == self.identity.incarnation);
        if let Some(known) = own.filter(|_| !is_own)
            && !self.upon_known_otherwise(from, known, ctx)
        {
            return self.answer(hello);
        }
        let first = Voter {
            incarnation: hello.incarnation,
            number: 0,
        };
        if self.voters[from.index()].is_none() {
            self.learn_voter(from, first, ctx);
        }
        if let Some(own) = own.filter(|_| is_own) {
            self.upon_own_adoption(from, own, ctx);
            self.admitted_by.insert(from);
            self.peers[from.index()].admitted_us = true;
            self.learn_voter(me, own, ctx);
        }
        self.connect(hello, ctx);
        for (slot, voter) in hello.voters.iter().filter(|(slot, _)| *slot != me) {
            self.learn_voter(*slot, *voter, ctx);
        }
        let peer = &mut self.peers[from.index()];
        peer.ready |= hello.ready;
        peer.greeting.fruitless = 0;
        peer.greeting.due |= hello.wants_reply;
        if peer.is_settled() {
            peer.greeting.at = None;
        }
        self.upon_admissible(ctx);
        self.tell_if_flowing(from, ctx);
    }

    /// Begins the session with a verified voter, if there is none yet.
    fn connect(&mut self, hello: &Hello, ctx: &mut Ctx) {
        let configuration = &self.configuration;
        let peer = &mut self.peers[hello.from.index()];
        if peer.is_connected() {
            return;
        }
        let here = End {
            process: self.identity.me,
            incarnation: self.identity.incarnation,
            nonce: peer.nonce,
        };
        let there = End {
            process: hello.from,
            incarnation: hello.incarnation,
            nonce: hello.nonce,
        };
        let round_trip = RoundTrip::new(
            configuration.lowest_timeout(),
            configuration.highest_timeout(),
        );
        let congestion = Congestion::new(
            configuration.window(),
            configuration.datagram,
            configuration.stream,
        );
        let token = Token::of(here, there);
        peer.heard_nonce = hello.nonce;
        peer.passage = Some(Passage::new(token));
        peer.standing = Standing::Connected(Box::new(Session {
            incarnation: hello.incarnation,
            nonce: hello.nonce,
            token,
            sending: Sending::new(round_trip, congestion, configuration.stream),
            receiving: Receiving::new(
                configuration.maximum_message,
                configuration.window(),
                self.lanes.len(),
            ),
            stamp: 0,
            heard_at: ctx.now(),
            deaf: false,
        }));
    }

    /// The first incarnation known of a slot is its voter, until another is adopted; it is told to
    /// everybody.
    pub(super) fn learn_voter(&mut self, slot: ProcessId, voter: Voter, ctx: &mut Ctx) {
        let Some(known) = self.voters.get_mut(slot.index()) else {
            return ctx.count("no member");
        };
        match known {
            Some(known) if *known == voter => return,
            Some(known) if voter.number < known.number => return ctx.count("late news of voters"),
            Some(known) if voter.number == known.number => return ctx.count("conflicting voters"),
            Some(known) if known.incarnation == voter.incarnation && slot != self.identity.me => {
                *known = voter;
            }
            Some(_) => self.succeed(slot, voter, ctx),
            None => *known = Some(voter),
        }
        let at = ctx.now() + SPREADING;
        for peer in &mut self.peers {
            if peer.is_connected() && peer.greeting.at.is_none() {
                peer.greeting.at = Some(at);
                self.touched.insert(peer.id);
            }
        }
    }

    /// A verified incarnation that is not the voter known: that has been adopted elsewhere, or the voter
    /// has crashed, and this one is new.
    fn upon_other(&mut self, hello: &Hello, known: Voter, ctx: &mut Ctx) {
        let from = hello.from;
        let itself = hello.voters.iter().find(|(slot, _)| *slot == from);
        if let Some((_, voter)) = itself
            && voter.incarnation == hello.incarnation
            && voter.number > known.number
        {
            self.learn_voter(from, *voter, ctx);
            return self.upon_voter(hello, ctx);
        }
        if is_predecessor(hello, known) {
            return self.turn_away(from, hello.nonce, known, Verdict::KnownOtherwise, ctx);
        }
        if !self.peers[from.index()].is_closed() {
            self.close(from, Verdict::Superseded);
        }
        self.peers[from.index()].passage = None;
        let status = Status::Replaced {
            peer: from,
            known: known.incarnation,
            newcomer: hello.incarnation,
        };
        if self.peers[from.index()].told.as_ref() != Some(&status) {
            self.tell(from, status, ctx);
        }
        self.turn_away(from, hello.nonce, known, Verdict::KnownOtherwise, ctx);
    }

    /// A frame of a session that is not the present one.
    pub(super) fn upon_other_session(&mut self, from: ProcessId, token: Token, ctx: &mut Ctx) {
        let now = ctx.now();
        let known = self.voters[from.index()].unwrap_or_default();
        let peer = &mut self.peers[from.index()];
        if peer.provoked_at.is_some_and(|at| now - at < PROVOKED) {
            return;
        }
        match peer.standing {
            Standing::Closed {
                verdict,
                session: Some((closed, nonce)),
            } if closed == token => {
                peer.provoked_at = Some(now);
                self.turn_away(from, nonce, known, verdict, ctx);
            }
            Standing::Waiting | Standing::Closed { .. } => {
                peer.provoked_at = Some(now);
                peer.greeting.due = true;
                self.touched.insert(from);
            }
            Standing::Connected(_) => {}
        }
    }

    /// Told that it may not take part, by one who repeats our nonce: so be it, for good.
    pub(super) fn upon_excluded(
        &mut self,
        from: ProcessId,
        echo: u64,
        known: Voter,
        verdict: Verdict,
        ctx: &mut Ctx,
    ) {
        let me = self.identity.me;
        if !self.processes.contains(from) || from == me {
            return ctx.count("no member");
        }
        if echo != self.peers[from.index()].nonce {
            return ctx.count("unverified");
        }
        if self.lost_mutually(from, verdict) {
            return ctx.count("mutual loss");
        }
        let reason = match verdict {
            Verdict::KnownOtherwise => {
                self.upon_known_otherwise(from, known, ctx);
                return;
            }
            Verdict::Lost => {
                format!("{from} has lost {me}, which did not acknowledge for too long")
            }
            Verdict::Superseded => format!("another incarnation of {me} has shown up since"),
        };
        self.close(from, verdict);
        self.exclude(from, verdict, reason, ctx);
    }

    /// This process may not take part. It still greets those it has not met, a few times, so that
    /// they learn that its earlier incarnation is gone. Fair-loss lanes go on if it was only lost.
    pub(super) fn exclude(&mut self, by: ProcessId, verdict: Verdict, why: String, ctx: &mut Ctx) {
        if verdict != Verdict::Lost {
            self.silence();
        }
        if self.excluded.is_some() {
            return;
        }
        let status = Status::Excluded { by, reason: why };
        self.excluded = Some(status.clone());
        self.to_oneself.clear();
        for p in self.processes.others(self.identity.me).iter() {
            self.peers[p.index()].outbox = Outbox::default();
            if self.peers[p.index()].is_connected() {
                self.close(p, verdict);
            }
        }
        self.indicate(status, ctx);
    }

    /// Echoes the peer's nonce, so that it verifies this incarnation, which it cannot talk to.
    fn answer(&mut self, hello: &Hello) {
        let peer = &mut self.peers[hello.from.index()];
        peer.heard_nonce = hello.nonce;
        peer.greeting.due |= !peer.is_closed() && hello.wants_reply;
    }

    /// Enough others know this process as the voter of its slot: what it sends counts from now on.
    pub(super) fn upon_admissible(&mut self, ctx: &mut Ctx) {
        if self.admitted || !self.is_admissible() {
            return;
        }
        self.admitted = true;
        self.indicate(Status::Admitted, ctx);
        for (lane, message) in std::mem::take(&mut self.to_oneself) {
            self.deliver_to_oneself(lane, message, ctx);
        }
        for p in self.processes.others(self.identity.me).iter() {
            let peer = &mut self.peers[p.index()];
            peer.greeting.due |= peer.is_connected();
            self.touched.insert(p);
            self.tell_if_flowing(p, ctx);
        }
    }

    /// Whether no other incarnation of this process has been admitted, or ever will be; or whether this
    /// one was adopted.
    fn is_admissible(&self) -> bool {
        let own = self.voters[self.identity.me.index()];
        if own.is_some_and(|own| own.number > 0 && own.incarnation == self.identity.incarnation) {
            return true;
        }
        if self.is_newcomer {
            return false;
        }
        let needed = self.configuration.admission.others(&self.processes);
        self.admitted_by.len() >= needed
    }

    /// Whoever sends data to this process has been admitted, and has admitted it.
    pub(super) fn learn_from_data(&mut self, from: ProcessId, ctx: &mut Ctx) {
        let peer = &mut self.peers[from.index()];
        peer.ready = true;
        peer.admitted_us = true;
        peer.greeting.at = None;
        self.admitted_by.insert(from);
        self.tell_if_flowing(from, ctx);
    }

    /// Whether data may be sent to `p`.
    pub(super) fn may_send(&self, p: ProcessId) -> bool {
        let peer = &self.peers[p.index()];
        self.admitted && peer.is_connected() && peer.is_settled()
    }

    fn tell_if_flowing(&mut self, p: ProcessId, ctx: &mut Ctx) {
        if !self.may_send(p) {
            return;
        }
        let peer = &self.peers[p.index()];
        if let Standing::Connected(session) = &peer.standing
            && !matches!(peer.told, Some(Status::Connected { .. }))
        {
            let incarnation = session.incarnation;
            let status = Status::Connected {
                peer: p,
                incarnation,
            };
            self.tell(p, status, ctx);
        }
    }

    pub(super) fn upon_other_version(&mut self, from: u8, version: u8, ctx: &mut Ctx) {
        ctx.count("refused");
        let reason = format!("protocol version {VERSION} here, {version} there");
        match ProcessId::from_rank(usize::from(from)) {
            Some(p) if self.processes.contains(p) && p != self.identity.me => {
                self.refuse(p, reason, ctx);
            }
            Some(p) => self.refuse_stranger(p, reason, ctx),
            None => ctx.count("malformed"),
        }
    }

    /// What greets under the peer's rank cannot be talked to. Of a connected peer it says nothing.
    fn refuse(&mut self, p: ProcessId, reason: String, ctx: &mut Ctx) {
        let now = ctx.now();
        let peer = &mut self.peers[p.index()];
        let status = Status::Refused { peer: p, reason };
        let recently = peer.refused_at.is_some_and(|at| now - at < REFUSING);
        let waits = matches!(peer.standing, Standing::Waiting);
        if !waits || recently || peer.told.as_ref() == Some(&status) {
            return;
        }
        peer.refused_at = Some(now);
        self.tell(p, status, ctx);
    }

    fn refuse_stranger(&mut self, p: ProcessId, reason: String, ctx: &mut Ctx) {
        if self.stranger.is_none() {
            let status = Status::Refused { peer: p, reason };
            self.stranger = Some(status.clone());
            self.indicate(status, ctx);
        }
    }

    pub(super) fn tell(&mut self, p: ProcessId, status: Status, ctx: &mut Ctx) {
        self.peers[p.index()].told = Some(status.clone());
        self.indicate(status, ctx);
    }

    pub(super) fn indicate(&self, status: Status, ctx: &mut Ctx) {
        ctx.trigger(Effect::Status(self.watchers.clone(), status));
    }

    /// The present state first, then every change.
    pub(super) fn upon_watch(&mut self, watcher: Addr<Status>, ctx: &mut Ctx) {
        let told = self.peers.iter().filter_map(|peer| peer.told.clone());
        let own = self.admitted.then_some(Status::Admitted);
        let late = self.newcomer.clone().into_iter();
        let present = late
            .chain(own)
            .chain(told)
            .chain(self.stranger.clone())
            .chain(self.excluded.clone());
        for status in present {
            ctx.trigger(Effect::Status(vec![watcher.clone()], status));
        }
        self.watchers.push(watcher);
    }
}

/// When to greet again.
fn pause(fruitless: u32, rng: &mut Random) -> Duration {
    let pause = (GREETING * (1 << fruitless.min(6))).min(SLOWEST_GREETING);
    jittered(pause, rng)
}
