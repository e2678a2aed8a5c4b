//! How a node is described, and started.
use super::socket::{Bound, Edges, Socket};
use super::{
    Handles, Inner, Node, NodeEvent, NodeStatus, Protection, Wiring,
    lookup::{self, Family, Lookups, Resolver},
    modules::{LEAST_DATAGRAM, Module},
    order::Chosen,
    sight::{self, Sight},
    window::Limits,
};
use crate::{
    error::{Error, StartError},
    faults::Faults,
    host::{Identity, TokioHost},
    peers::{Addresses, PeerAddress, PeerName},
    thread::{Ending, OnPanic, Protocol, SharedThread},
};
use quorate_abstractions::{
    Subscribe,
    fair_loss::Transmit,
    link::{self, Links},
    perfect::Crash,
};
use quorate_core::{Addr, Host, Incarnation, Membership, ProcessId};
use quorate_detectors::{
    exclude_on_timeout, exclusion_notice, first_incarnations, increasing_timeout, lowest_rank,
};
use quorate_links::perfect::{self, PerfectLinks};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The datagram size of a link over a byte stream, in bytes.
const STREAM_DATAGRAM: usize = 64 * 1024;

/// How many bytes of each datagram belong to the layer that seals, and how long the rest can be.
#[cfg(feature = "sealed")]
const SEALING: (usize, usize) = (
    quorate_sealed::layer::SHORTER,
    quorate_sealed::layer::LONGEST,
);
#[cfg(not(feature = "sealed"))]
const SEALING: (usize, usize) = (0, usize::MAX);

/// Describes a node. Every setting except the socket has a default.
///
/// # What the restart of a process means
/// A process that was killed, or has ended, and is started again has lost its memory. What that means depends on
/// what is declared:
///
/// | declared | a process that was started again |
/// |---|---|
/// | [replicated machines](Builder::replicated), [ordered registers](Builder::ordered_registers), [leadership](Builder::leadership), [locks](Builder::locks) | takes part again by itself, with the state |
/// | [primary views](Builder::views) | is outside, may [join](super::Group::join), and gets the state |
/// | [plain total order](Builder::total_order), in a node with one of the above | goes on where the others are, and is told what it [skips](crate::StreamError::Skipped) |
/// | all else, in a node with one of the above | has no place: the others go on without it, and its handles say [`StartedAgain`](Error::StartedAgain) |
/// | a node with none of the above | is [excluded](Error::Excluded), and the others go on without it |
///
/// [`NodeStatus::started_again`](super::NodeStatus::started_again) says whether this process is one.
pub struct Builder {
    pub(super) me: ProcessId,
    peers: Vec<PeerAddress>,
    resolver: Resolver,
    incarnation: Incarnation,
    seed: Option<u64>,
    pub(super) socket: Option<Socket>,
    pub(super) link: perfect::LinkSettings,
    application: String,
    datagram: Option<usize>,
    detector: increasing_timeout::DetectorSettings,
    pub(super) synchrony: Option<exclude_on_timeout::SynchronyBounds>,
    pub(super) order: Chosen,
    pub(super) edges: Edges,
    pub(super) limits: Limits,
    pub(super) backlog: usize,
    drain: Duration,
    on_panic: OnPanic,
    thread: Option<SharedThread>,
    trace: usize,
    #[cfg(feature = "metrics")]
    pub(super) metrics: Option<Duration>,
    pub(super) faults: Faults,
    cancellation: CancellationToken,
    #[cfg(feature = "sealed")]
    pub(super) keys: Option<super::keys::Keys>,
    insecure: bool,
    /// Whether some module floods messages over fair-loss lanes.
    pub(super) floods: bool,
    pub(super) modules: BTreeMap<String, Module>,
    pub(super) handles: Handles,
}

/// Settings.
impl Builder {
    pub(super) fn new(me: ProcessId, peers: Vec<PeerAddress>) -> Self {
        Builder {
            me,
            peers,
            resolver: lookup::of_the_system(),
            incarnation: crate::host::fresh_incarnation(),
            seed: None,
            socket: None,
            link: perfect::LinkSettings::default(),
            application: String::new(),
            datagram: None,
            detector: increasing_timeout::DetectorSettings::default(),
            synchrony: None,
            order: Chosen::default(),
            edges: Edges::default(),
            limits: Limits::default(),
            backlog: 64 << 20,
            drain: Duration::from_secs(5),
            on_panic: OnPanic::default(),
            thread: None,
            trace: 0,
            #[cfg(feature = "metrics")]
            metrics: None,
            faults: Faults::default(),
            cancellation: CancellationToken::new(),
            #[cfg(feature = "sealed")]
            keys: None,
            insecure: false,
            floods: false,
            modules: BTreeMap::new(),
            handles: Handles::default(),
        }
    }

    /// The function that finds the addresses of peers known by name, in place of the operating system: a
    /// service directory, or a test. Tasks of the runtime in which the node starts call it at the start,
    /// and again while a peer is silent, at intervals that grow from half a second to five seconds. If it
    /// finds several addresses, they are tried in turn. Default: the operating system's resolver, as
    /// [`lookup_host`](tokio::net::lookup_host) uses it.
    ///
    /// # Example
    /// ```
    /// # use quorate_core::ProcessId;
    /// # use quorate_runtime::{Node, PeerAddress};
    /// # use std::net::SocketAddr;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
    /// let peers: Vec<PeerAddress> = vec!["first:7100".parse()?, "second:7100".parse()?];
    /// let node = Node::builder(me, peers)
    ///     .udp("127.0.0.1:0".parse()?)
    ///     .resolver(|name| async move {
    ///         let loopback = [127, 0, 0, if name.host() == "first" { 1 } else { 2 }];
    ///         Ok(vec![SocketAddr::from((loopback, name.port()))])
    ///     });
    /// # node.start().await?.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn resolver<F, R>(mut self, resolver: F) -> Self
    where
        F: Fn(PeerName) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        self.resolver = Arc::new(move |name| Box::pin(resolver(name)));
        self
    }

    /// Talks through a socket that is bound already.
    #[must_use]
    pub fn socket(mut self, socket: impl Into<Socket>) -> Self {
        self.socket = Some(socket.into());
        self
    }

    /// Lets the node bind any address without keys. Then whoever reaches that address can speak for a member, read and
    /// alter everything: only for networks that nobody else is in. The log says so, and the
    /// [status](NodeStatus::protection). With keys it changes nothing.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// The cluster's name. Processes of different clusters do not talk to each other. Default: `quorate`.
    #[must_use]
    pub fn cluster(mut self, name: &str) -> Self {
        name.clone_into(&mut self.link.cluster);
        self
    }

    /// The name and version of the program itself. Processes whose programs differ here do not talk to each
    /// other. Use it for what the names of the modules do not express, such as the format of a machine's
    /// commands. Default: empty.
    #[must_use]
    pub fn application(mut self, version: &str) -> Self {
        version.clone_into(&mut self.application);
        self
    }

    /// The incarnation of this process. Default: made of the wall clock and randomness.
    #[must_use]
    pub fn incarnation(mut self, incarnation: Incarnation) -> Self {
        self.incarnation = incarnation;
        self
    }

    /// The seed of all randomness of the algorithms. Default: taken from the operating system.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The longest datagram, in bytes. If the links are sealed, 30 of these bytes are theirs, and no datagram is longer
    /// than 65507 bytes. Default: 1200 over UDP, 65536 over TCP.
    #[must_use]
    pub fn datagram(mut self, bytes: usize) -> Self {
        self.datagram = Some(bytes);
        self
    }

    /// The longest message of a module in bytes, with its headers. It must be the same on every process. A
    /// handle refuses a longer message. A longer message of a user's own algorithm is sent to nobody, and
    /// the node reports it ([`NodeEvent::TooLong`](super::NodeEvent::TooLong)). Default: 16 MiB.
    #[must_use]
    pub fn maximum_message(mut self, bytes: usize) -> Self {
        self.link.maximum_message = bytes;
        self
    }

    /// How many bytes may be sent to a peer and not acknowledged. Above this limit the stream to the peer
    /// ends if the peer acknowledges nothing for 2 seconds (5 over TCP), and at four times the limit it
    /// ends at once. The bytes that wait in the stream are freed, users at both ends are told
    /// ([`Gap`](crate::StreamError::Gap)), and the next stream begins when the peer answers: no process
    /// loses its place. Not below [`maximum_message`](Builder::maximum_message). Default: 64 MiB.
    #[must_use]
    pub fn queue_limit(mut self, bytes: usize) -> Self {
        self.link.queue_limit = bytes;
        self
    }

    /// The settings of the failure detector that suspects silent peers.
    #[must_use]
    pub fn detector(mut self, settings: increasing_timeout::DetectorSettings) -> Self {
        self.detector = settings;
        self
    }

    /// Assumes a synchronous system with these bounds, so that algorithms which need the perfect failure
    /// detector can be declared. The processes must start within its timeout. If the assumption fails (a
    /// pause, a cut, a late start), a live process is reported as crashed for ever, and those algorithms
    /// lose their properties. The reported process is told as soon as it can be reached, and stops with
    /// [`ReportedCrashed`](Error::ReportedCrashed). After a cut this can happen to the processes of both
    /// sides when the cut heals.
    #[must_use]
    pub fn assume_synchronous(mut self, bounds: exclude_on_timeout::SynchronyBounds) -> Self {
        self.synchrony = Some(bounds);
        self
    }

    /// How many own messages of a module may be in flight, or proposals, votes, operations, for modules
    /// declared from now on. Default: 1024.
    #[must_use]
    pub fn window(mut self, messages: usize) -> Self {
        self.limits.messages = messages;
        self
    }

    /// How many bytes the own messages of a module that are in flight may have together; a single message
    /// may be longer. Applies to modules that are declared after this call. Default: 4 MiB.
    #[must_use]
    pub fn window_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// How many bytes of deliveries may wait for a slow reader. From half of the limit on, the other
    /// processes are slowed, and messages that are in flight then still arrive. Above the limit this
    /// process holds back its own messages, too. Applies to modules that are declared after this call.
    /// Default: 64 MiB.
    #[must_use]
    pub fn backlog(mut self, bytes: usize) -> Self {
        self.backlog = bytes;
        self
    }

    /// The longest time that a shutdown waits for own messages to be delivered. Default: 5 seconds.
    #[must_use]
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// Keeps this number of records of the node's activity, for diagrams: see
    /// [`Node::recorder`](super::Node::recorder). Default: none.
    #[must_use]
    pub fn trace(mut self, records: usize) -> Self {
        self.trace = records;
        self
    }

    /// What happens when an algorithm panics. Default: the process aborts.
    #[must_use]
    pub fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.on_panic = on_panic;
        self
    }

    /// Runs the node on a thread that it shares with other nodes: for programs with many nodes that each
    /// have little to do. Default: a thread of its own.
    #[must_use]
    pub fn shared_thread(mut self, thread: &SharedThread) -> Self {
        self.thread = Some(thread.clone());
        self
    }

    /// Uses fault switches that exist already.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Shuts the node down, in good order, when this token is cancelled.
    #[must_use]
    pub fn cancellation(mut self, token: CancellationToken) -> Self {
        self.cancellation = token;
        self
    }
}

/// The start of the node.
impl Builder {
    /// Binds the socket, wires the modules and starts the protocol thread.
    ///
    /// # Errors
    /// When the membership or the settings are unusable, or the operating system refuses the
    /// socket or the thread.
    #[expect(
        clippy::unused_async,
        reason = "callers are not to depend on nothing being waited for"
    )]
    pub async fn start(self) -> Result<Node, StartError> {
        let handles = self.handles.clone();
        let started = self.start_now();
        if started.is_err() {
            // Some modules may have been wired already: their handles must not wait.
            handles.abandon(&Error::NotStarted, None);
        }
        started
    }

    fn start_now(mut self) -> Result<Node, StartError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(StartError::NoRuntime);
        }
        let processes = self.check()?;
        let socket = self.socket.take().ok_or(StartError::NoSocket)?.bind()?;
        let address = socket.address().map_err(start_error)?;
        self.check_addresses(processes, &socket, address)?;
        let protection = self.protection(address)?;
        let identity = Identity {
            me: self.me,
            incarnation: self.incarnation,
            processes,
            seed: self.seed.unwrap_or_else(rand::random),
        };
        let mut protocol = match &self.thread {
            None => Protocol::new(identity).map_err(start_error)?,
            Some(thread) => Protocol::on(identity, thread),
        };
        protocol.on_panic(self.on_panic);

        let needed = self.link.admission.others(&processes);
        let mut snapshot = NodeStatus::new(self.me, self.incarnation, &self.peers, needed);
        snapshot.protection = protection;
        let (sight, seen) = Sight::new(snapshot, &self.link.cluster, self.synchrony.is_some());
        let sight = Arc::new(sight);
        if protection == Protection::Insecure {
            sight.span().in_scope(|| {
                tracing::warn!("insecure: members are not authenticated at {address}");
            });
        }
        protocol.span(sight.span().clone());
        sight::log_counts(protocol.host().counters(), sight.span());
        let settings = self.link_settings(&socket);
        let stack = settings.stack.clone();
        let links = PerfectLinks::new(protocol.host(), settings);
        let recorder = (self.trace > 0).then(|| protocol.record(self.trace));
        if let Some(recorder) = &recorder {
            links.tap(Arc::new(recorder.clone()));
        }
        let leave = self.wire(protocol.host(), &links, sight.clone())?;
        let addresses = Addresses::new(self.peers.iter().map(PeerAddress::fixed));
        let family = Family::of(&socket, address);
        let lookups = self.lookups(&links, family, &addresses, &seen.status, &sight);
        #[cfg(feature = "sealed")]
        let (below, ring) = match &self.keys {
            None => (self.attach(socket, &mut protocol, addresses, &links), None),
            Some(keys) => {
                let attached =
                    self.attach_sealed(keys, socket, &mut protocol, &addresses, &links, &sight);
                let (below, ring) = attached.map_err(start_error)?;
                (Ok(below), Some(ring))
            }
        };
        #[cfg(not(feature = "sealed"))]
        let below = self.attach(socket, &mut protocol, addresses, &links);
        drop(sight);
        links.start(below.map_err(start_error)?)?;

        if let Some(lookups) = lookups {
            let until_dropped = lookups.start(&self.peers);
            protocol.at_end(move |_| drop(until_dropped));
        }
        let handles = self.handles.clone();
        protocol.at_end(move |ending| {
            let (error, last) = match ending {
                Ending::Stopped => (Error::Stopped, None),
                Ending::Panicked(message) => {
                    let error = Error::Panicked(message.clone());
                    (error.clone(), Some(error))
                }
            };
            handles.abandon(&error, last.as_ref());
        });
        #[cfg(feature = "metrics")]
        self.publish(&mut protocol, &links);
        let inner = Arc::new(Inner {
            thread: protocol.start().map_err(start_error)?,
            leave,
            drained: links.drained(),
            gauges: links.gauges(),
            handles: self.handles,
            drain: self.drain,
        });
        supervise(inner.clone(), self.cancellation.clone());
        Ok(Node {
            inner,
            seen,
            faults: self.faults,
            recorder,
            stack,
            address,
            #[cfg(feature = "sealed")]
            keys: ring,
            cancellation: self.cancellation,
        })
    }

    /// Joins the socket to the links, which are not sealed.
    fn attach(
        &self,
        socket: Bound,
        protocol: &mut Protocol,
        addresses: Addresses,
        links: &PerfectLinks<TokioHost>,
    ) -> io::Result<Addr<Transmit>> {
        socket.attach(
            protocol,
            addresses,
            self.edges,
            &self.faults,
            links.arrivals(),
        )
    }

    /// What protects the links of a node that is bound to this address.
    fn protection(&self, bound: SocketAddr) -> Result<Protection, StartError> {
        if self.is_sealed() {
            return Ok(Protection::Sealed);
        }
        if bound.ip().to_canonical().is_loopback() {
            return Ok(Protection::Loopback);
        }
        if self.insecure {
            return Ok(Protection::Insecure);
        }
        Err(StartError::Unprotected { address: bound })
    }

    /// Whether the links are sealed.
    #[cfg(feature = "sealed")]
    fn is_sealed(&self) -> bool {
        self.keys.is_some()
    }

    #[cfg(not(feature = "sealed"))]
    #[expect(clippy::unused_self, reason = "the signature is that of the other")]
    fn is_sealed(&self) -> bool {
        false
    }

    /// How many bytes of each datagram belong to the layer that seals, and how long the rest can be.
    fn sealing(&self) -> (usize, usize) {
        if self.is_sealed() {
            SEALING
        } else {
            (0, usize::MAX)
        }
    }

    /// Publishes the counters and gauges to the program's recorder, if the builder was told to.
    #[cfg(feature = "metrics")]
    fn publish(&self, protocol: &mut Protocol, links: &PerfectLinks<TokioHost>) {
        let Some(every) = self.metrics else {
            return;
        };
        let (until_dropped, ended) = tokio::sync::oneshot::channel::<()>();
        protocol.at_end(move |_| drop(until_dropped));
        let publisher = super::metrics::Publisher {
            cluster: self.link.cluster.clone(),
            me: self.me,
            counters: protocol.host().counters().clone(),
            gauges: super::gauges::Gauges(links.gauges()),
        };
        tokio::spawn(publisher.publish(every, ended));
    }

    /// The lookups of the peers' names, if some peers are known by name.
    fn lookups(
        &self,
        links: &PerfectLinks<TokioHost>,
        family: Family,
        addresses: &Addresses,
        status: &watch::Receiver<NodeStatus>,
        sight: &Arc<Sight>,
    ) -> Option<Lookups> {
        if self.peers.iter().all(|peer| peer.name().is_none()) {
            return None;
        }
        let (heard, deaf) = lookup::those_that_do_not_hear(self.me);
        links.signs_of_life(heard);
        Some(Lookups {
            resolver: self.resolver.clone(),
            family,
            addresses: addresses.clone(),
            status: status.clone(),
            deaf,
            sight: Arc::downgrade(sight),
        })
    }

    /// How many processes the cluster has.
    #[cfg(feature = "links")]
    pub(super) fn processes(&self) -> usize {
        self.peers.len().max(1)
    }

    fn check(&self) -> Result<Membership, StartError> {
        let processes = Membership::of_size(self.peers.len())?;
        if !processes.contains(self.me) {
            return Err(StartError::NotMember {
                me: self.me,
                n: self.peers.len(),
            });
        }
        let mut known = BTreeMap::new();
        for (process, address) in processes.iter().zip(&self.peers) {
            if let Some(other) = known.insert(address, process) {
                return Err(StartError::SameAddress {
                    one: other,
                    other: process,
                    address: address.clone(),
                });
            }
        }
        #[cfg(feature = "sealed")]
        if let Some(keys) = &self.keys {
            keys.check(self.me, &processes)?;
        }
        self.check_settings()?;
        Ok(processes)
    }

    /// Refuses addresses at which no process can be, and addresses that a UDP socket of the other IP
    /// version cannot reach: the node could never talk to them.
    fn check_addresses(
        &self,
        processes: Membership,
        socket: &Bound,
        from: SocketAddr,
    ) -> Result<(), StartError> {
        let family = Family::of(socket, from);
        let is_bad = |address| lookup::is_nowhere(address) || family.is_foreign(address);
        let peers = processes.iter().zip(&self.peers);
        let mut fixed = peers.filter_map(|(process, peer)| Some((process, peer.fixed()?)));
        match fixed.find(|(process, address)| *process != self.me && is_bad(*address)) {
            Some((process, address)) => Err(StartError::BadAddress {
                process,
                address,
                from,
            }),
            None => Ok(()),
        }
    }

    /// Refuses settings that would silently stall total order or keep the thread busy.
    fn check_settings(&self) -> Result<(), StartError> {
        let zeros = [
            ("the detector's interval", self.detector.interval.is_zero()),
            ("the detector's timeout", self.detector.timeout.is_zero()),
        ];
        let mut zeros = zeros.into_iter().chain(self.order.zeros());
        if let Some((setting, _)) = zeros.find(|(_, zero)| *zero) {
            return Err(StartError::Zero(setting));
        }
        let (queue, message) = (self.link.queue_limit, self.link.maximum_message);
        if queue < message {
            return Err(StartError::ShortQueue { queue, message });
        }
        let (own, _) = self.sealing();
        let least = LEAST_DATAGRAM + own;
        if let Some(datagram) = self.datagram.filter(|it| self.floods && *it < least) {
            return Err(StartError::ShortDatagram { datagram, least });
        }
        Ok(())
    }

    fn link_settings(&self, socket: &Bound) -> perfect::LinkSettings {
        let stream = socket.is_stream();
        let algorithms = self.modules.values().map(|m| m.algorithms.as_str());
        let algorithms: BTreeSet<_> = algorithms.collect();
        let mut settings = self.link.clone();
        settings.stack = Vec::from_iter(algorithms).join(" ");
        self.name_order(&mut settings);
        if self.synchrony.is_some() {
            settings.stack.push_str(" synchronous");
        }
        if !self.application.is_empty() {
            // The version is one word of the stack's description, without spaces.
            let version: Vec<&str> = self.application.split_whitespace().collect();
            settings.stack.push_str(" application:");
            settings.stack.push_str(&version.join("/"));
        }
        settings.stream = stream;
        if let Some(datagram) = self.datagram {
            settings.datagram = datagram;
        } else if stream {
            settings.datagram = STREAM_DATAGRAM;
        }
        let (own, longest) = self.sealing();
        settings.datagram = settings.datagram.saturating_sub(own).min(longest);
        settings
    }

    /// Starts the detectors, the modules, and what keeps the status. Gives where it is said that this process
    /// leaves.
    fn wire(
        &mut self,
        host: &TokioHost,
        links: &PerfectLinks<TokioHost>,
        status: Arc<Sight>,
    ) -> Result<Subscribe<()>, StartError> {
        let heartbeat = |up| links.heartbeat(up);
        let detector = increasing_timeout::spawn_with_incarnations(
            &host.at("detector"),
            self.detector,
            heartbeat,
            &links.status(),
        );
        let leader = lowest_rank::spawn_by_reach(&host.at("leader"), &detector.reach);
        let perfect = self.synchrony.map(|bounds| {
            let (host, heartbeat) = (host.at("synchrony"), |up| links.signs_of_life(up));
            exclude_on_timeout::spawn_with_incarnations(&host, bounds, heartbeat, &links.status())
        });
        if let Some(perfect) = &perfect {
            self.stop_when_reported(host, links, perfect);
            let of_perfect = status.clone();
            perfect.send(Addr::new(move |crash| {
                of_perfect.change(|now| now.upon_crash(crash));
            }));
        }
        let group = self.group(host, links).map(Arc::new);
        // Whoever was started again takes part in the order only: elsewhere it is as if it had crashed.
        let (suspicions, trust) = if self.rejoins() {
            let firsts = host.at("first-incarnations");
            let (suspicions, reach) = (&detector.suspicions, &detector.reach);
            let of = first_incarnations::spawn(&firsts, suspicions, reach, &links.status());
            let trust = lowest_rank::spawn_by_reach(&firsts.at("leader"), &of.reach);
            (of.suspicions, trust)
        } else {
            (detector.suspicions.clone(), leader.clone())
        };
        let of_node = Wiring {
            span: status.span().clone(),
            host: host.clone(),
            links: links.clone(),
            detector: detector.suspicions.clone(),
            leader: leader.clone(),
            #[cfg(feature = "broadcast")]
            reach: detector.reach.clone(),
            #[cfg(feature = "broadcast")]
            status: status.watch(),
            perfect,
            #[cfg(feature = "broadcast")]
            total_order: self.fitting_total_order(),
            #[cfg(feature = "rounds")]
            sight: Arc::downgrade(&status),
            group: None,
        };
        for (name, module) in std::mem::take(&mut self.modules) {
            let group = group.as_ref().filter(|_| self.is_ordered(&module));
            let lanes = match group {
                Some(group) => group.links_of(&name, module.group_use),
                None => links.at(&name),
            };
            let (suspicions, trust) = match group {
                Some(_) => (&detector.suspicions, &leader),
                None => (&suspicions, &trust),
            };
            (module.wire)(Wiring {
                span: tracing::error_span!(parent: &of_node.span, "module", name),
                host: host.at(&name),
                links: lanes,
                detector: suspicions.clone(),
                leader: trust.clone(),
                group: group.cloned(),
                ..of_node.clone()
            })?;
        }
        if let Some(group) = group {
            self.start_group(&group, &of_node, &status)?;
        }
        let (of_detector, of_leader) = (status.clone(), status.clone());
        detector.reach.send(Addr::new(move |reach| {
            of_detector.change(|now| now.upon_reach(reach));
        }));
        let of_timeouts = status.clone();
        detector.timeouts.send(Addr::new(move |allowed| {
            of_timeouts.change(|now| now.upon_timeout(allowed));
        }));
        leader.send(Addr::new(move |trust| {
            of_leader.change(|now| now.upon_leader(trust));
        }));
        tell_met_and_room(links, &status);
        tell_too_long(links, &status);
        let handles = self.handles.clone();
        links.status().send(Addr::new(move |news: link::Status| {
            if let link::Status::Newcomer { .. } = &news {
                handles.abandon_beside_the_order(&Error::StartedAgain);
            }
            if let link::Status::Excluded { by, reason } = &news {
                let (by, reason) = (*by, reason.clone());
                let error = Error::Excluded { by, reason };
                handles.abandon(&error, Some(&error));
            }
            status.change(|now| now.upon_status(news));
        }));
        Ok(detector.leave)
    }

    /// Who is reported as crashed, and learns of it, stops at once: its state is not what the others
    /// believe.
    fn stop_when_reported(
        &self,
        host: &TokioHost,
        links: &PerfectLinks<TokioHost>,
        perfect: &Subscribe<Crash>,
    ) {
        // No module's lane has this path.
        let links = links.at("synchrony").at("notices");
        let (handles, stopped) = (self.handles.clone(), host.clone());
        let up = Addr::new(move |exclusion_notice::Reported { by }| {
            let error = Error::ReportedCrashed { by };
            tracing::error!(%error, "stopped");
            handles.abandon(&error, Some(&error));
            // The first error to be set is the reason.
            let _ = handles.failure.set(error);
            stopped.shared.stop();
        });
        let host = host.at("synchrony").at("notices");
        exclusion_notice::spawn(&host, links.lane(), &links.status(), perfect, up);
    }
}

/// Who has met this process, and how much each peer has room for, goes into the status.
fn tell_met_and_room(links: &PerfectLinks<TokioHost>, status: &Arc<Sight>) {
    let of_links = status.clone();
    links.met().send(Addr::new(move |met| {
        of_links.change(|now| now.upon_met(met));
    }));
    let of_pressure = status.clone();
    links.rooms().send(Addr::new(move |news| {
        of_pressure.change(|now| now.upon_room(news));
    }));
}

/// Reports messages that this process wants to send and that are too long.
fn tell_too_long(links: &PerfectLinks<TokioHost>, status: &Arc<Sight>) {
    let status = status.clone();
    links
        .too_long()
        .send(Addr::new(move |message: perfect::TooLong| {
            let perfect::TooLong { lane, bytes, limit } = message;
            let lane = lane.to_string();
            status.change(|_| vec![NodeEvent::TooLong { lane, bytes, limit }]);
        }));
}

/// Shuts the node down when the token is cancelled, unless the node ends before.
fn supervise(inner: Arc<Inner>, cancellation: CancellationToken) {
    tokio::spawn(async move {
        let cancelled = tokio::select! {
            () = cancellation.cancelled() => true,
            _ = inner.thread.ended() => false,
        };
        if cancelled && let Err(error) = inner.shut_down().await {
            tracing::warn!(%error, "cancelled");
        }
    });
}

fn start_error(error: io::Error) -> StartError {
    StartError::Start(Arc::new(error))
}
