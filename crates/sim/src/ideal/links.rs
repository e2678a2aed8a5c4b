//! Perfect links without retransmission, and heartbeats beside them.
use crate::{network::Cargo, state::Shared, world::World};
use quorate_abstractions::{
    Subscribe,
    fair_loss::{self, Transmit, datagrams},
    heartbeat::{Beat, Heard},
    lanes::LaneTable,
    link::{Deliver, Links, SendRequest, Status},
};
use quorate_core::{Addr, Counters, Membership, Name, ProcessId, wire::Wire};
use std::sync::Arc;

/// Ideal perfect links of one process.
///
/// Messages are really encoded and decoded. A copy is in flight as long as the adversary says, held back
/// while its direction is cut, and lost only when its sender crashes and takes it along. Copies to several
/// processes leave in rank order, and the sender may crash between any two. A message to oneself takes no
/// time and is not counted. There are no acknowledgements: the counts are of first transmissions.
#[derive(Clone)]
pub struct IdealLinks {
    shared: Arc<Shared>,
    me: ProcessId,
    table: LaneTable,
    counters: Counters,
    path: Name,
}

impl Links for IdealLinks {
    fn at(&self, segment: &str) -> Self {
        let path = self.path.at(segment);
        IdealLinks {
            path,
            ..self.clone()
        }
    }

    fn status(&self) -> Subscribe<Status> {
        let (shared, me) = (self.shared.clone(), self.me);
        Addr::new(move |watcher| {
            shared.lock().network.ends[me.index()]
                .watchers
                .push(watcher);
        })
    }

    fn open<M: Wire>(&self, up: Addr<Deliver<M>>) -> Addr<SendRequest<M>> {
        let (shared, me) = (self.shared.clone(), self.me);
        let send = Addr::new(move |(opened, send): (usize, SendRequest<bytes::Bytes>)| {
            shared.lock().send(me, opened, send.to, &send.message);
        });
        self.table.open(self.path.clone(), &self.counters, up, send)
    }
}

impl World {
    /// The ideal perfect links of `p`. Every call returns a handle on the same links.
    ///
    /// A run begins by closing the table of lanes; it panics when a lane was opened twice, or when
    /// two processes opened different ones.
    pub fn links(&self, p: ProcessId) -> IdealLinks {
        let counters = self.counters(p);
        let table = self.shared.lock().network.ends[p.index()].table.clone();
        IdealLinks {
            shared: self.shared.clone(),
            me: p,
            table,
            counters,
            path: Name::root(),
        }
    }

    /// Heartbeats of `p`, outside the links. They are lost at a cut, a run does not wait for them, and they
    /// are not counted among the messages.
    pub fn heartbeat(&self, p: ProcessId, up: Addr<Heard>) -> Addr<Beat> {
        self.shared.lock().network.ends[p.index()].heard = Some(up);
        let (shared, others) = (self.shared.clone(), others(*self.membership(), p));
        Addr::new(move |beat| {
            let mut core = shared.lock();
            for q in &others {
                core.send_copy(p, *q, Cargo::Beat(beat));
            }
        })
    }

    /// The fair-loss links of `p`, as an edge would supply them: arriving datagrams go to `arrivals`. Each
    /// datagram is lost, duplicated and delayed independently, as the adversary decides.
    pub fn fair_loss(&self, p: ProcessId, arrivals: Addr<fair_loss::Indication>) -> Addr<Transmit> {
        self.shared.lock().network.ends[p.index()].arrivals = Some(arrivals);
        let (shared, start) = (self.shared.clone(), self.start_of(p));
        Addr::new(move |transmit: Transmit| {
            let mut core = shared.lock();
            if transmit.to == p || core.processes[p.index()].starts != start {
                return;
            }
            for datagram in datagrams(transmit.bytes, transmit.segment) {
                core.send_copy(p, transmit.to, Cargo::Datagram(datagram));
            }
        })
    }
}

fn others(membership: Membership, p: ProcessId) -> Vec<ProcessId> {
    membership.others(p).iter().collect()
}
