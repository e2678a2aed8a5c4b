//! What a process knows of one peer.
use super::{
    datagrams::Passage,
    frame::{Token, Verdict},
    outbox::Outbox,
    receiving::Receiving,
    sending::Sending,
};
use quorate_abstractions::link::Status;
use quorate_core::{
    Incarnation, ProcessId, Time, TimerId,
    message::{digest, fold},
};

/// How a peer stands to this process.
pub enum Standing {
    /// It has not been heard of, or not verified.
    Waiting,
    /// It has echoed our nonce, and is the voter of its slot.
    Connected(Box<Session>),
    /// This pair of incarnations exchanges nothing any more.
    Closed {
        /// Why.
        verdict: Verdict,
        /// The session that was; `None` if there was none.
        session: Option<(Token, Nonce)>,
    },
}

/// A random number that only someone who was sent it can repeat.
pub type Nonce = u64;

/// An exchange between two incarnations.
pub struct Session {
    /// The peer's incarnation.
    pub incarnation: Incarnation,
    /// The peer's nonce.
    pub nonce: Nonce,
    /// What every frame of the session carries.
    pub token: Token,
    /// Our packets to the peer.
    pub sending: Sending,
    /// The peer's packets to us.
    pub receiving: Receiving,
    /// The last stamp of an unnumbered frame of ours.
    pub stamp: u64,
    /// When a frame of the peer arrived that was not a copy of an earlier one.
    pub heard_at: Time,
    /// Whether the latest of the peer's heartbeats says that it hears less than a majority.
    pub deaf: bool,
}

/// One end of a session.
#[derive(Clone, Copy)]
pub struct End {
    pub process: ProcessId,
    pub incarnation: Incarnation,
    pub nonce: Nonce,
}

impl Token {
    /// The token of the session between two ends: the same at both.
    pub fn of(a: End, b: End) -> Token {
        let (low, high) = if a.process < b.process {
            (a, b)
        } else {
            (b, a)
        };
        let mut token = digest(b"quorate session");
        for end in [low, high] {
            token = fold(token, end.process.rank() as u64);
            token = fold(token, end.incarnation.0);
            token = fold(token, end.nonce);
        }
        Token(token)
    }
}

/// When to greet the peer next.
#[derive(Default)]
pub struct Greeting {
    /// A greeting leaves at the end of this batch.
    pub due: bool,
    /// A greeting leaves then, unless the peer has nothing more to tell.
    pub at: Option<Time>,
    /// How many in a row were not answered.
    pub fruitless: u32,
}

/// The timer that is running for the peer.
#[derive(Clone, Copy)]
pub struct Armed {
    pub id: TimerId,
    pub at: Time,
    pub background: bool,
}

/// What a process knows of one peer.
pub struct Peer {
    pub id: ProcessId,
    pub standing: Standing,
    /// What fair-loss lanes need of the session: it outlasts the session of a peer that is lost.
    pub passage: Option<Passage>,
    /// The nonce that we tell this peer, and that it must echo.
    pub nonce: Nonce,
    /// The last nonce that was heard from its address, by whomever; zero before.
    pub heard_nonce: Nonce,
    /// Whether it knows this process as the voter of its slot.
    pub admitted_us: bool,
    /// Whether it has been admitted.
    pub ready: bool,
    pub greeting: Greeting,
    pub outbox: Outbox,
    /// An acknowledgement leaves then at the latest.
    pub acknowledge_at: Option<Time>,
    /// It owes more than the limit, and is lost then unless it acknowledges something.
    pub lost_at: Option<Time>,
    pub armed: Option<Armed>,
    /// What was indicated of it last.
    pub told: Option<Status>,
    /// When a refusal was indicated last.
    pub refused_at: Option<Time>,
    /// When a frame of another session was answered last.
    pub provoked_at: Option<Time>,
}

impl Peer {
    /// A peer that has not been heard of.
    pub fn new(id: ProcessId) -> Self {
        Peer {
            id,
            standing: Standing::Waiting,
            passage: None,
            nonce: 0,
            heard_nonce: 0,
            admitted_us: false,
            ready: false,
            greeting: Greeting::default(),
            outbox: Outbox::default(),
            acknowledge_at: None,
            lost_at: None,
            armed: None,
            told: None,
            refused_at: None,
            provoked_at: None,
        }
    }

    /// The session, if there is one.
    pub fn session(&mut self) -> Option<&mut Session> {
        match &mut self.standing {
            Standing::Connected(session) => Some(session),
            Standing::Waiting | Standing::Closed { .. } => None,
        }
    }

    /// Whether the peer is verified and the voter of its slot.
    pub fn is_connected(&self) -> bool {
        matches!(self.standing, Standing::Connected(_))
    }

    /// Whether nothing is exchanged with it any more.
    pub fn is_closed(&self) -> bool {
        matches!(self.standing, Standing::Closed { .. })
    }

    /// Whether it owed too much for too long.
    pub fn is_lost(&self) -> bool {
        let Standing::Closed { verdict, .. } = self.standing else {
            return false;
        };
        verdict == Verdict::Lost
    }

    /// Whether the handshake is over: neither lacks anything that the other can tell.
    pub fn is_settled(&self) -> bool {
        self.is_closed() || self.is_connected() && self.admitted_us && self.ready
    }

    /// What this peer has cost so far and not acknowledged, in bytes.
    pub fn owed_bytes(&self) -> usize {
        let sent = match &self.standing {
            Standing::Connected(session) => session.sending.unacknowledged(),
            Standing::Waiting | Standing::Closed { .. } => 0,
        };
        self.outbox.bytes() + sent
    }
}
