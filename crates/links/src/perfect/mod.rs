//! Perfect links over fair-loss links or over byte streams, in lanes.
mod algorithm;
mod congestion;
mod frame;
mod handshake;
mod hello;
mod outbox;
mod peer;
mod receiving;
mod sending;
mod transmission;

use algorithm::{Effect, Event, PerfectLink};
use hello::{Identity, MAXIMUM_CLUSTER};
use quorate_abstractions::{
    Subscribe, fair_loss,
    heartbeat::{Beat, Heard},
    lanes::{LaneTable, OpenedTwice},
    link::{Deliver, Links, Send, Status},
};
use quorate_core::{Addr, Host, Mailbox, Name, wire::Wire};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How a process talks to its peers. What must be the same everywhere is compared when two meet.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The cluster's name, at most 64 bytes; the same everywhere.
    pub cluster: String,
    /// The names of the algorithms in use; the same everywhere.
    pub stack: String,
    /// The size of a datagram, at least 512 bytes. May differ between processes.
    pub datagram: usize,
    /// Longer messages are refused. The same everywhere.
    pub maximum_message: usize,
    /// A peer that owes acknowledgements of more than so many bytes, those that wait to be sent
    /// included, is lost.
    pub queue_limit: usize,
    /// Whether the edge is a byte stream, which neither loses nor reorders until it is interrupted.
    pub stream: bool,
    /// How many bytes may be under way to a peer; `None`: 1 MiB over datagrams, 4 MiB over a stream.
    pub window: Option<usize>,
}

impl Default for Configuration {
    fn default() -> Self {
        Configuration {
            cluster: "quorate".to_owned(),
            stack: String::new(),
            datagram: 1200,
            maximum_message: 16 << 20,
            queue_limit: 64 << 20,
            stream: false,
            window: None,
        }
    }
}

impl Configuration {
    fn window(&self) -> usize {
        let default = if self.stream { 4 << 20 } else { 1 << 20 };
        self.window.unwrap_or(default).max(2 * self.datagram)
    }

    fn lowest_timeout(&self) -> Duration {
        Duration::from_millis(if self.stream { 2000 } else { 30 })
    }

    fn highest_timeout(&self) -> Duration {
        Duration::from_secs(if self.stream { 20 } else { 2 })
    }

    /// Peers may use other datagrams, within what a socket can carry.
    fn largest_accepted(&self) -> usize {
        self.datagram.max(1 << 16)
    }
}

/// A link that cannot start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StartError {
    /// A lane was opened twice.
    #[error(transparent)]
    OpenedTwice(#[from] OpenedTwice),
    /// It has started before.
    #[error("the link has started before")]
    StartedTwice,
    /// More lanes than the wire has numbers for.
    #[error("at most 65535 lanes, not {0}")]
    TooManyLanes(usize),
    /// The cluster's name is too long.
    #[error("a cluster's name is at most {MAXIMUM_CLUSTER} bytes long, not {0}")]
    LongName(usize),
    /// The datagram cannot hold a greeting, or a transmission cannot hold the datagram.
    #[error("a datagram is 512 bytes to 1 MiB long, not {0}")]
    BadDatagram(usize),
}

/// What the clones of a link share.
struct Shared {
    /// Taken when the link starts.
    mailbox: Mutex<Option<Mailbox<Event>>>,
    events: Addr<Event>,
    lanes: LaneTable,
    configuration: Configuration,
}

/// The perfect links of one process: lanes are opened on it, then it is started on an edge.
pub struct PerfectLinks<H> {
    host: H,
    path: Name,
    shared: Arc<Shared>,
}

impl<H: Clone> Clone for PerfectLinks<H> {
    fn clone(&self) -> Self {
        PerfectLinks {
            host: self.host.clone(),
            path: self.path.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<H: Host> PerfectLinks<H> {
    /// The links of the process that `host` runs. Makes their mailbox at once.
    pub fn new(host: &H, configuration: Configuration) -> Self {
        let host = host.at("link");
        let mailbox = host.mailbox();
        PerfectLinks {
            path: Name::root(),
            shared: Arc::new(Shared {
                events: mailbox.addr(),
                mailbox: Mutex::new(Some(mailbox)),
                lanes: LaneTable::default(),
                configuration,
            }),
            host,
        }
    }

    /// Sends a heartbeat for each [`Beat`], and indicates to `up` of whom anything was heard.
    pub fn heartbeat(&self, up: Addr<Heard>) -> Addr<Beat> {
        self.shared.events.send(Event::Listen(up));
        self.shared.events.with(Event::Beat)
    }

    /// How the peers stand, and this process.
    pub fn status(&self) -> Subscribe<Status> {
        self.shared.events.with(Event::Watch)
    }

    /// Answers, once, when all that was sent to peers that are connected and answer is acknowledged.
    pub fn drained(&self) -> Subscribe<()> {
        self.shared.events.with(Event::Drain)
    }

    /// Where the edge delivers.
    pub fn arrivals(&self) -> Addr<fair_loss::Indication> {
        self.shared.events.with(Event::Edge)
    }

    /// Closes the table of lanes and starts.
    ///
    /// # Errors
    /// When a lane was opened twice, the link has started before, or its configuration is unusable.
    pub fn start(&self, edge: Addr<fair_loss::Transmit>) -> Result<(), StartError> {
        let configuration = self.shared.configuration.clone();
        if configuration.cluster.len() > MAXIMUM_CLUSTER {
            return Err(StartError::LongName(configuration.cluster.len()));
        }
        if !(512..=1 << 20).contains(&configuration.datagram) {
            return Err(StartError::BadDatagram(configuration.datagram));
        }
        let lanes = self.shared.lanes.close()?;
        if lanes.len() >= usize::from(u16::MAX) {
            return Err(StartError::TooManyLanes(lanes.len()));
        }
        let mut mailbox = self
            .shared
            .mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mailbox = mailbox.take().ok_or(StartError::StartedTwice)?;
        let identity = Identity {
            me: self.host.me(),
            n: self.host.processes().n(),
            incarnation: self.host.incarnation(),
            cluster: configuration.cluster.clone(),
            stack: configuration.stack.clone(),
            lanes_fingerprint: lanes.fingerprint(),
            lanes: lanes.names().iter().map(ToString::to_string).collect(),
        };
        let link = PerfectLink::new(
            configuration,
            identity,
            *self.host.processes(),
            lanes.clone(),
        );
        self.host.start(mailbox, link, move |effect| match effect {
            Effect::Deliver(lane, from, bytes) => {
                lanes.deliver(lane, from, bytes);
            }
            Effect::Transmit(transmit) => edge.send(transmit),
            Effect::Heard(up, heard) => up.send(heard),
            Effect::Status(up, status) => up.iter().for_each(|up| up.send(status.clone())),
            Effect::Drained(reply) => reply.send(()),
        });
        Ok(())
    }
}

impl<H: Host> Links for PerfectLinks<H> {
    fn at(&self, segment: &str) -> Self {
        PerfectLinks {
            path: self.path.at(segment),
            ..self.clone()
        }
    }

    fn open<M: Wire>(&self, up: Addr<Deliver<M>>) -> Addr<Send<M>> {
        let send = self
            .shared
            .events
            .with(|(opened, send)| Event::Send(opened, send));
        self.shared
            .lanes
            .open(self.path.clone(), self.host.counters(), up, send)
    }
}

#[cfg(test)]
mod tests;
