//! One peer: its sessions, the handshakes in progress, its addresses, and what waits for a session.
use crate::{
    address::Addresses,
    attempt::{Answered, Attempt},
    budget::Budget,
    cookie::{CodeKeys, PairKeys},
    frame::{Index, OVERHEAD},
    keys::{Identity, Secret},
    mutant::{Mutant, Rules},
    session::{Content, Session},
    settings::Limits,
    step::{Output, Step},
};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{addressed::Path, fair_loss::datagrams};
use quorate_core::{Incarnation, ProcessId, Time};
use std::collections::VecDeque;

/// How many bytes of datagrams are sealed into one buffer, if more than one is.
const AT_ONCE: usize = 60 << 10;

/// An identity of the peer's seat.
#[derive(Clone)]
pub struct Listed {
    pub identity: Identity,
    pub codes: CodeKeys,
    pub pair: PairKeys,
}

impl Listed {
    /// The identity, with the keys of the codes between its process and the one with this secret.
    pub fn new(identity: Identity, secret: &Secret, rules: Rules) -> Listed {
        let codes = CodeKeys::new(identity.link_key());
        let pair = if rules.are_changed(Mutant::CodesOfEverybody) {
            PairKeys::of_everybody()
        } else {
            PairKeys::new(secret, &identity)
        };
        Listed {
            identity,
            codes,
            pair,
        }
    }

    /// Several.
    pub fn all(identities: &[Identity], secret: &Secret, rules: Rules) -> Vec<Listed> {
        let one = |identity: &Identity| Listed::new(*identity, secret, rules);
        identities.iter().map(one).collect()
    }
}

/// Which of a peer's sessions an index names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Current,
    Previous,
    /// Answered, and not confirmed yet.
    Next,
}

/// What this process knows of a peer. Its memory is fixed, but for the transmissions that wait, which are bounded.
pub struct Peer {
    pub p: ProcessId,
    pub listed: Vec<Listed>,
    pub addresses: Addresses,
    /// Under which this process seals.
    pub current: Option<Session>,
    /// Under which the peer may still seal, until this time.
    pub previous: Option<(Session, Time)>,
    pub answered: Option<Answered>,
    pub attempt: Option<Attempt>,
    /// How many handshakes this start has begun with the peer.
    pub number: u64,
    /// How many transmissions of INITIATE were in vain.
    pub vain: u32,
    /// The peer's start, and the number of its last handshake, that are confirmed.
    pub accepted: Option<(Incarnation, u64)>,
    /// How many of its handshakes were answered.
    pub answers: u64,
    /// Since when nothing came, although something was sent.
    pub unanswered: Option<Time>,
    pub budget: Budget,
    /// For cookies that go to the listed address.
    pub cookies: Budget,
    held: VecDeque<(Bytes, usize)>,
    has_lost: bool,
    /// The indexes of sessions that have ended.
    pub freed: Vec<Index>,
}

impl Peer {
    /// A peer that was never heard.
    pub fn new(p: ProcessId, listed: Vec<Listed>, limits: &Limits) -> Peer {
        Peer {
            p,
            listed,
            addresses: Addresses::default(),
            current: None,
            previous: None,
            answered: None,
            attempt: None,
            number: 0,
            vain: 0,
            accepted: None,
            answers: 0,
            unanswered: None,
            budget: Budget::new(limits.each_member),
            cookies: Budget::new(limits.each_member),
            held: VecDeque::new(),
            has_lost: false,
            freed: Vec::new(),
        }
    }

    /// Keeps a transmission until there is a session.
    pub fn hold(&mut self, bytes: Bytes, segment: usize, limit: usize, step: &mut Step<'_>) {
        self.held.push_back((bytes, segment));
        if self.held.len() > limit {
            self.held.pop_front();
            self.has_lost = true;
            step.count("no-session");
        }
    }

    /// Whether something waits for a session.
    pub fn is_wanted(&self) -> bool {
        !self.held.is_empty() || self.has_lost
    }

    /// Seals datagrams of the layer above, and transmits them.
    pub fn send(&mut self, mut bytes: Bytes, segment: usize, rules: Rules, step: &mut Step<'_>) {
        // Not more at once than an edge sends at once: large buffers are slow to get.
        let most = (AT_ONCE / segment.max(1)).max(1) * segment.max(1);
        while bytes.len() > most {
            self.send_at_once(bytes.split_to(most), segment, rules, step);
        }
        self.send_at_once(bytes, segment, rules, step);
    }

    fn send_at_once(&mut self, bytes: Bytes, segment: usize, rules: Rules, step: &mut Step<'_>) {
        let Some(session) = &mut self.current else {
            return;
        };
        let count = bytes.len().div_ceil(segment.max(1));
        let mut out = BytesMut::with_capacity(bytes.len() + count * OVERHEAD);
        let mut first = None;
        for datagram in datagrams(bytes, segment) {
            let before = out.len();
            if session.seal(&Content::Data(datagram), rules, &mut out) {
                first.get_or_insert(out.len() - before);
            } else {
                step.count("too-long");
            }
        }
        let Some(segment) = first else {
            return;
        };
        self.unanswered.get_or_insert(step.now);
        self.transmit(out.freeze(), segment, step);
    }

    /// Transmits to the peer's address, and beside it to the one that it may have moved to.
    fn transmit(&mut self, bytes: Bytes, segment: usize, step: &mut Step<'_>) {
        let (to, path) = (self.p, self.addresses.home());
        if let Some(path) = self.addresses.beside(bytes.len()) {
            let bytes = bytes.clone();
            step.outputs.push(Output::Transmit {
                to,
                path,
                bytes,
                segment,
            });
        }
        step.outputs.push(Output::Transmit {
            to,
            path,
            bytes,
            segment,
        });
    }

    /// Seals a word of this layer, for this address.
    pub fn say(&mut self, content: &Content, path: Path, rules: Rules, step: &mut Step<'_>) {
        let mut out = BytesMut::new();
        if let Some(session) = &mut self.current
            && session.seal(content, rules, &mut out)
        {
            step.transmit(self.p, path, out.freeze());
        }
    }

    /// Transmits all that has waited for a session, or else a word that confirms it.
    pub fn flush(&mut self, rules: Rules, step: &mut Step<'_>) {
        if std::mem::take(&mut self.has_lost) {
            step.outputs.push(Output::Reopened(self.p));
        }
        if self.held.is_empty() {
            let home = self.addresses.home();
            self.say(&Content::Confirm, home, rules, step);
        }
        for (bytes, segment) in std::mem::take(&mut self.held) {
            self.send(bytes, segment, rules, step);
        }
    }

    /// This process seals under the new session from now on. What comes under the last one is read for a while, unless
    /// it belongs to an earlier start of the peer.
    pub fn adopt(&mut self, session: Session, linger: Time, step: &mut Step<'_>) {
        let (peer, incarnation, identity) = (self.p, session.incarnation, session.identity);
        if let Some((old, _)) = self.previous.take() {
            self.freed.push(old.mine);
        }
        let replaced = self.current.replace(session);
        let may_have_lost = replaced.is_some();
        if let Some(old) = replaced {
            if old.incarnation == incarnation {
                self.previous = Some((old, linger));
            } else {
                self.freed.push(old.mine);
            }
        }
        self.vain = 0;
        self.unanswered = None;
        step.outputs.push(Output::Begun {
            peer,
            incarnation,
            identity,
        });
        // If the peer has ended the last session, what was sealed under it since then is lost.
        if may_have_lost {
            step.outputs.push(Output::Reopened(peer));
        }
    }

    /// Gives up the handshake that this process has begun.
    pub fn drop_attempt(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            self.freed.push(attempt.index);
        }
    }

    /// Gives up the session that the peer has not used.
    pub fn drop_answered(&mut self) {
        if let Some(answered) = self.answered.take() {
            self.freed.push(answered.session.mine);
        }
    }

    /// Ends what rests on an identity that is no longer listed. Returns whether the session in use was ended.
    pub fn list(&mut self, listed: Vec<Listed>) -> bool {
        let is_listed = |identity: &Identity| listed.iter().any(|l| l.identity == *identity);
        if self
            .attempt
            .as_ref()
            .is_some_and(|attempt| !is_listed(&attempt.identity))
        {
            self.drop_attempt();
        }
        if self
            .answered
            .as_ref()
            .is_some_and(|a| !is_listed(&a.session.identity))
        {
            self.drop_answered();
        }
        let ended = self
            .current
            .take_if(|session| !is_listed(&session.identity));
        let has_ended = ended.is_some();
        if let Some(old) = ended {
            self.freed.push(old.mine);
        }
        if let Some((old, _)) = self.previous.take_if(|(old, _)| !is_listed(&old.identity)) {
            self.freed.push(old.mine);
        }
        self.listed = listed;
        has_ended
    }

    /// The session that this index names.
    pub fn session(&mut self, index: Index) -> Option<(Place, &mut Session)> {
        if let Some(session) = self.current.as_mut().filter(|s| s.mine == index) {
            return Some((Place::Current, session));
        }
        if let Some((session, _)) = self.previous.as_mut().filter(|(s, _)| s.mine == index) {
            return Some((Place::Previous, session));
        }
        let answered = self.answered.as_mut().filter(|a| a.session.mine == index);
        answered.map(|answered| (Place::Next, &mut answered.session))
    }

    /// Whether the keys are to be replaced, or the peer seems to have lost them. Who has begun the session is the first
    /// to replace it.
    pub fn wants_renewal(&self, now: Time, limits: &Limits) -> bool {
        let Some(session) = &self.current else {
            return true;
        };
        let (mut datagrams, mut age) = (limits.renew_after_datagrams, limits.renew_after);
        if !session.began {
            datagrams = datagrams.saturating_add(datagrams / 8);
            age += age / 8;
        }
        session.sealed() >= datagrams
            || now.since(session.made) >= age
            || self
                .unanswered
                .is_some_and(|since| now.since(since) >= limits.silence)
    }

    /// The highest number of a handshake that is known of this start.
    pub fn last_number(&self, incarnation: Incarnation) -> Option<u64> {
        let answered = self
            .answered
            .as_ref()
            .map(|a| (a.session.incarnation, a.number));
        let known = [self.accepted, answered].into_iter().flatten();
        known
            .filter(|(start, _)| *start == incarnation)
            .map(|(_, number)| number)
            .max()
    }

    /// Whether another start of the peer is known.
    pub fn knows_another(&self, incarnation: Incarnation) -> bool {
        let answered = self.answered.as_ref().map(|a| a.session.incarnation);
        let accepted = self.accepted.map(|(start, _)| start);
        let current = self.current.as_ref().map(|session| session.incarnation);
        [answered, accepted, current]
            .into_iter()
            .flatten()
            .any(|start| start != incarnation)
    }

    /// When something is to be done.
    pub fn due(&self) -> Option<Time> {
        let due = [
            self.attempt.as_ref().map(|attempt| attempt.due),
            self.answered.as_ref().map(|answered| answered.due),
            self.previous.as_ref().map(|(_, until)| *until),
            self.addresses.due(),
        ];
        due.into_iter().flatten().min()
    }
}
