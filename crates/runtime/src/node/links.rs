//! Point-to-point links as modules: perfect ones, and fair-loss ones.
use super::{
    Builder, Handles, Wiring,
    codec::Coded,
    flow::{Drain, Flow},
    late_address::LateAddress,
    messages::{Arrival, Messages, Sender, open_way, upon_mark},
    modules::HEADS,
    outlet::Outlet,
};
use crate::error::StartError;
use bytes::Bytes;
use quorate_abstractions::{
    link::{self, Deliver, Links, SendRequest, Status},
    pressure::Wait,
};
use quorate_core::{Addr, Host, Layer, ProcessId};
use std::sync::{Arc, OnceLock};

/// The algorithms of a module of perfect links.
const PERFECT: &str = "links:perfect";

/// The algorithms of a module of fair-loss links.
const FAIR_LOSS: &str = "links:fair-loss";

impl Handles {
    fn keep_flows(&mut self, flows: &[Arc<Flow>]) {
        let flows = flows.iter().map(|flow| flow.clone() as Arc<dyn Drain>);
        self.flows.extend(flows);
    }
}

/// Links.
impl Builder {
    /// Declares perfect point-to-point links for messages of type `T`: each message from a correct process
    /// to a correct process arrives, once, in no particular order. The declaration also uses the names
    /// `NAME:p1`, `NAME:p2`, …: each receiver is a module of its own with its own window and room, so that
    /// a slow receiver slows only the messages sent to it.
    ///
    /// Messages wait until the two processes have met. A silent receiver is waited for up to two minutes.
    /// After that, messages to it wait in the link, up to the builder's [queue
    /// limit](Builder::queue_limit); beyond that limit they are lost and both ends are told
    /// ([`Gap`](crate::StreamError::Gap)). A process that is started again, without its memory, counts as
    /// another process, and is excluded: links carry nothing to or from it.
    ///
    /// # Errors
    /// When one of the names is used already.
    ///
    /// # Example
    /// ```
    /// # use futures::StreamExt;
    /// # use quorate_core::ProcessId;
    /// # use quorate_runtime::Node;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let peers = vec![socket.local_addr()?];
    /// let mut node = Node::builder(me, peers).socket(socket);
    /// let (mail, mut letters) = node.links::<String>("mail")?;
    /// let node = node.start().await?;
    ///
    /// // To oneself, since this cluster has one process.
    /// mail.send(me, "do not forget".to_owned()).await?;
    /// let (from, letter) = letters.next().await.ok_or("the node has stopped")??;
    /// assert_eq!((from, &*letter), (me, "do not forget"));
    /// # node.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn links<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Sender<T>, Messages<T>), StartError> {
        self.links_of(name.into())
    }

    fn links_of<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
    ) -> Result<(Sender<T>, Messages<T>), StartError> {
        let receivers = self.receivers();
        let names: Vec<_> = receivers.iter().map(|to| format!("{name}:{to}")).collect();
        if let Some(used) = names.iter().find(|name| self.modules.contains_key(*name)) {
            return Err(StartError::UsedTwice(used.clone()));
        }
        let limit = self.link.maximum_message.saturating_sub(HEADS);
        let ways = self.ways(limit);
        let (outlet, intake) = Outlet::new(self.backlog);
        let marks = LateAddress::default();
        let (opened, marked, reader) = (marks.clone(), ways.clone(), outlet.clone());
        self.module(&name, &codec.of(&name, PERFECT), move |wiring| {
            tell_gaps(&wiring, reader);
            opened.open(open_marks(&wiring, wiring.links.lane(), marked));
        })?;
        for ((name, to), way) in names.iter().zip(receivers).zip(ways.iter()) {
            let (way, inlet, marks) = (way.clone(), outlet.clone(), marks.clone().addr());
            self.module(name, PERFECT, move |wiring| {
                wire_way(&wiring, to, &way, inlet, marks);
            })?;
        }
        self.handles.keep_flows(&ways);
        self.handles.outlets.push(Arc::new(outlet));
        let sender = Sender::new(ways, codec, None);
        Ok((sender, Messages::new(intake, codec)))
    }

    /// Declares fair-loss links for messages of type `T`: each message is sent at once, as one datagram,
    /// and may be lost, late, or out of order. Nothing is acknowledged or sent again, so that each
    /// direction of a channel works even if the other is cut. A message is lost if it is sent to a process
    /// before the two have met, or while its reader's [backlog](Builder::backlog) is full.
    ///
    /// A message must fit into a datagram: it may have 26 bytes less than the builder's
    /// [datagram](Builder::datagram). A longer one is refused, as [`TooLarge`](crate::Error::TooLarge). The
    /// sender waits for room in its window, which counts the messages that the node's thread has not taken
    /// yet. It does not wait for the receiver. Before this process is admitted the window fills up.
    ///
    /// # Errors
    /// When the name is used already.
    ///
    /// # Example
    /// ```
    /// # use futures::StreamExt;
    /// # use quorate_core::ProcessId;
    /// # use quorate_runtime::{Error, Node};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let peers = vec![socket.local_addr()?];
    /// let mut node = Node::builder(me, peers).socket(socket);
    /// let (gauge, mut readings) = node.datagrams::<Vec<u8>>("gauge")?;
    /// let node = node.start().await?;
    /// node.admitted().await?;
    ///
    /// gauge.send(me, vec![7]).await?;
    /// let (_, reading) = readings.next().await.ok_or("the node has stopped")??;
    /// assert_eq!(reading, [7]);
    /// // No datagram carries this.
    /// let refused = gauge.send(me, vec![7; 100_000]).await;
    /// assert!(matches!(refused, Err(Error::TooLarge { .. })));
    /// # node.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn datagrams<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Sender<T>, Messages<T>), StartError> {
        self.datagrams_of(name.into())
    }

    fn datagrams_of<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
    ) -> Result<(Sender<T>, Messages<T>), StartError> {
        let receivers = self.receivers();
        let ways = self.ways(usize::MAX);
        let (outlet, intake) = Outlet::new(self.backlog);
        let longest = Arc::new(OnceLock::new());
        let (known, opened, inlet) = (longest.clone(), ways.clone(), outlet.clone());
        self.module(&name, &codec.of(&name, FAIR_LOSS), move |wiring| {
            let links = wiring.links.datagrams();
            let _ = known.set(links.longest());
            let up = offering(&wiring, inlet);
            let lane = links.lane().attach(up);
            let sent = wiring.links.at("sent").lane();
            let marks = open_marks(&wiring, sent, opened.clone());
            for (to, way) in receivers.into_iter().zip(opened.iter()) {
                open_way(way, wiring.origin(), to, lane.clone(), marks.clone());
            }
        })?;
        self.handles.keep_flows(&ways);
        self.handles.outlets.push(Arc::new(outlet));
        let sender = Sender::new(ways, codec, Some(longest));
        Ok((sender, Messages::new(intake, codec)))
    }

    /// All processes of the cluster, up to the largest possible number of processes.
    pub(super) fn receivers(&self) -> Vec<ProcessId> {
        let ranks = 1..=self.processes();
        ranks.filter_map(ProcessId::from_rank).collect()
    }

    /// A window for each receiver.
    fn ways(&self, longest: usize) -> Arc<[Arc<Flow>]> {
        let way = |_| Arc::new(Flow::new(self.limits, longest));
        self.receivers().into_iter().map(way).collect()
    }
}

/// Tells the reader of each peer to which, or from which, messages may be lost.
fn tell_gaps(wiring: &Wiring, reader: Outlet<Arrival>) {
    let up = Addr::new(move |status| match status {
        Status::Ended { peer } | Status::Gap { peer } => reader.tell(Arrival::Gap(peer)),
        _ => {}
    });
    link::watch_streams(&wiring.links.status(), up);
}

/// Opens the lane to this process itself in which it marks the messages that the link has taken.
fn open_marks(
    wiring: &Wiring,
    lane: impl Layer<link::Port<Bytes>>,
    ways: Arc<[Arc<Flow>]>,
) -> Addr<SendRequest<Bytes>> {
    let me = wiring.host.me();
    lane.attach(Addr::new(move |arrived| upon_mark(&ways, me, arrived)))
}

/// The module of the messages to one process.
fn wire_way(
    wiring: &Wiring,
    to: ProcessId,
    way: &Flow,
    inlet: Outlet<Arrival>,
    marks: Addr<SendRequest<Bytes>>,
) {
    let me = wiring.origin();
    let wait = Wait::default();
    let backlog = wiring.pressure(wait, way.pressure());
    if to == me.process {
        inlet.open(backlog, wait.reader());
    }
    let misdirected = wiring
        .host
        .counters()
        .counter(wiring.host.path(), "misdirected");
    let up = Addr::new(move |Deliver { from, message }| {
        if to != me.process {
            return misdirected.add(1);
        }
        inlet.tell(Arrival::Message(from, message));
    });
    let lane = wiring.links.lane().attach(up);
    open_way(way, me, to, lane, marks);
}

/// The address for arrivals that may be lost: they are dropped if the reader is too far behind.
pub(super) fn offering(wiring: &Wiring, inlet: Outlet<Arrival>) -> Addr<Deliver<Bytes>> {
    let lost = wiring
        .host
        .counters()
        .counter(wiring.host.path(), "reader behind");
    Addr::new(move |Deliver { from, message }| {
        if !inlet.offer(Arrival::Message(from, message)) {
            lost.add(1);
        }
    })
}
