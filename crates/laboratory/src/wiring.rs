//! A process of a simulated world, with the layers on which an algorithm may run: ideal objects, or the real
//! lower layers.
use crate::{
    journal::Journal,
    model::{Detector, Substrate},
};
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, atomic_commit, eventually_perfect, fair_loss,
    heartbeat::{self, Heard},
    leader::Trust,
    link::{self, Links},
    perfect,
};
use quorate_broadcast::by_leader::Acceptances;
use quorate_core::{
    Addr, Algorithm, Host, Layer, Observation, Observe, ProcessId, Time, wire::Wire,
};
use quorate_detectors::{exclude_on_timeout, increasing_timeout, lowest_rank};
use quorate_links::perfect::{AdmissionRule, LinkSettings, PerfectLinks};
use quorate_sim::{Alter, IdealLinks, Oracle, SimHost, World};
use std::{sync::Arc, time::Duration};

/// A message that a link is to carry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The receiver.
    pub to: ProcessId,
    /// The sender's number for the message.
    pub number: u64,
    /// The content.
    pub bytes: Bytes,
}

/// A value that is proposed in an instance of consensus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// The instance, counted from 1.
    pub instance: u64,
    pub value: Bytes,
}

/// An operation on one of the objects that processes share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The sequence number of the operation at its process, counted from 1.
    pub number: u64,
    /// The number of the object, counted from 1.
    pub object: u64,
    pub action: Action,
}

/// An operation on a shared object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Reads, scans or gets it.
    Read,
    /// Writes, updates, sets or proposes this.
    Write(Bytes),
}

/// Objects that processes share. Each answers an operation with an indication whose instance is the
/// operation's number.
pub struct Objects {
    pub operate: Addr<Operation>,
    /// How many there are.
    pub count: u64,
    /// The only process that may write; `None`: every process may.
    pub writer: Option<ProcessId>,
    /// Whether they can be read.
    pub readable: bool,
    /// How many operations a process makes on each object, at most.
    pub most: u64,
}

impl Objects {
    /// Objects that every process reads and writes, as often as it likes.
    pub fn new(count: u64, operate: Addr<Operation>) -> Self {
        Objects {
            operate,
            count,
            writer: None,
            readable: true,
            most: u64::MAX,
        }
    }
}

/// The requests that an algorithm accepts.
pub enum RequestPort {
    /// Broadcasts of a payload.
    Broadcast(Addr<Bytes>),
    /// Broadcasts of a payload in a group that a process may leave.
    Group {
        broadcast: Addr<Bytes>,
        leave: Addr<()>,
    },
    /// To leave a group in which nothing is broadcast.
    Leave(Addr<()>),
    /// Proposals of a value in an instance.
    Propose(Addr<Proposal>),
    /// Votes in an instance of atomic commit.
    Vote(Addr<atomic_commit::Propose>),
    /// Messages to send and, for a link that never stops by itself, cancellations.
    Send {
        send: Addr<Message>,
        /// Stops sending the message of this number to this process.
        cancel: Option<Addr<(ProcessId, u64)>>,
        /// How often each message is to be sent, a while after the last time.
        copies: u32,
    },
    /// Operations on shared objects, on each object one after the other.
    Operate(Objects),
    Nothing,
}

impl RequestPort {
    /// The port for the request to leave, if the process is in a group.
    pub fn leave(&self) -> Option<&Addr<()>> {
        match self {
            RequestPort::Group { leave, .. } | RequestPort::Leave(leave) => Some(leave),
            _ => None,
        }
    }
}

/// Called with every indication that leaves a stack at its top.
pub type Audience = Arc<dyn Fn(ProcessId, &Observation, Time) + Send + Sync>;

/// Perfect links: ideal, or real ones over fair-loss links.
#[derive(Clone)]
pub enum ProcessLinks {
    /// Ideal links, without retransmission.
    Ideal(IdealLinks),
    /// Ideal links whose status indicates nothing: for mutants that do not learn of gaps.
    Deaf(IdealLinks),
    Real(PerfectLinks<SimHost>),
}

impl Links for ProcessLinks {
    fn at(&self, segment: &str) -> Self {
        match self {
            ProcessLinks::Ideal(links) => ProcessLinks::Ideal(links.at(segment)),
            ProcessLinks::Deaf(links) => ProcessLinks::Deaf(links.at(segment)),
            ProcessLinks::Real(links) => ProcessLinks::Real(links.at(segment)),
        }
    }

    fn status(&self) -> Subscribe<link::Status> {
        match self {
            ProcessLinks::Ideal(links) => links.status(),
            ProcessLinks::Deaf(_) => Addr::nowhere(),
            ProcessLinks::Real(links) => links.status(),
        }
    }

    fn open<M: Wire>(&self, up: Addr<link::Deliver<M>>) -> Addr<link::SendRequest<M>> {
        match self {
            ProcessLinks::Ideal(links) | ProcessLinks::Deaf(links) => links.open(up),
            ProcessLinks::Real(links) => links.open(up),
        }
    }
}

/// The layers below a stack at every process.
#[derive(Clone)]
pub struct Environment {
    /// The kind of these layers.
    pub substrate: Substrate,
    /// Whether links and detectors are the real ones.
    pub real: bool,
    /// The detector to supply.
    pub detector: Detector,
    /// The oracle of an ideal ◇P.
    pub oracle: Oracle,
    /// How long after a crash an ideal P reports it.
    pub delay: Duration,
    /// Whether processes start again. Then a real link admits only processes that enough others know.
    pub restarts: bool,
    /// The users of the total order that processes rejoin, if they do.
    pub journal: Option<Journal>,
    /// What a peer may owe a real link, in bytes; `None` for the default.
    pub limit: Option<usize>,
}

impl Environment {
    /// Ideal objects, whose detectors are accurate and report a crash after `delay`.
    pub fn ideal(substrate: Substrate, detector: Detector, delay: Duration) -> Self {
        Environment {
            substrate,
            real: false,
            detector,
            oracle: Oracle::accurate(delay),
            delay,
            restarts: false,
            journal: None,
            limit: None,
        }
    }

    /// The settings of the real links.
    fn links(&self) -> LinkSettings {
        let usual = crash_stop();
        LinkSettings {
            admission: if self.restarts {
                AdmissionRule::RestartSafe
            } else {
                AdmissionRule::CrashStop
            },
            rejoin: self.journal.as_ref().map(|_| "total-order".to_owned()),
            queue_limit: self.limit.unwrap_or(usual.queue_limit),
            ..usual
        }
    }
}

/// The settings of the real perfect link where no process is ever started again, and a process may crash
/// before any other has met it.
pub fn crash_stop() -> LinkSettings {
    LinkSettings {
        admission: AdmissionRule::CrashStop,
        ..LinkSettings::default()
    }
}

/// How many heartbeats in a row chance and cuts lose at most.
pub(crate) const LOST_HEARTBEATS: u32 = 24;

/// The bounds of the simulated network for the real P: a heartbeat each 100 milliseconds arrives within 400,
/// and the number of heartbeats lost in a row to chance and to cuts is bounded.
pub fn synchronous() -> exclude_on_timeout::SynchronyBounds {
    exclude_on_timeout::SynchronyBounds::default().losses(LOST_HEARTBEATS)
}

/// The failure detector of a wiring.
#[derive(Clone)]
enum Supplied {
    None,
    EventuallyPerfect(Subscribe<eventually_perfect::Indication>),
    /// ◇P over heartbeats, which also knows which processes are cut off.
    Measured(increasing_timeout::Detector),
    Perfect(Subscribe<perfect::Crash>),
}

/// One process of a world, for the wiring functions of the laboratory.
#[derive(Clone)]
pub struct Wiring<'w> {
    world: &'w World,
    p: ProcessId,
    /// The process, whose algorithms may be altered.
    host: SimHost,
    links: ProcessLinks,
    detector: Supplied,
    oracle: Oracle,
    /// How many consensus instances total order may have in flight.
    pub instances: u64,
    /// The receivers of acceptances in the leader-driven total order.
    pub acceptances: Acceptances,
    audience: Audience,
    journal: Option<Journal>,
}

impl<'w> Wiring<'w> {
    /// The process `p` of `world`, with these layers below.
    pub fn new(world: &'w World, p: ProcessId, below: &Environment) -> Self {
        let host = world.host(p);
        let real = below.real && below.substrate != Substrate::FairLoss;
        let links = if real {
            ProcessLinks::Real(PerfectLinks::new(&host, below.links()))
        } else {
            ProcessLinks::Ideal(world.links(p))
        };
        let mut wiring = Wiring {
            world,
            p,
            host: host.clone(),
            links,
            detector: Supplied::None,
            oracle: below.oracle.clone(),
            instances: 4,
            acceptances: Acceptances::Everybody,
            audience: Arc::new(|_, _, _| {}),
            journal: below.journal.clone(),
        };
        wiring.detector = match below.detector {
            _ if matches!(below.substrate, Substrate::FairLoss | Substrate::Heartbeats) => {
                Supplied::None
            }
            Detector::None => Supplied::None,
            Detector::Perfect if real => {
                Supplied::Perfect(exclude_on_timeout::spawn_with_incarnations(
                    &host.at("detector"),
                    synchronous(),
                    wiring.heartbeat(),
                    &wiring.links.status(),
                ))
            }
            Detector::Perfect => Supplied::Perfect(world.perfect(p, below.delay)),
            Detector::EventuallyPerfect if real => Supplied::Measured(increasing_timeout::spawn(
                &host.at("detector"),
                increasing_timeout::DetectorSettings::default(),
                wiring.heartbeat(),
            )),
            Detector::EventuallyPerfect => {
                Supplied::EventuallyPerfect(world.eventually_perfect(p, &below.oracle))
            }
        };
        wiring
    }

    /// Passes all its indications to this audience.
    #[must_use]
    pub fn telling(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
    }

    /// Does not learn of gaps over ideal links: a mutant of any algorithm that repeats what a gap has taken.
    #[must_use]
    pub fn deaf(mut self) -> Self {
        if let ProcessLinks::Ideal(links) = self.links {
            self.links = ProcessLinks::Deaf(links);
        }
        self
    }

    /// The same, where the algorithms with these events and effects are altered: a mutant of any algorithm.
    #[must_use]
    pub fn altered<E: 'static, F: 'static, A: Alter<E, F> + 'static>(
        &self,
        make: impl Fn(ProcessId) -> A + Send + Sync + 'static,
    ) -> Self {
        let host = self.host.clone().altered(make);
        Wiring {
            host,
            ..self.clone()
        }
    }

    /// The same, where another algorithm stands in the place of each one of this type: a mutant that needs what
    /// is private.
    #[must_use]
    pub fn replaced<A: Algorithm, B: Algorithm<Event = A::Event, Effect = A::Effect>>(
        &self,
        make: impl Fn(ProcessId, A) -> B + Send + Sync + 'static,
    ) -> Self {
        let host = self.host.clone().replaced(make);
        Wiring {
            host,
            ..self.clone()
        }
    }

    /// The process.
    pub fn host(&self) -> SimHost {
        self.host.clone()
    }

    /// Its perfect links.
    pub fn links(&self) -> &ProcessLinks {
        &self.links
    }

    /// What processes need that come back without their memory, if they do: the journal with their states,
    /// and the address by which one incarnation takes the place of another.
    pub fn rejoining(&self) -> Option<(Journal, Addr<link::Adopt>)> {
        let (Some(journal), ProcessLinks::Real(links)) = (&self.journal, &self.links) else {
            return None;
        };
        Some((journal.clone(), links.adopt()))
    }

    /// ◇P. Without a detector, one that indicates nothing.
    pub fn eventually_perfect(&self) -> Subscribe<eventually_perfect::Indication> {
        match &self.detector {
            Supplied::None => Addr::nowhere(),
            Supplied::EventuallyPerfect(detector) => detector.clone(),
            Supplied::Measured(detector) => detector.suspicions.clone(),
            Supplied::Perfect(detector) => perfect::as_eventually_perfect(detector),
        }
    }

    /// Ω, over ◇P.
    pub fn leader(&self) -> Subscribe<Trust> {
        let host = self.host().at("leader");
        match &self.detector {
            Supplied::Measured(detector) => lowest_rank::spawn_by_reach(&host, &detector.reach),
            Supplied::None | Supplied::EventuallyPerfect(_) | Supplied::Perfect(_) => {
                lowest_rank::spawn(&host, &self.eventually_perfect())
            }
        }
    }

    /// P. Without a detector, one that indicates nothing.
    pub fn perfect(&self) -> Subscribe<perfect::Crash> {
        match &self.detector {
            Supplied::None | Supplied::EventuallyPerfect(_) | Supplied::Measured(_) => {
                Addr::nowhere()
            }
            Supplied::Perfect(detector) => detector.clone(),
        }
    }

    /// An oracle that poses as P and errs, for mutants: its false suspicions are reported as crashes.
    pub fn erring(&self) -> Subscribe<perfect::Crash> {
        let suspicions = self.world.eventually_perfect(self.p, &self.oracle);
        suspicions.with(|up: Addr<perfect::Crash>| {
            Addr::new(move |indication| match indication {
                eventually_perfect::Indication::Suspect(q) => up.send(perfect::Crash(q)),
                eventually_perfect::Indication::Restore(_) => {}
            })
        })
    }

    /// Heartbeats, for detectors.
    pub fn heartbeat(&self) -> impl Layer<heartbeat::Port> + use<'_, 'w> {
        move |up: Addr<Heard>| match &self.links {
            ProcessLinks::Ideal(_) | ProcessLinks::Deaf(_) => self.world.heartbeat(self.p, up),
            ProcessLinks::Real(links) => links.heartbeat(up),
        }
    }

    /// Fair-loss links, for links.
    pub fn fair_loss(&self) -> impl Layer<fair_loss::Port> + use<'_, 'w> {
        |arrivals: Addr<fair_loss::Indication>| self.world.fair_loss(self.p, arrivals)
    }

    /// The address for the indications of the top of the stack.
    pub fn application<T: Observe + Send + 'static>(&self) -> Addr<T> {
        let (audience, p) = (self.audience.clone(), self.p);
        self.world.application_with(p, move |indication: T, now| {
            audience(p, &indication.observe(), now);
        })
    }

    /// Starts the real links. Call this once everything on them is wired.
    ///
    /// # Panics
    /// When the stack has opened a lane twice.
    pub fn start(&self) {
        if let ProcessLinks::Real(links) = &self.links {
            let started = links.start(self.world.fair_loss(self.p, links.arrivals()));
            assert!(started.is_ok(), "every lane is opened once: {started:?}");
        }
    }
}
