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

/// What the modules of perfect links are made of.
const PERFECT: &str = "links:perfect";

/// What a module of fair-loss links is made of.
const FAIR_LOSS: &str = "links:fair-loss";

impl Handles {
    fn keep_flows(&mut self, flows: &[Arc<Flow>]) {
        let flows = flows.iter().map(|flow| flow.clone() as Arc<dyn Drain>);
        self.flows.extend(flows);
    }
}

/// Links.
impl Builder {
    /// Declares perfect point-to-point links for messages of type `T`: what a correct process sends to a
    /// correct one arrives, once, in no particular order. Beside the name, the names `NAME:p1`, `NAME:p2`, … are
    /// used: each receiver is a module of its own for windows and room, so that one that does not keep up
    /// slows what is sent to it only.
    ///
    /// Before the two processes have met, messages wait. A receiver that is silent is waited for up to two
    /// minutes; then what is sent to it waits in the link, up to the builder's
    /// [queue limit](Builder::queue_limit), beyond which it is lost and both ends are told
    /// ([`Gap`](crate::StreamError::Gap)). A process that is started again, without its memory, is another one, and
    /// excluded: links carry nothing to or from it.
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

    /// Declares fair-loss links for messages of type `T`: what is sent leaves at once, as one datagram, and may
    /// be lost, come late, or out of order. Nothing is acknowledged or sent again, so that each direction of a
    /// channel goes on by itself when the other is cut. What is sent to a process before the two have met, or
    /// while its reader's [backlog](Builder::backlog) is full, is lost.
    ///
    /// A message is limited to what a datagram carries, 26 bytes less than the builder's
    /// [datagram](Builder::datagram): a longer one is refused, as [`TooLarge`](crate::Error::TooLarge). The sender
    /// waits for its window, which is that of what the node's thread has not taken, and not for the receiver.
    /// Before this process is admitted the window fills up.
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

    /// All processes, as far as there may be so many.
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

/// Has the reader told of the peers to which, or from which, something may be lost.
fn tell_gaps(wiring: &Wiring, reader: Outlet<Arrival>) {
    let up = Addr::new(move |status| match status {
        Status::Ended { peer } | Status::Gap { peer } => reader.tell(Arrival::Gap(peer)),
        _ => {}
    });
    link::watch_streams(&wiring.links.status(), up);
}

/// Where marks enter the lane in which this process tells itself what the link has taken.
fn open_marks(
    wiring: &Wiring,
    lane: impl Layer<link::Port<Bytes>>,
    ways: Arc<[Arc<Flow>]>,
) -> Addr<SendRequest<Bytes>> {
    let me = wiring.host.me();
    lane.attach(Addr::new(move |arrived| upon_mark(&ways, me, arrived)))
}

/// The module of what goes to one process.
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

/// Where what may be lost arrives: it is, where the reader is too far behind.
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
