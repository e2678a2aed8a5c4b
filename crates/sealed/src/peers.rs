//! All peers of one process: the state machine of the layer, without an actor around it.
use crate::{
    attempt::{Answered, Attempt, PRECEDENCE, TRIES},
    budget::Budget,
    cookie::{CodeKeys, Jar, first_of},
    frame::{self, Frame, Index, Initiate, Respond, Retry},
    keys::{Identity, Secret},
    mutant::Mutant,
    noise::{Begun, Ephemeral, Read},
    peer::{Listed, Peer, Place},
    session::{Content, Refused, Session},
    settings::Settings,
    step::{Output, Step, Strangeness},
};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_abstractions::addressed::{Path, Source};
use quorate_core::{Incarnation, ProcessId, Random, Time};
use rand::Rng;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};
use zeroize::Zeroizing;

const PROLOGUE: &[u8] = b"quorate sealed link 1";
const DRAWN: &str = "quorate 2026 drawn ephemeral v2";

/// How long an answer waits for its confirmation.
const CONFIRMATION: Duration = Duration::from_secs(5);
/// How long an answered handshake keeps this process from beginning one itself.
const ANSWERED: Duration = Duration::from_secs(1);

/// A session, for those who watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionInfo {
    /// The start of the peer.
    pub incarnation: Incarnation,
    pub identity: Identity,
    /// Where its datagrams go.
    pub path: Path,
    /// How many datagrams were sealed in it.
    pub sealed: u64,
}

/// The state machine of one process, for all its peers.
pub struct Peers {
    me: ProcessId,
    incarnation: Incarnation,
    settings: Settings,
    /// The keys of the codes that others put on what they send here.
    codes: CodeKeys,
    ephemerals: Ephemerals,
    by_seat: BTreeMap<ProcessId, Peer>,
    /// The peer of each session and of each handshake that this process has begun.
    indexes: BTreeMap<Index, ProcessId>,
    jar: Jar,
    strangers: Budget,
    /// For the cookies of those who are at no listed address.
    cookies: Budget,
}

impl Peers {
    /// The state at the start `incarnation` of the process `me`. No two starts may have the same.
    pub fn new(me: ProcessId, incarnation: Incarnation, settings: Settings) -> Peers {
        let codes = CodeKeys::new(settings.secret.identity().link_key());
        let ephemerals = Ephemerals::new(&settings, incarnation);
        let listed = settings.identities.iter().filter(|(p, _)| **p != me);
        let by_seat = listed
            .map(|(p, of)| {
                let listed = Listed::all(of, &settings.secret, settings.rules);
                (*p, Peer::new(*p, listed, &settings.limits))
            })
            .collect();
        Peers {
            me,
            incarnation,
            codes,
            ephemerals,
            by_seat,
            indexes: BTreeMap::new(),
            jar: Jar::default(),
            strangers: Budget::new(settings.limits.strangers),
            cookies: Budget::new(settings.limits.cookies),
            settings,
        }
    }

    /// Begins a handshake with every peer.
    pub fn begin(&mut self, step: &mut Step<'_>) {
        let peers: Vec<_> = self.by_seat.keys().copied().collect();
        for p in peers {
            self.dial(p, step);
        }
    }

    /// Seals datagrams for a peer, each `segment` bytes long except the last. Without a session they wait.
    pub fn send(&mut self, to: ProcessId, bytes: Bytes, segment: usize, step: &mut Step<'_>) {
        let (limits, rules) = (self.settings.limits, self.settings.rules);
        let Some(peer) = self.by_seat.get_mut(&to) else {
            return step.count("no-identity");
        };
        let wants_renewal = peer.wants_renewal(step.now, &limits);
        if peer.current.is_some() {
            peer.send(bytes, segment, rules, step);
        } else {
            peer.hold(bytes, segment, limits.held, step);
        }
        let answered = peer.answered.as_ref().map(|answered| answered.session.made);
        if wants_renewal && answered.is_none_or(|made| step.now.since(made) >= ANSWERED) {
            self.dial(to, step);
        }
    }

    /// Handles one datagram of the edge.
    pub fn receive(&mut self, source: Source, datagram: &Bytes, step: &mut Step<'_>) {
        match Frame::decode(datagram) {
            None => step.count("malformed"),
            Some(Frame::Initiate(initiate)) => {
                self.upon_initiate(source.path(initiate.from), &initiate, step);
            }
            Some(Frame::Respond(respond)) => self.upon_respond(&respond, step),
            Some(Frame::Retry(retry)) => self.upon_retry(source, &retry, step),
            Some(Frame::Sealed {
                index,
                counter,
                ciphertext,
            }) => {
                self.upon_sealed(source, (index, counter), &ciphertext, step);
            }
        }
        self.tidy();
    }

    /// The path to a peer is open again: a handshake in progress begins anew at once.
    pub fn reopened(&mut self, p: ProcessId, step: &mut Step<'_>) {
        if self
            .by_seat
            .get(&p)
            .is_some_and(|peer| peer.attempt.is_some())
        {
            self.transmit_attempt(p, step);
        }
    }

    /// Sets the identities of a seat. Sessions with another identity end.
    pub fn list(&mut self, p: ProcessId, identities: &[Identity], step: &mut Step<'_>) {
        if p == self.me {
            return;
        }
        let Settings {
            secret,
            limits,
            rules,
            ..
        } = &self.settings;
        let listed = Listed::all(identities, secret, *rules);
        let peer = self.by_seat.entry(p);
        let peer = peer.or_insert_with(|| Peer::new(p, Vec::new(), limits));
        if peer.list(listed) {
            step.outputs.push(Output::Ended(p));
        }
        if peer.current.is_none() {
            self.dial(p, step);
        }
        self.tidy();
    }

    /// This process has another secret from now on. Sessions go on: they end when the peers no longer list the identity
    /// of the former one. A handshake in progress begins anew.
    pub fn replace_secret(&mut self, secret: Secret, step: &mut Step<'_>) {
        self.codes = CodeKeys::new(secret.identity().link_key());
        self.settings.secret = secret;
        self.ephemerals.replace(&self.settings.secret);
        let mut begun = Vec::new();
        let (secret, rules) = (&self.settings.secret, self.settings.rules);
        for peer in self.by_seat.values_mut() {
            for listed in &mut peer.listed {
                *listed = Listed::new(listed.identity, secret, rules);
            }
            peer.drop_answered();
            if peer.attempt.is_some() {
                peer.drop_attempt();
                begun.push(peer.p);
            }
        }
        self.tidy();
        for p in begun {
            self.dial(p, step);
        }
    }

    /// When [`Peers::fire`] is to be called next.
    pub fn due(&self) -> Option<Time> {
        self.by_seat.values().filter_map(Peer::due).min()
    }

    /// Does what is due: repeats handshakes and challenges, forgets old keys.
    pub fn fire(&mut self, step: &mut Step<'_>) {
        let due = |peer: &Peer| peer.due().is_some_and(|due| due <= step.now);
        let peers: Vec<_> = self
            .by_seat
            .values()
            .filter(|peer| due(peer))
            .map(|peer| peer.p)
            .collect();
        for p in peers {
            self.fire_answer(p, step);
            self.fire_addresses(p, step);
            self.fire_attempt(p, step);
        }
        self.tidy();
    }

    /// The session in use with a peer.
    pub fn session(&self, p: ProcessId) -> Option<SessionInfo> {
        let peer = self.by_seat.get(&p)?;
        let session = peer.current.as_ref()?;
        Some(SessionInfo {
            incarnation: session.incarnation,
            identity: session.identity,
            path: peer.addresses.home(),
            sealed: session.sealed(),
        })
    }

    fn tidy(&mut self) {
        for peer in self.by_seat.values_mut() {
            for index in peer.freed.drain(..) {
                self.indexes.remove(&index);
            }
        }
    }

    fn draw_index(&mut self, p: ProcessId, rng: &mut Random) -> Index {
        loop {
            let index = rng.next_u32();
            if let Entry::Vacant(free) = self.indexes.entry(index) {
                free.insert(p);
                return index;
            }
        }
    }

    /// The prologue of a handshake: what all agree on, and the head of its INITIATE.
    fn prologue(&self, body: &[u8]) -> Vec<u8> {
        let head = &body[..frame::INITIATE_BODY - frame::FIRST];
        [PROLOGUE, &self.settings.agreed.0, head].concat()
    }
}

/// What this process begins.
impl Peers {
    /// Begins a handshake with a peer, unless one is in progress.
    fn dial(&mut self, p: ProcessId, step: &mut Step<'_>) {
        let Some(peer) = self
            .by_seat
            .get_mut(&p)
            .filter(|peer| peer.attempt.is_none())
        else {
            return;
        };
        // One identity after the other.
        let count = peer.listed.len().max(1) as u64;
        let Some(listed) = peer.listed.get((peer.number % count) as usize).cloned() else {
            return;
        };
        peer.number += 1;
        let number = peer.number;
        let index = self.draw_index(p, step.rng);
        let ephemeral = self.ephemerals.draw(
            step.rng,
            self.settings
                .rules
                .are_changed(Mutant::SecretsFromGenerator),
        );
        let mut body = BytesMut::with_capacity(frame::INITIATE_BODY);
        let tag = self.settings.agreed.tag();
        frame::put_initiate(
            &mut body,
            (self.me, p),
            tag,
            self.incarnation,
            number,
            index,
        );
        let prologue = self.prologue(&body);
        let theirs = listed.identity.link_key();
        let begun = Begun::new(&self.settings.secret, theirs, &prologue, ephemeral);
        let Some((begun, message)) = begun else {
            self.indexes.remove(&index);
            return step.count("bad-handshake");
        };
        body.put_slice(&message);
        let attempt = Attempt::new(begun, index, listed, body.freeze());
        if let Some(peer) = self.by_seat.get_mut(&p) {
            peer.attempt = Some(attempt);
        }
        self.transmit_attempt(p, step);
    }

    fn transmit_attempt(&mut self, p: ProcessId, step: &mut Step<'_>) {
        let limits = self.settings.limits;
        let Some(peer) = self.by_seat.get_mut(&p) else {
            return;
        };
        let pause = limits.shortest_pause.saturating_mul(1 << peer.vain.min(16));
        let pause = jittered(pause.min(limits.longest_pause), step.rng);
        // The address in the list is tried as well, if the peer was elsewhere.
        let path = if peer.vain % 2 == 0 {
            peer.addresses.home()
        } else {
            Path::Listed
        };
        peer.vain = peer.vain.saturating_add(1);
        if let Some(attempt) = &mut peer.attempt {
            attempt.tries += 1;
            attempt.due = step.now + pause;
            step.transmit(p, path, attempt.datagram());
        }
    }

    /// Repeats the INITIATE that has no answer, or begins anew.
    fn fire_attempt(&mut self, p: ProcessId, step: &mut Step<'_>) {
        let Some(peer) = self.by_seat.get_mut(&p) else {
            return;
        };
        let Some(attempt) = peer
            .attempt
            .as_ref()
            .filter(|attempt| attempt.due <= step.now)
        else {
            return;
        };
        if attempt.tries < TRIES {
            self.transmit_attempt(p, step);
        } else {
            peer.drop_attempt();
            self.dial(p, step);
        }
    }

    /// The peer, or somebody in its place, asks for a cookie.
    fn upon_retry(&mut self, source: Source, retry: &Retry, step: &mut Step<'_>) {
        let peer = self
            .by_seat
            .get_mut(&retry.from)
            .filter(|_| retry.to == self.me);
        let attempt = peer.and_then(|peer| peer.attempt.as_mut());
        let Some(attempt) = attempt.filter(|attempt| attempt.index == retry.echo) else {
            return step.count("late-answer");
        };
        if attempt.retry(retry.cookie, &retry.codes) {
            self.transmit_attempt(retry.from, step);
        } else {
            let (peer, why) = (retry.from, Strangeness::OtherIdentity);
            let path = source.path(peer);
            step.outputs.push(Output::Stranger { peer, path, why });
            step.count("bad-cookie");
        }
    }

    /// The answer to a handshake that this process has begun.
    fn upon_respond(&mut self, respond: &Respond, step: &mut Step<'_>) {
        let (limits, rules) = (self.settings.limits, self.settings.rules);
        let Some(peer) = self
            .by_seat
            .get_mut(&respond.from)
            .filter(|_| respond.to == self.me)
        else {
            return step.count("misaddressed");
        };
        // The confirmation was lost: the peer still waits.
        let waits = |session: &Session| session.began && session.mine == respond.echo;
        if peer.current.as_ref().is_some_and(waits) {
            let home = peer.addresses.home();
            return peer.say(&Content::Confirm, home, rules, step);
        }
        if peer
            .attempt
            .as_ref()
            .is_none_or(|attempt| attempt.index != respond.echo)
        {
            return step.count("late-answer");
        }
        if !peer.attempt.as_ref().is_some_and(|it| it.admits(respond)) {
            return step.count("forged");
        }
        let read = peer
            .attempt
            .as_mut()
            .and_then(|attempt| attempt.begun.read(&respond.noise));
        let Some(carried) = read else {
            return step.count("bad-handshake");
        };
        let Some(Attempt {
            begun,
            index,
            identity,
            ..
        }) = peer.attempt.take()
        else {
            return;
        };
        let Some(keys) = begun.keys() else {
            peer.freed.push(index);
            return step.count("bad-handshake");
        };
        let (mut start, mut theirs) = ([0; 8], [0; 4]);
        start.copy_from_slice(&carried[..8]);
        theirs.copy_from_slice(&carried[8..]);
        let incarnation = Incarnation(u64::from_le_bytes(start));
        let ends = (index, Index::from_le_bytes(theirs));
        let session = Session::new(keys, ends, incarnation, identity, true, step.now);
        // If both have begun and both have answered, the session that the lower seat has begun stays: the higher one keeps
        // what it has answered, and goes over to it when it is used.
        if self.me < respond.from || rules.are_changed(Mutant::BothGiveUp) {
            peer.drop_answered();
        }
        peer.adopt(session, step.now + limits.linger, step);
        peer.flush(rules, step);
    }
}

/// What others begin.
impl Peers {
    /// Somebody begins a handshake. Until the peer has shown its key nothing is stored, and no answer is longer than
    /// the question.
    fn upon_initiate(&mut self, path: Path, initiate: &Initiate, step: &mut Step<'_>) {
        let (rules, p) = (self.settings.rules, initiate.from);
        if initiate.to != self.me {
            return step.count("misaddressed");
        }
        if !self.codes.admit(initiate) {
            let why = Strangeness::ForAnother;
            step.outputs.push(Output::Stranger { peer: p, path, why });
            return step.count("misaddressed");
        }
        if initiate.context != self.settings.agreed.tag() {
            let why = Strangeness::OtherContext;
            step.outputs.push(Output::Stranger { peer: p, path, why });
            return step.count("other-context");
        }
        let Some(peer) = self.by_seat.get_mut(&p) else {
            return step.count("no-identity");
        };
        // It is repeated because its answer was lost.
        let question = initiate.bytes.slice(..frame::INITIATE_BODY);
        if let Some(answered) = peer.answered.as_ref().filter(|a| a.question == question) {
            return step.transmit(p, path, answered.datagram.clone());
        }
        let last = peer.last_number(initiate.incarnation);
        if last.is_some_and(|last| initiate.number <= last)
            && !rules.are_changed(Mutant::OldHandshakes)
        {
            return step.count("old-handshake");
        }
        let knows_another = peer.knows_another(initiate.incarnation);
        // While this process waits for its own handshake, that of the lower seat counts; but not for long, because its
        // peer may be where it cannot hear this process before it is heard.
        let waits = |attempt: &Attempt| attempt.tries < PRECEDENCE;
        if peer.attempt.as_ref().is_some_and(waits) && self.me < p && !knows_another {
            return step.count("crossed");
        }
        if !self.may_agree(path, initiate, knows_another, step) {
            return;
        }
        self.answer(path, initiate, question, step);
    }

    /// Whether an INITIATE is worth a key agreement. If not, its sender may get a cookie.
    fn may_agree(
        &mut self,
        path: Path,
        initiate: &Initiate,
        knows_another: bool,
        step: &mut Step<'_>,
    ) -> bool {
        let rules = self.settings.rules;
        let Some(peer) = self.by_seat.get_mut(&initiate.from) else {
            return false;
        };
        let pairs = peer.listed.iter().map(|listed| &listed.pair);
        let has_cookie = self
            .jar
            .admits(step.now, path, initiate, peer.answers, pairs);
        if rules.are_changed(Mutant::OneBudget) {
            return self.strangers.take(step.now);
        }
        let is_paid = if has_cookie {
            peer.budget.take(step.now)
        } else {
            !knows_another && self.strangers.take(step.now)
        };
        if is_paid {
            return true;
        }
        if has_cookie {
            step.count("over-budget");
            return false;
        }
        let cookies = match path {
            Path::Listed => &mut peer.cookies,
            Path::Address(_) => &mut self.cookies,
        };
        if !cookies.take(step.now) {
            step.count("over-budget");
            return false;
        }
        let named = (initiate.from, initiate.incarnation);
        let cookie = self
            .jar
            .cookie(step.now, step.rng, path, named, peer.answers);
        let mut codes = [[0; frame::CODE]; 2];
        for (code, listed) in codes.iter_mut().zip(&peer.listed) {
            *code = listed.pair.retry(&cookie, &first_of(initiate));
        }
        let retry = Retry {
            from: self.me,
            to: initiate.from,
            echo: initiate.index,
            cookie,
            codes,
        };
        step.transmit(initiate.from, path, retry.encode());
        step.count("cookie");
        false
    }

    /// Agrees on keys. The session counts once the peer has used it, which a repeated INITIATE cannot.
    fn answer(&mut self, path: Path, initiate: &Initiate, question: Bytes, step: &mut Step<'_>) {
        let (limits, p) = (self.settings.limits, initiate.from);
        let prologue = self.prologue(&initiate.bytes);
        let ephemeral = self.ephemerals.draw(
            step.rng,
            self.settings
                .rules
                .are_changed(Mutant::SecretsFromGenerator),
        );
        let read = Read::new(&self.settings.secret, &prologue, ephemeral, &initiate.noise);
        let Some((read, theirs)) = read else {
            return step.count("bad-handshake");
        };
        let listed = self.by_seat.get(&p).map_or(&[][..], |peer| &peer.listed);
        let is_theirs = |listed: &&Listed| *listed.identity.link_key() == theirs;
        let Some(Listed { identity, pair, .. }) = listed.iter().find(is_theirs).cloned() else {
            let why = Strangeness::UnlistedIdentity;
            step.outputs.push(Output::Stranger { peer: p, path, why });
            return step.count("unlisted-identity");
        };
        let index = self.draw_index(p, step.rng);
        let mut carried = [0; frame::CARRIED];
        carried[..8].copy_from_slice(&self.incarnation.0.to_le_bytes());
        carried[8..].copy_from_slice(&index.to_le_bytes());
        let Some((noise, keys)) = read.answer(carried) else {
            self.indexes.remove(&index);
            return step.count("bad-handshake");
        };
        let Some(peer) = self.by_seat.get_mut(&p) else {
            return;
        };
        let ends = (index, initiate.index);
        let session = Session::new(keys, ends, initiate.incarnation, identity, false, step.now);
        let mut respond = Respond {
            from: self.me,
            to: p,
            echo: initiate.index,
            noise,
            code: [0; frame::SHORT_CODE],
        };
        respond.code = pair.respond(&respond.body());
        peer.answers += 1;
        peer.drop_answered();
        let answered = Answered {
            session,
            number: initiate.number,
            question,
            datagram: respond.encode(),
            path,
            repeated: false,
            due: step.now + limits.shortest_pause,
        };
        step.transmit(p, path, answered.datagram.clone());
        peer.answered = Some(answered);
    }

    /// Repeats an answer that is not confirmed, once; then forgets it.
    fn fire_answer(&mut self, p: ProcessId, step: &mut Step<'_>) {
        let Some(peer) = self.by_seat.get_mut(&p) else {
            return;
        };
        if let Some((old, _)) = peer.previous.take_if(|(_, until)| *until <= step.now) {
            peer.freed.push(old.mine);
        }
        let Some(answered) = peer
            .answered
            .as_mut()
            .filter(|answered| answered.due <= step.now)
        else {
            return;
        };
        if !answered.repeated {
            answered.repeated = true;
            answered.due = step.now + CONFIRMATION;
            return step.transmit(p, answered.path, answered.datagram.clone());
        }
        peer.drop_answered();
        if peer.current.is_none() && peer.is_wanted() {
            self.dial(p, step);
        }
    }

    fn fire_addresses(&mut self, p: ProcessId, step: &mut Step<'_>) {
        let (limits, rules) = (self.settings.limits, self.settings.rules);
        let Some(peer) = self.by_seat.get_mut(&p) else {
            return;
        };
        let next = step.now + limits.shortest_pause;
        if let Some((path, challenge)) = peer.addresses.challenge(step.now, next) {
            peer.say(&Content::Challenge(challenge), path, rules, step);
        }
    }

    fn upon_sealed(
        &mut self,
        source: Source,
        (index, counter): (Index, u64),
        ciphertext: &Bytes,
        step: &mut Step<'_>,
    ) {
        let (limits, rules) = (self.settings.limits, self.settings.rules);
        let peer = self
            .indexes
            .get(&index)
            .and_then(|p| self.by_seat.get_mut(p));
        let Some(peer) = peer else {
            return step.count("no-session");
        };
        let Some((place, session)) = peer.session(index) else {
            return step.count("no-session");
        };
        let (content, is_highest) = match session.open(counter, ciphertext, rules) {
            Ok(opened) => opened,
            Err(Refused::Forged) => return step.count("forged"),
            Err(Refused::Repeated) => return step.count("repeated"),
            Err(Refused::Malformed) => return step.count("malformed"),
        };
        if place == Place::Next
            && let Some(Answered {
                session, number, ..
            }) = peer.answered.take()
        {
            peer.accepted = Some((session.incarnation, number));
            peer.drop_attempt();
            peer.adopt(session, step.now + limits.linger, step);
            if peer.is_wanted() {
                peer.flush(rules, step);
            }
        }
        peer.unanswered = None;
        let p = peer.p;
        let path = source.path(p);
        if place != Place::Previous && is_highest {
            let (challenge, length) = (step.rng.next_u64(), frame::SEALED_HEAD + ciphertext.len());
            if peer.addresses.heard_from(path, length, challenge, step.now) {
                self.fire_addresses(p, step);
            }
        }
        self.upon_content(p, path, content, step);
    }

    fn upon_content(&mut self, p: ProcessId, path: Path, content: Content, step: &mut Step<'_>) {
        let rules = self.settings.rules;
        let Some(peer) = self.by_seat.get_mut(&p) else {
            return;
        };
        if rules.are_changed(Mutant::EveryAddress) {
            peer.addresses.go_to(path);
        }
        match content {
            Content::Data(bytes) => {
                // M-E4: the session says who it is from.
                let claimed = (self.settings.claims)(&bytes);
                let is_honest = claimed.is_none_or(|claimed| claimed == p);
                if is_honest || rules.are_changed(Mutant::ClaimedSender) {
                    step.outputs.push(Output::Deliver { from: p, bytes });
                } else {
                    step.count("impersonation");
                }
            }
            Content::Confirm => {}
            Content::Challenge(number) => peer.say(&Content::Answer(number), path, rules, step),
            Content::Answer(number) => {
                if peer.addresses.answered(path, number) {
                    step.outputs.push(Output::Moved { peer: p, path });
                }
            }
        }
    }
}

/// Draws the ephemeral secrets of a start.
///
/// Each follows from the process's secret, its start, the number of the draw, the entropy of the start and the host's
/// generator together. So two starts never have the same, even if their generators begin alike (M-E3); who does not know
/// the secret learns nothing from a weak generator; and who gets the secret later still does not know the entropy.
struct Ephemerals {
    key: Zeroizing<[u8; 32]>,
    entropy: Zeroizing<[u8; 32]>,
    incarnation: Incarnation,
    drawn: u64,
}

impl Ephemerals {
    fn new(settings: &Settings, incarnation: Incarnation) -> Self {
        Ephemerals {
            key: settings.secret.ephemeral_key(),
            entropy: settings.entropy.clone(),
            incarnation,
            drawn: 0,
        }
    }

    /// The count goes on, so that a secret that comes back never gives the same.
    fn replace(&mut self, secret: &Secret) {
        self.key = secret.ephemeral_key();
    }

    fn draw(&mut self, rng: &mut Random, from_generator_alone: bool) -> Ephemeral {
        let mut random = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *random);
        if from_generator_alone {
            return random;
        }
        self.drawn += 1;
        let mut hasher = blake3::Hasher::new_derive_key(DRAWN);
        hasher.update(&*self.key);
        hasher.update(&*self.entropy);
        hasher.update(&self.incarnation.0.to_le_bytes());
        hasher.update(&self.drawn.to_le_bytes());
        hasher.update(&*random);
        Zeroizing::new(hasher.finalize().into())
    }
}

/// A pause, up to a quarter longer.
fn jittered(pause: Duration, rng: &mut Random) -> Duration {
    pause.mul_f64(1.0 + f64::from(rng.next_u32()) / f64::from(u32::MAX) / 4.0)
}
