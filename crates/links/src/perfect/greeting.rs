//! When to greet a peer, and what was last said at its address.
use super::draws::{Drawn, Draws};
use quorate_core::{Incarnation, Random, Time};
use rand::Rng;
use std::time::Duration;

/// The first pause before an unanswered greeting is repeated. The pauses grow up to [`SLOWEST_GREETING`].
const GREETING: Duration = Duration::from_millis(20);
/// The longest pause between unanswered greetings.
pub const SLOWEST_GREETING: Duration = Duration::from_secs(1);
/// How many unanswered greetings keep a simulated run open.
pub const FOREGROUND_GREETINGS: u32 = 8;
/// How long news of voters waits for more news, to be sent together.
const SPREADING: Duration = Duration::from_millis(50);
/// The least time between two frames that strangers' frames provoke.
const PROVOKED: Duration = Duration::from_millis(20);
/// The least time between two indications of different refusals.
const REFUSING: Duration = Duration::from_secs(1);

/// The greetings to one peer, and its answers.
#[derive(Default)]
pub struct Greeting {
    /// The nonces that the starts of this peer must echo.
    pub draws: Draws,
    /// Whether a greeting leaves at the end of this batch.
    due: bool,
    /// When the next greeting leaves, unless the peer has nothing more to tell.
    at: Option<Time>,
    /// How many greetings in a row were not answered.
    fruitless: u32,
    /// When a refusal was indicated last.
    refused_at: Option<Time>,
    /// When a frame of another session was answered last.
    provoked_at: Option<Time>,
}

impl Greeting {
    /// The first greeting is due.
    pub fn introduce(&mut self, rng: &mut Random) {
        self.draws.introduce(rng);
        self.due = true;
    }

    /// The greetings that leave now. `present` is the start with which there is a session.
    pub fn take_due(&mut self, present: Option<Incarnation>) -> Vec<Drawn> {
        let due = std::mem::take(&mut self.due);
        self.draws.take_due(due, present)
    }

    /// A greeting leaves at the end of this batch if `wanted`.
    pub fn ask(&mut self, wanted: bool) {
        self.due |= wanted;
    }

    /// Whether a greeting leaves at the end of this batch.
    pub fn is_due(&self) -> bool {
        self.due || self.draws.are_due()
    }

    /// When the next greeting leaves, if none is due now.
    pub fn at(&self) -> Option<Time> {
        self.at
    }

    /// Whether the peer has left so many greetings unanswered that it may be gone.
    pub fn is_fruitless(&self) -> bool {
        self.fruitless >= FOREGROUND_GREETINGS
    }

    /// Whether the last greeting was not answered in time.
    pub fn is_repeated(&self) -> bool {
        self.fruitless > 0
    }

    /// A greeting has left, and is repeated unless it was the last.
    pub fn left(&mut self, now: Time, is_last: bool, rng: &mut Random) {
        self.at = (!is_last).then(|| now + pause(self.fruitless, rng));
    }

    /// The peer has answered.
    pub fn answered(&mut self) {
        self.fruitless = 0;
    }

    /// Another incarnation is greeted.
    pub fn begin_anew(&mut self) {
        self.fruitless = 0;
        self.due = true;
    }

    /// The peer has nothing more to tell: no greeting is planned.
    pub fn stop(&mut self) {
        self.at = None;
    }

    /// The timer fires: a greeting planned until now becomes due. If it is `unanswered`, it counts as
    /// fruitless.
    pub fn fire(&mut self, now: Time, unanswered: bool) {
        if self.at.is_some_and(|at| at <= now) {
            self.at = None;
            self.due = true;
            self.fruitless += u32::from(unanswered);
        }
    }

    /// There is news to spread, which waits for more. Returns whether a timer is needed for that.
    pub fn spread(&mut self, now: Time) -> bool {
        let wanted = self.at.is_none();
        if wanted {
            self.at = Some(now + SPREADING);
        }
        wanted
    }

    /// Whether a frame that provokes an answer was answered very recently.
    pub fn was_provoked(&self, now: Time) -> bool {
        self.provoked_at.is_some_and(|at| now - at < PROVOKED)
    }

    /// Such a frame is answered.
    pub fn provoke(&mut self, now: Time) {
        self.provoked_at = Some(now);
    }

    /// Whether a refusal was indicated very recently.
    pub fn was_refused(&self, now: Time) -> bool {
        self.refused_at.is_some_and(|at| now - at < REFUSING)
    }

    /// A refusal is indicated.
    pub fn refuse(&mut self, now: Time) {
        self.refused_at = Some(now);
    }
}

/// The pause before the next greeting.
fn pause(fruitless: u32, rng: &mut Random) -> Duration {
    let pause = (GREETING * (1 << fruitless.min(6))).min(SLOWEST_GREETING);
    jittered(pause, rng)
}

/// Up to a quarter longer, so that processes do not act in step.
pub fn jittered(pause: Duration, rng: &mut Random) -> Duration {
    pause + pause.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX) / 4.0)
}
