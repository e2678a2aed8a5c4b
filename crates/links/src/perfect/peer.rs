//! What a process knows of one peer.
use super::{
    draws::Nonce,
    frame::{Token, Verdict},
    greeting::Greeting,
    queue::Queue,
    session::Session,
};
use quorate_core::{Membership, ProcessId, ProcessSet, Time, TimerId};

/// The state of a peer, as this process sees it.
enum Connection {
    /// The peer has not been heard of, or not verified.
    Waiting,
    /// The peer has echoed our nonce, and is the voter of its seat.
    Connected(Box<Session>),
    /// This pair of incarnations exchanges nothing any more.
    Closed(Closed),
}

/// Why nothing is exchanged any more.
#[derive(Clone, Copy)]
pub struct Closed {
    pub verdict: Verdict,
    /// The former session; `None` if there was none.
    pub session: Option<(Token, Nonce)>,
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
    connection: Connection,
    /// Whether the peer knows this process as the voter of its seat.
    admitted_us: bool,
    /// Whether the peer has been admitted.
    ready: bool,
    timer: Option<Armed>,
    pub greeting: Greeting,
    /// The messages that wait to be sent to the peer.
    pub queue: Queue,
}

impl Peer {
    /// A peer that has not been heard of.
    fn new() -> Self {
        Peer {
            connection: Connection::Waiting,
            admitted_us: false,
            ready: false,
            timer: None,
            greeting: Greeting::default(),
            queue: Queue::default(),
        }
    }

    /// The session, if there is one.
    pub fn session(&self) -> Option<&Session> {
        match &self.connection {
            Connection::Connected(session) => Some(session),
            Connection::Waiting | Connection::Closed(_) => None,
        }
    }

    /// The session, if there is one, for changes.
    pub fn session_mut(&mut self) -> Option<&mut Session> {
        self.exchange().0
    }

    /// The session, and the messages that wait to be sent in it.
    pub fn exchange(&mut self) -> (Option<&mut Session>, &mut Queue) {
        let session = match &mut self.connection {
            Connection::Connected(session) => Some(&mut **session),
            Connection::Waiting | Connection::Closed(_) => None,
        };
        (session, &mut self.queue)
    }

    /// The peer is verified, and is the voter of its seat. If a stream has ended before, both ends are to
    /// learn of it.
    pub fn connect(&mut self, mut session: Session) {
        if self.queue.has_ended() {
            session.end_stream();
        }
        self.connection = Connection::Connected(Box::new(session));
    }

    /// Ends the stream to the peer, and frees the waiting messages.
    pub fn end_stream(&mut self) {
        self.queue.end();
        if let Some(session) = self.session_mut() {
            session.end_stream();
        }
    }

    /// Ends all exchange between the two, and frees its memory.
    pub fn close(&mut self, verdict: Verdict) {
        let session = self.session();
        let session = session.map(|session| (session.token(), session.nonce()));
        self.connection = Connection::Closed(Closed { verdict, session });
        self.queue.clear();
        self.greeting.stop();
    }

    /// Another incarnation is the voter: the exchange with the one before is over.
    pub fn succeed(&mut self) {
        self.connection = Connection::Waiting;
        self.queue = Queue::default();
        self.admitted_us = false;
        self.ready = false;
        self.greeting.begin_anew();
    }

    /// Whether the peer is verified and the voter of its seat.
    pub fn is_connected(&self) -> bool {
        matches!(self.connection, Connection::Connected(_))
    }

    /// Whether no incarnation in the seat has been verified.
    pub fn is_waiting(&self) -> bool {
        matches!(self.connection, Connection::Waiting)
    }

    /// Why nothing is exchanged with the peer any more; `None` if the exchange goes on.
    pub fn closed(&self) -> Option<Closed> {
        match self.connection {
            Connection::Closed(closed) => Some(closed),
            Connection::Waiting | Connection::Connected(_) => None,
        }
    }

    /// Whether the exchange with the peer is over.
    pub fn is_closed(&self) -> bool {
        self.closed().is_some()
    }

    /// The peer knows this process as the voter of its seat.
    pub fn admits_us(&mut self) {
        self.admitted_us = true;
    }

    /// Whether the peer knows this process as the voter of its seat.
    pub fn has_admitted_us(&self) -> bool {
        self.admitted_us
    }

    /// Notes that the peer has been admitted, if it `is`.
    pub fn note_admitted(&mut self, is: bool) {
        self.ready |= is;
    }

    /// Whether it has been admitted.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether each has admitted the other.
    pub fn has_met_us(&self) -> bool {
        self.admitted_us && self.ready
    }

    /// Whether the handshake is over: neither process lacks information that the other can give.
    pub fn is_settled(&self) -> bool {
        self.is_closed() || self.is_connected() && self.has_met_us()
    }

    /// The memory that messages to this peer take and that it has not acknowledged, in bytes.
    pub fn owed_bytes(&self) -> usize {
        let session = self.session();
        let sent = session.map_or(0, |session| session.sending.unacknowledged());
        self.queue.bytes() + sent
    }

    /// Whether the peer owes nothing that it may still acknowledge.
    pub fn owes_nothing(&self) -> bool {
        self.session().is_none_or(|session| {
            let has_all = session.sending.is_empty() && self.queue.is_empty();
            session.leaves() || session.sending.is_fruitless() || has_all
        })
    }

    /// The timer that runs for it.
    pub fn timer(&self) -> Option<Armed> {
        self.timer
    }

    /// Sets the timer that runs for the peer, or none.
    pub fn set_timer(&mut self, timer: Option<Armed>) {
        self.timer = timer;
    }
}

/// All peers, and what is to be done for them at the end of a batch.
pub struct Peers {
    /// Indexed by seat. The entry of this process is not used.
    all: Vec<Peer>,
    others: ProcessSet,
    /// The peers to which something may have to leave.
    touched: ProcessSet,
    /// The peers that were heard in this batch.
    heard: ProcessSet,
}

impl Peers {
    /// The peers of `me`, none of which has been heard of.
    pub fn new(processes: &Membership, me: ProcessId) -> Self {
        Peers {
            all: processes.iter().map(|_| Peer::new()).collect(),
            others: processes.others(me),
            touched: ProcessSet::EMPTY,
            heard: ProcessSet::EMPTY,
        }
    }

    /// A peer.
    pub fn get(&self, p: ProcessId) -> &Peer {
        &self.all[p.index()]
    }

    /// A peer, for a change that sends nothing.
    pub fn get_mut(&mut self, p: ProcessId) -> &mut Peer {
        &mut self.all[p.index()]
    }

    /// A peer, to which something may have to leave at the end of this batch.
    pub fn touch(&mut self, p: ProcessId) -> &mut Peer {
        self.touched.insert(p);
        &mut self.all[p.index()]
    }

    /// A frame of the peer was heard.
    pub fn hear(&mut self, p: ProcessId) -> &mut Peer {
        self.heard.insert(p);
        &mut self.all[p.index()]
    }

    /// All peers.
    pub fn others(&self) -> ProcessSet {
        self.others
    }

    /// Removes and returns the peers to which something may have to leave. Called once a batch.
    pub fn take_touched(&mut self) -> ProcessSet {
        std::mem::take(&mut self.touched)
    }

    /// Removes and returns the peers that were heard. Called once a batch.
    pub fn take_heard(&mut self) -> ProcessSet {
        std::mem::take(&mut self.heard)
    }

    /// Whether no peer owes anything that it may still acknowledge.
    pub fn owe_nothing(&self) -> bool {
        self.others.iter().all(|p| self.get(p).owes_nothing())
    }
}
