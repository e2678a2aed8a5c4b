//! Numbered draws, by which a process finds out which start of a peer is the latest.
//!
//! A process numbers its draws for a seat. In one draw each start of the peer has a nonce of its own, which
//! is told to the start that was heard under that name. An echo counts for that draw and that start only.
//! Once a start is verified, its draw is over, and so are all earlier ones, with the nonces of all other
//! starts, for ever. That is sound: an echo proves that its start was alive after the draw began, and in the
//! same draw a start is heard before it is told the nonce that it echoes. So of two verified starts, the one
//! of the later draw is the later start. (The nonce of the first greeting is told before any start is heard.
//! It goes to the start that is heard first, in the first draw, which is later than no other.) A dead start
//! can seem to greet again, when an old datagram arrives: it is told a nonce of the present draw, which it
//! does not live to echo. A start that is alive, but whose draw was ended by another, is told a new nonce
//! when it greets again.
//!
//! A greeting that is not verified supersedes nothing, and nothing is kept of it: the nonce of a start in a draw
//! is a keyed hash of the two, so that it is known again when it comes back. So strangers may greet as often
//! as they like: they end no draw, since they are told no nonce, and there is nothing that they could fill. Of
//! those that greet in one batch a few are answered, chosen at random.
use quorate_core::{Incarnation, Random};
use rand::{Rng, SeedableRng};

/// A random number that only someone who was sent it can repeat.
pub type Nonce = u64;

/// The most greetings of one seat that are answered at the end of a batch.
pub const ANSWERS: usize = 64;

/// The nonce that one start of the peer has to echo.
#[derive(Clone, Copy, Debug)]
struct Draw {
    incarnation: Incarnation,
    nonce: Nonce,
    /// The number of the nonce's draw.
    number: u64,
}

/// The contents of a greeting that are meant for one start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drawn {
    /// The start; `None` for any start.
    pub incarnation: Option<Incarnation>,
    /// The nonce that the start has to echo; zero if none was drawn.
    pub nonce: Nonce,
    /// The number of the draw; zero if the greeting is for any start.
    pub number: u64,
    /// The nonce that the start told; zero if it was not heard.
    pub echo: Nonce,
}

/// The draws for one seat.
#[derive(Default)]
pub struct Draws {
    /// The key of the hash, which no other process knows.
    key: [u8; 16],
    /// The nonce for the start that is heard first, in the first draw.
    spare: Nonce,
    first: Option<Incarnation>,
    /// The number of the last draw that is over.
    ended: u64,
    /// The latest start that is verified.
    verified: Option<Draw>,
    /// The start that others know as the holder of the seat, if it is not verified. Its nonce outlives its
    /// draw.
    holder: Option<Draw>,
    /// The start that was heard last, and its nonce.
    latest: Option<(Incarnation, Nonce)>,
    /// The starts that are greeted at the end of this batch, and their nonces.
    due: Vec<(Incarnation, Nonce)>,
    /// How many starts asked for a greeting in this batch.
    asked: u64,
}

impl Draws {
    /// Draws the first nonce and the key, before any start was heard.
    pub fn introduce(&mut self, rng: &mut Random) {
        self.spare = rng.next_u64() | 1;
        rng.fill_bytes(&mut self.key);
    }

    /// The nonce that the start has to echo: the nonce of its verification, or else that of the present draw.
    fn of(&self, incarnation: Incarnation) -> Draw {
        let mut kept = self.verified.iter().chain(&self.holder);
        if let Some(draw) = kept.find(|draw| draw.incarnation == incarnation) {
            return *draw;
        }
        let number = self.ended + 1;
        let nonce = if number == 1 && self.first == Some(incarnation) {
            self.spare
        } else {
            hash(self.key, incarnation, number)
        };
        Draw {
            incarnation,
            nonce,
            number,
        }
    }

    /// A start of the peer tells its nonce.
    pub fn hear(&mut self, incarnation: Incarnation, nonce: Nonce) {
        self.first.get_or_insert(incarnation);
        let told = if nonce == 0 {
            self.told_by(incarnation)
        } else {
            nonce
        };
        self.latest = Some((incarnation, told));
    }

    /// The nonce that the start told, if it was heard last; zero otherwise.
    fn told_by(&self, incarnation: Incarnation) -> Nonce {
        let latest = self.latest.filter(|(latest, _)| *latest == incarnation);
        latest.map_or(0, |(_, told)| told)
    }

    /// Whether `echo` is the nonce drawn for this start, and the draw is not over for the start.
    pub fn is_echo(&self, incarnation: Incarnation, echo: Nonce) -> bool {
        self.of(incarnation).nonce == echo
    }

    /// The start repeats `echo`. If that verifies it, its draw is over, and so are all earlier ones.
    pub fn verify(&mut self, incarnation: Incarnation, echo: Nonce) -> bool {
        if !self.is_echo(incarnation, echo) {
            return false;
        }
        let draw = self.of(incarnation);
        self.ended = self.ended.max(draw.number);
        self.holder = self.holder.filter(|holder| holder.number > draw.number);
        self.verified = Some(draw);
        true
    }

    /// Others know this start as the holder of the seat: earlier draws for other starts are over. A start
    /// that echoes a nonce of a later draw was alive after the holder.
    pub fn outdate(&mut self, holder: Incarnation) {
        self.first.get_or_insert(holder);
        self.holder = Some(self.of(holder));
        self.verified = self.verified.filter(|draw| draw.incarnation == holder);
        self.latest = self.latest.filter(|(latest, _)| *latest == holder);
        self.ended += 1;
    }

    /// Schedules a greeting to the start that was heard last, for the end of this batch.
    pub fn answer(&mut self, rng: &mut Random) {
        let Some(latest) = self.latest.filter(|latest| !self.due.contains(latest)) else {
            return;
        };
        self.asked += 1;
        if self.due.len() < ANSWERS {
            return self.due.push(latest);
        }
        // Each start that asked is equally likely to be answered.
        let place = (rng.next_u64() % self.asked) as usize;
        if let Some(due) = self.due.get_mut(place) {
            *due = latest;
        }
    }

    /// Whether a greeting leaves at the end of this batch.
    pub fn are_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The greetings that leave now. With `all_the_same`, at least one leaves: to the `present` start, or to
    /// the one that was heard last, or to the known holder of the seat.
    pub fn take_due(&mut self, all_the_same: bool, present: Option<Incarnation>) -> Vec<Drawn> {
        self.asked = 0;
        let mut due = std::mem::take(&mut self.due);
        let latest = self.latest.map(|(latest, _)| latest);
        let holder = self.holder.map(|holder| holder.incarnation);
        let target = present.or(latest).or(holder).filter(|_| all_the_same);
        if let Some(target) = target
            && due.iter().all(|(incarnation, _)| *incarnation != target)
        {
            due.push((target, self.told_by(target)));
        }
        let drawn = due.into_iter().map(|(incarnation, echo)| {
            let Draw { nonce, number, .. } = self.of(incarnation);
            let incarnation = Some(incarnation);
            Drawn {
                incarnation,
                nonce,
                number,
                echo,
            }
        });
        let whoever = (all_the_same && target.is_none()).then_some(Drawn {
            incarnation: None,
            nonce: if self.first.is_none() { self.spare } else { 0 },
            number: 0,
            echo: 0,
        });
        drawn.chain(whoever).collect()
    }

    /// The nonce of the verified start, if it is this one.
    pub fn verified(&self, incarnation: Incarnation) -> Option<Nonce> {
        let verified = self.verified.filter(|draw| draw.incarnation == incarnation);
        verified.map(|draw| draw.nonce)
    }
}

/// A nonce that cannot be guessed without the key: the generator's stream under it. Never zero, which stands
/// for "not heard".
fn hash(key: [u8; 16], incarnation: Incarnation, number: u64) -> Nonce {
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&key);
    seed[16..24].copy_from_slice(&incarnation.0.to_le_bytes());
    seed[24..].copy_from_slice(&number.to_le_bytes());
    Random::from_seed(seed).next_u64() | 1
}
