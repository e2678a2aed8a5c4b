//! Which processes are there, and which may take part: greetings, admission, exclusion.
//!
//! A start of a peer is *verified* once it has echoed our nonce, as [`draws`](super::draws) says. An
//! unverified greeting is answered, but nothing else in it is believed. The first verified incarnation of a
//! seat, or the one that a verified voter knows there, is its *voter*. Any other incarnation is told that it
//! may not take part.
use super::{
    algorithm::{Ctx, PerfectLink},
    frame::{self, Token, Verdict, Voter},
    hello::{Hello, VERSION},
    newcomers::is_predecessor,
    seats::Claim,
    session::{End, Session},
};
use quorate_abstractions::link::Status;
use quorate_core::{Incarnation, ProcessId};
use rand::Rng;

impl PerfectLink {
    /// Greets every process. A process that is alone is admitted at once.
    pub(super) fn introduce(&mut self, ctx: &mut Ctx) {
        for p in self.peers.others().iter() {
            self.peers.touch(p).greeting.introduce(ctx.rng());
        }
        self.upon_admissible(ctx);
    }

    /// Sends a greeting to `p`, with everything that `p` may want to know.
    pub(super) fn greet(&mut self, p: ProcessId, ctx: &mut Ctx) {
        let me = self.seats.me();
        let peer = self.peers.get(p);
        let mut hello = Hello::new(self.seats.identity(), p);
        hello.newcomer = self.seats.is_newcomer();
        hello.ready = self.seats.is_admitted() && !self.seats.is_excluded();
        // A greeting from the timer asks for everything that is still missing.
        let lacks_admission = !(peer.is_connected() && peer.has_admitted_us());
        hello.wants_reply = lacks_admission || peer.greeting.is_repeated() && !peer.is_ready();
        // The entry of the receiver's own seat comes first, in case not all entries fit.
        let start = ctx.rng().next_u64() as usize % self.seats.processes().n();
        let mut seats: Vec<ProcessId> = self.seats.processes().iter().collect();
        seats.rotate_left(start);
        // Once admitted, this process lists its own seat even when it is excluded, because then it is no
        // newcomer. A newcomer tells which incarnation it comes after.
        let tells_own = self.seats.was_adopted() || self.seats.is_admitted() || hello.newcomer;
        seats.retain(|seat| *seat != p && (*seat != me || tells_own));
        if !peer.is_closed() {
            seats.insert(0, p);
        }
        hello.voters = seats
            .into_iter()
            .filter_map(|seat| Some((seat, self.seats.voter(seat)?)))
            .collect();
        let is_last = peer.is_settled() || self.seats.is_excluded() && peer.greeting.is_fruitless();
        let now = ctx.now();
        let peer = self.peers.get_mut(p);
        let present = peer.session().map(|s| (s.incarnation(), s.nonce()));
        let due = peer
            .greeting
            .take_due(present.map(|(incarnation, _)| incarnation));
        peer.greeting.left(now, is_last, ctx.rng());
        for drawn in due {
            hello.nonce = drawn.nonce;
            hello.draw = drawn.number;
            // The nonce of the session's peer is repeated, whatever other processes said in the peer's name.
            let nonce = present.filter(|(incarnation, _)| drawn.incarnation == Some(*incarnation));
            hello.echo = nonce.map_or(drawn.echo, |(_, nonce)| nonce);
            let bytes = hello.encode(self.settings.datagram);
            Self::transmit_one(p, bytes, ctx);
        }
    }

    pub(super) fn upon_hello(&mut self, hello: Hello, ctx: &mut Ctx) {
        let from = hello.from;
        if from == self.seats.me() {
            // Two processes with the same identity do not meet: neither sends to its own address.
            return ctx.count("own identity");
        }
        let is_member = self.seats.processes().contains(from);
        if let Some(reason) = hello.difference(self.seats.identity()) {
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
        let draws = &mut self.peers.touch(from).greeting.draws;
        draws.hear(hello.incarnation, hello.nonce);
        if !draws.verify(hello.incarnation, hello.echo) {
            // An unverified start may learn our nonce, and no more.
            ctx.count("unverified");
            return draws.answer(ctx.rng());
        }
        if self.seats.is_excluded() {
            return self.answer(&hello, ctx);
        }
        if let Some(before) = hello.predecessor() {
            self.learn_voter(from, before, ctx);
        }
        self.upon_admitted_otherwise(&hello);
        match self.seats.voter(from) {
            Some(known) if known.incarnation != hello.incarnation => {
                self.upon_other(&hello, known, ctx);
            }
            _ => self.upon_voter(&hello, ctx),
        }
    }

    /// A verified incarnation has been admitted, and the incarnation known in its seat has not been, as far
    /// as this process knows. Then the known one never will be, since no two are.
    fn upon_admitted_otherwise(&mut self, hello: &Hello) {
        let from = hello.from;
        let known = self.seats.voter(from).filter(|known| known.number == 0);
        let is_other = known.is_some_and(|known| known.incarnation != hello.incarnation);
        if hello.ready && is_other && !self.peers.get(from).is_ready() {
            self.seats.prefer(from, hello.incarnation);
            self.seats.forget(from);
            let peer = self.peers.touch(from);
            peer.succeed();
            peer.greeting.draws.outdate(hello.incarnation);
        }
    }

    /// A verified greeting of the incarnation that is the voter of its seat, or becomes it now.
    fn upon_voter(&mut self, hello: &Hello, ctx: &mut Ctx) {
        let from = hello.from;
        if let Some(closed) = self.peers.get(from).closed() {
            let known = self.seats.voter(from).unwrap_or_default();
            return self.turn_away(from, hello.nonce, known, closed.verdict, ctx);
        }
        let me = self.seats.me();
        let own = hello.voters.iter().find(|(seat, _)| *seat == me);
        let own = own.map(|(_, voter)| *voter);
        let is_own = own.is_some_and(|own| own.incarnation == self.seats.identity().incarnation);
        if let Some(known) = own.filter(|_| !is_own)
            && !self.upon_known_otherwise(from, known, false, ctx)
        {
            return self.answer(hello, ctx);
        }
        let first = Voter {
            incarnation: hello.incarnation,
            number: 0,
        };
        if self.seats.voter(from).is_none() {
            self.learn_voter(from, first, ctx);
        }
        let voter = self.seats.voter(from);
        if let Some(before) = hello.predecessor()
            && voter.is_none_or(|voter| voter.number <= before.number)
        {
            self.tell_replaced(from, before.incarnation, hello.incarnation, ctx);
        }
        if let Some(own) = own.filter(|_| is_own) {
            self.upon_own_adoption(from, own, ctx);
            self.seats.admitted_by(from);
            self.peers.get_mut(from).admits_us();
            self.learn_voter(me, own, ctx);
        }
        self.connect(hello, ctx);
        for (seat, voter) in hello.voters.iter().filter(|(seat, _)| *seat != me) {
            self.learn_voter(*seat, *voter, ctx);
        }
        let peer = self.peers.get_mut(from);
        peer.note_admitted(hello.ready);
        peer.greeting.answered();
        peer.greeting.ask(hello.wants_reply);
        if peer.is_settled() {
            peer.greeting.stop();
        }
        self.upon_admissible(ctx);
        self.tell_if_flowing(from, ctx);
    }

    /// Begins the session with a verified voter, if there is none yet.
    fn connect(&mut self, hello: &Hello, ctx: &mut Ctx) {
        let peer = self.peers.get(hello.from);
        if let Some(session) = peer.session() {
            if !session.is_older_than(hello.draw) {
                return;
            }
            // The peer had to forget us before it knew us as a voter, so that no data should have flowed. If
            // data has flowed, both learn of the gap.
            if session.is_in_use() {
                self.end_stream(hello.from, ctx);
            }
        }
        let identity = self.seats.identity();
        let peer = self.peers.get_mut(hello.from);
        let Some(nonce) = peer.greeting.draws.verified(hello.incarnation) else {
            return ctx.count("unverified");
        };
        let here = End {
            process: identity.me,
            incarnation: identity.incarnation,
            nonce,
            draw: 0,
        };
        let there = End {
            process: hello.from,
            incarnation: hello.incarnation,
            nonce: hello.nonce,
            draw: hello.draw,
        };
        let lanes = self.lanes.len();
        let session = Session::new(here, there, &self.settings, lanes, ctx.now());
        peer.connect(session);
    }

    /// The first incarnation known of a seat is its voter, until another is adopted. All peers are told of
    /// it.
    pub(super) fn learn_voter(&mut self, seat: ProcessId, voter: Voter, ctx: &mut Ctx) {
        match self.seats.claim(seat, voter) {
            Claim::NoMember => return ctx.count("no member"),
            Claim::Known => return,
            Claim::Late => return ctx.count("late news of voters"),
            Claim::Conflicting => return ctx.count("conflicting voters"),
            Claim::News => {}
            Claim::Successor(known) => self.succeed(seat, voter, known, ctx),
        }
        if seat != self.seats.me() {
            let greeting = &mut self.peers.get_mut(seat).greeting;
            greeting.draws.outdate(voter.incarnation);
        }
        let now = ctx.now();
        for p in self.peers.others().iter() {
            let peer = self.peers.get_mut(p);
            if peer.is_connected() && peer.greeting.spread(now) {
                self.peers.touch(p);
            }
        }
    }

    /// Handles a verified incarnation that is not the known voter. Either it has been adopted elsewhere, or
    /// the voter has crashed and this incarnation is new.
    fn upon_other(&mut self, hello: &Hello, known: Voter, ctx: &mut Ctx) {
        let from = hello.from;
        let itself = hello.voters.iter().find(|(seat, _)| *seat == from);
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
        if !self.peers.get(from).is_closed() {
            self.close(from, Verdict::Superseded);
        }
        self.tell_replaced(from, known.incarnation, hello.incarnation, ctx);
        let verdict = if self.peers.get(from).is_ready() {
            Verdict::Taken
        } else {
            Verdict::KnownOtherwise
        };
        self.turn_away(from, hello.nonce, known, verdict, ctx);
    }

    /// Indicates, once, that another incarnation has appeared in the place of `known`.
    pub(super) fn tell_replaced(
        &mut self,
        peer: ProcessId,
        known: Incarnation,
        newcomer: Incarnation,
        ctx: &mut Ctx,
    ) {
        let status = Status::Replaced {
            peer,
            known,
            newcomer,
        };
        if self.watchers.told(peer) != Some(&status) {
            self.watchers.tell(peer, status, ctx);
        }
    }

    /// Handles a frame of a session that is not the present one.
    pub(super) fn upon_other_session(&mut self, from: ProcessId, token: Token, ctx: &mut Ctx) {
        let now = ctx.now();
        let peer = self.peers.get_mut(from);
        if peer.greeting.was_provoked(now) || peer.is_connected() {
            return;
        }
        peer.greeting.provoke(now);
        if let Some(closed) = peer.closed()
            && let Some((_, nonce)) = closed.session.filter(|(ended, _)| *ended == token)
        {
            let known = self.seats.voter(from).unwrap_or_default();
            return self.turn_away(from, nonce, known, closed.verdict, ctx);
        }
        self.peers.touch(from).greeting.ask(true);
    }

    /// A peer that repeats our nonce says that this process may not take part. That is final.
    pub(super) fn upon_excluded(
        &mut self,
        (from, incarnation): (ProcessId, Incarnation),
        echo: u64,
        known: Voter,
        verdict: Verdict,
        ctx: &mut Ctx,
    ) {
        let me = self.seats.me();
        if !self.seats.is_other(from) {
            return ctx.count("no member");
        }
        let draws = &self.peers.get(from).greeting.draws;
        if !draws.is_echo(incarnation, echo) {
            return ctx.count("unverified");
        }
        let reason = match verdict {
            Verdict::KnownOtherwise | Verdict::Taken => {
                self.upon_known_otherwise(from, known, verdict == Verdict::Taken, ctx);
                return;
            }
            Verdict::Superseded => format!("another incarnation of {me} has shown up since"),
        };
        self.close(from, verdict);
        self.exclude(from, verdict, reason, ctx);
    }

    /// This process may not take part. It still greets the peers that it has not met, a few times, so that
    /// they learn that its earlier incarnation is gone.
    pub(super) fn exclude(&mut self, by: ProcessId, verdict: Verdict, why: String, ctx: &mut Ctx) {
        if !self.seats.exclude() {
            return;
        }
        self.to_oneself.clear();
        for p in self.peers.others().iter() {
            self.peers.get_mut(p).queue.clear();
            if self.peers.get(p).is_connected() {
                self.close(p, verdict);
            }
        }
        let status = Status::Excluded { by, reason: why };
        self.watchers.tell_excluded(status, ctx);
    }

    /// Ends all exchange between the two, and frees its memory.
    fn close(&mut self, p: ProcessId, verdict: Verdict) {
        self.peers.touch(p).close(verdict);
    }

    /// Tells the incarnation of `p` that has drawn `nonce` that it may not take part.
    fn turn_away(
        &mut self,
        p: ProcessId,
        nonce: u64,
        known: Voter,
        verdict: Verdict,
        ctx: &mut Ctx,
    ) {
        ctx.count("turned away");
        let me = self.seats.identity();
        let bytes = frame::excluded(me.me, me.incarnation, nonce, known, verdict);
        Self::transmit_one(p, bytes, ctx);
    }

    /// Echoes the nonce of a peer that is incompatible, so that the peer verifies this incarnation.
    fn answer(&mut self, hello: &Hello, ctx: &mut Ctx) {
        let peer = self.peers.get_mut(hello.from);
        if !peer.is_closed() && hello.wants_reply {
            peer.greeting.draws.answer(ctx.rng());
        }
    }

    /// If enough others know this process as the voter of its seat, its messages count from now on.
    pub(super) fn upon_admissible(&mut self, ctx: &mut Ctx) {
        if self.seats.is_admitted() || !self.seats.is_admissible() {
            return;
        }
        self.seats.admit();
        self.watchers.tell_admitted(ctx);
        self.deliver_what_was_kept(ctx);
        for p in self.peers.others().iter() {
            let peer = self.peers.touch(p);
            let wanted = peer.is_connected();
            peer.greeting.ask(wanted);
            self.tell_if_flowing(p, ctx);
        }
    }

    /// A process that sends data to this one has been admitted, and has admitted this one.
    pub(super) fn learn_from_data(&mut self, from: ProcessId, ctx: &mut Ctx) {
        let peer = self.peers.get_mut(from);
        peer.note_admitted(true);
        peer.admits_us();
        peer.greeting.stop();
        self.seats.admitted_by(from);
        self.tell_if_flowing(from, ctx);
    }

    /// Whether data may be sent to `p`.
    pub(super) fn may_send(&self, p: ProcessId) -> bool {
        let peer = self.peers.get(p);
        self.seats.is_admitted() && peer.is_connected() && peer.is_settled()
    }

    fn tell_if_flowing(&mut self, p: ProcessId, ctx: &mut Ctx) {
        if !self.may_send(p) {
            return;
        }
        if let Some(session) = self.peers.get(p).session()
            && !matches!(self.watchers.told(p), Some(Status::Connected { .. }))
        {
            let incarnation = session.incarnation();
            let status = Status::Connected {
                peer: p,
                incarnation,
            };
            self.watchers.tell(p, status, ctx);
        }
    }

    pub(super) fn upon_other_version(&mut self, from: u8, version: u8, ctx: &mut Ctx) {
        ctx.count("refused");
        let reason = format!("protocol version {VERSION} here, {version} there");
        match ProcessId::from_rank(usize::from(from)) {
            Some(p) if self.seats.is_other(p) => self.refuse(p, reason, ctx),
            Some(p) => self.refuse_stranger(p, reason, ctx),
            None => ctx.count("malformed"),
        }
    }

    /// The process that greets under the peer's rank is incompatible. This says nothing about a connected
    /// peer.
    fn refuse(&mut self, p: ProcessId, reason: String, ctx: &mut Ctx) {
        let now = ctx.now();
        let peer = self.peers.get_mut(p);
        let status = Status::Refused { peer: p, reason };
        let said = self.watchers.told(p) == Some(&status);
        if !peer.is_waiting() || peer.greeting.was_refused(now) || said {
            return;
        }
        peer.greeting.refuse(now);
        self.watchers.tell(p, status, ctx);
    }

    fn refuse_stranger(&mut self, p: ProcessId, reason: String, ctx: &mut Ctx) {
        let status = Status::Refused { peer: p, reason };
        self.watchers.tell_stranger(status, ctx);
    }
}
