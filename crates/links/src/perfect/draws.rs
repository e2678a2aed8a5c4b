//! Which start of a peer is the latest: numbered draws.
//!
//! For each start of a peer that is heard, a nonce is drawn, and the draws are numbered. An echo counts for
//! that draw and that start only. Once a draw is verified, all earlier ones are dead for ever, and their
//! starts with them. That is sound: an echo proves that its start was alive after the draw, and a start is
//! heard before its draw; so of two that are verified, the later drawn is the later one. (The nonce of the
//! first greeting is drawn before anybody is heard. It goes to the start that is heard first, whose number is
//! the lowest.) A start that is dead here can greet again, as an old datagram: it gets another draw, which it
//! does not live to echo.
//!
//! A greeting that is not verified supersedes nothing. What such greetings cost is bounded: a budget for each
//! seat, the oldest draw of the same seat goes first, and never that of the voter of the seat. Of verified
//! starts the number of the last is enough.
use super::peer::Nonce;
use quorate_core::{Incarnation, Random};
use rand::Rng;

/// So many starts of a seat that are not verified are remembered.
pub const BUDGET: usize = 8;

/// What was drawn for one start of the peer.
#[derive(Clone, Copy, Debug)]
struct Draw {
    incarnation: Incarnation,
    /// What it has to echo.
    nonce: Nonce,
    /// The so-manieth draw of the seat.
    number: u64,
    /// The nonce that it told last.
    heard: Nonce,
    /// Whether a greeting to it leaves at the end of this batch.
    due: bool,
}

/// What a greeting tells the start that it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drawn {
    /// The start; `None`: whoever is there.
    pub incarnation: Option<Incarnation>,
    /// What it has to echo; zero if nothing was drawn.
    pub nonce: Nonce,
    /// The number of the draw; zero if it is for whoever is there.
    pub number: u64,
    /// What it told; zero if nothing was heard of it.
    pub echo: Nonce,
}

/// The draws for one seat.
#[derive(Default)]
pub struct Draws {
    /// How many there were.
    count: u64,
    /// The nonce for the start that is heard first.
    spare: Nonce,
    /// The latest start that is verified.
    verified: Option<Draw>,
    /// Those that are not, in the order in which they were drawn.
    unverified: Vec<Draw>,
    /// The start that was heard last.
    latest: Option<Incarnation>,
}

/// Zero stands for "not heard".
fn draw(rng: &mut Random) -> Nonce {
    rng.next_u64() | 1
}

impl Draws {
    /// Nobody was heard.
    pub fn introduce(&mut self, rng: &mut Random) {
        self.spare = draw(rng);
    }

    fn of(&mut self, incarnation: Incarnation) -> Option<&mut Draw> {
        let mut all = self.unverified.iter_mut().chain(&mut self.verified);
        all.find(|draw| draw.incarnation == incarnation)
    }

    /// A start of the peer tells its nonce. It is verified or not; `voter` is the one known in its seat.
    pub fn hear(
        &mut self,
        incarnation: Incarnation,
        nonce: Nonce,
        voter: Option<Incarnation>,
        rng: &mut Random,
    ) {
        self.latest = Some(incarnation);
        if let Some(draw) = self.of(incarnation) {
            if nonce != 0 {
                draw.heard = nonce;
            }
            return;
        }
        self.count += 1;
        let mine = if self.count == 1 {
            self.spare
        } else {
            draw(rng)
        };
        if self.unverified.len() == BUDGET {
            let mut all = self.unverified.iter();
            let oldest = all.position(|draw| Some(draw.incarnation) != voter);
            self.unverified.remove(oldest.unwrap_or(0));
        }
        self.unverified.push(Draw {
            incarnation,
            nonce: mine,
            number: self.count,
            heard: nonce,
            due: false,
        });
    }

    /// Whether `echo` is what was drawn for this start, and the draw is not dead.
    pub fn is_echo(&self, incarnation: Incarnation, echo: Nonce) -> bool {
        let mut all = self.unverified.iter().chain(&self.verified);
        all.any(|draw| draw.incarnation == incarnation && draw.nonce == echo)
    }

    /// The start repeats `echo`. If that verifies it, all earlier draws are dead.
    pub fn verify(&mut self, incarnation: Incarnation, echo: Nonce) -> bool {
        if !self.is_echo(incarnation, echo) {
            return false;
        }
        let mut all = self.unverified.iter();
        if let Some(at) = all.position(|draw| draw.incarnation == incarnation) {
            self.verified = Some(self.unverified[at]);
            self.unverified.drain(..=at);
        }
        true
    }

    /// A start is known to hold the seat: what was drawn before for others is dead. Who echoes what is drawn
    /// from now on was alive after that start.
    pub fn outdate(&mut self, holder: Incarnation) {
        let is_holder = |draw: &Draw| draw.incarnation == holder;
        self.unverified.retain(is_holder);
        self.verified = self.verified.filter(is_holder);
        self.latest = self.latest.filter(|latest| *latest == holder);
    }

    /// A greeting to that start leaves at the end of this batch.
    pub fn answer(&mut self, incarnation: Incarnation) {
        if let Some(draw) = self.of(incarnation) {
            draw.due = true;
        }
    }

    /// Whether a greeting leaves at the end of this batch.
    pub fn are_due(&self) -> bool {
        let mut all = self.unverified.iter().chain(&self.verified);
        all.any(|draw| draw.due)
    }

    /// Those to whom a greeting leaves now, in any case, if `all_the_same`, to one start: the `present` one, or
    /// the one that was heard last.
    pub fn take_due(&mut self, all_the_same: bool, present: Option<Incarnation>) -> Vec<Drawn> {
        let target = present.or(self.latest);
        let mut due = Vec::new();
        let mut greets_target = false;
        for draw in self.unverified.iter_mut().chain(&mut self.verified) {
            let is_target = all_the_same && target == Some(draw.incarnation);
            greets_target |= is_target;
            if std::mem::take(&mut draw.due) || is_target {
                due.push(Drawn {
                    incarnation: Some(draw.incarnation),
                    nonce: draw.nonce,
                    number: draw.number,
                    echo: draw.heard,
                });
            }
        }
        if all_the_same && !greets_target {
            due.push(Drawn {
                incarnation: None,
                nonce: if self.count == 0 { self.spare } else { 0 },
                number: 0,
                echo: 0,
            });
        }
        due
    }

    /// What was drawn for the start that is verified, if it is this one.
    pub fn verified(&self, incarnation: Incarnation) -> Option<Nonce> {
        let verified = self.verified.filter(|draw| draw.incarnation == incarnation);
        verified.map(|draw| draw.nonce)
    }
}
