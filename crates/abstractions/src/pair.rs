//! Two of the processes as a system of their own, in which they are p1 and p2.
//!
//! An algorithm that is to run between two processes alone, where there are more, gets the host, the links and
//! the detector of their pair: it knows of nobody else. The pair sends on lanes of the whole system. Each process has
//! the same lanes, and one lane serves many pairs: that of *colour* c carries the messages of the pairs whose ranks
//! have the sum c, modulo n, as in the rounds of a tournament. These pairs have no process in common. A process
//! forms a pair with itself, too, in which it is alone: so it has one partner a colour, and opens the lane of each.
use crate::{
    Subscribe,
    link::{Deliver, Links, SendRequest, Status, To},
    perfect::Crash,
};
use quorate_core::{
    Addr, Algorithm, Counters, Host, Incarnation, Mailbox, Membership, Name, Observe, ProcessId,
    ProcessSet, wire::Wire,
};

/// A pair of processes, of which this process is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair {
    /// The process of lower rank, which is p1 in the pair, and the other.
    ends: [ProcessId; 2],
    me: ProcessId,
    /// The processes of the pair, by their names in it: two, or one.
    processes: Membership,
    colour: usize,
}

impl Pair {
    /// The pair of the process at `host` and its partner; `None` if that is no process of Π.
    pub fn of(host: &impl Host, partner: ProcessId) -> Option<Self> {
        let (me, all) = (host.me(), host.processes());
        let processes = Membership::of_size(if partner == me { 1 } else { 2 }).ok()?;
        all.contains(partner).then(|| Pair {
            ends: [me.min(partner), me.max(partner)],
            me,
            processes,
            colour: (me.rank() + partner.rank()) % all.n(),
        })
    }

    /// The colour: pairs of the same colour have no process in common. Below n.
    pub fn colour(&self) -> usize {
        self.colour
    }

    /// The name of a process in the pair, if it belongs to the pair.
    fn inside(&self, p: ProcessId) -> Option<ProcessId> {
        let end = self.ends.iter().position(|end| *end == p)?;
        self.processes.iter().nth(end)
    }

    /// The process that has this name in the pair.
    fn outside(&self, name: ProcessId) -> Option<ProcessId> {
        let end = self.processes.iter().position(|known| known == name)?;
        self.ends.get(end).copied()
    }

    /// The host of this process in the pair.
    pub fn host<H: Host>(&self, host: &H) -> PairHost<H> {
        let (pair, host) = (*self, host.clone());
        PairHost { pair, host }
    }

    /// The links of this process in the pair. Whatever comes from others is dropped.
    pub fn links<L: Links>(&self, links: &L) -> PairLinks<L> {
        let (pair, links) = (*self, links.clone());
        PairLinks { pair, links }
    }

    /// The detector of the pair: it reports the partner.
    pub fn detector(&self, detector: &Subscribe<Crash>) -> Subscribe<Crash> {
        let pair = *self;
        detector.with(move |up: Addr<Crash>| {
            Addr::new(move |Crash(p)| {
                if let Some(name) = pair.inside(p) {
                    up.send(Crash(name));
                }
            })
        })
    }

    /// The receivers of a message, by their names in the system.
    fn receivers(&self, to: To) -> To {
        let outside =
            |names: ProcessSet| names.iter().filter_map(|name| self.outside(name)).collect();
        match to {
            To::One(name) => self
                .outside(name)
                .map_or(To::Some(ProcessSet::EMPTY), To::One),
            To::Some(names) => To::Some(outside(names)),
            To::All => To::Some(self.ends.into_iter().collect()),
        }
    }

    /// The status, if it concerns the pair.
    fn status(&self, status: Status) -> Option<Status> {
        Some(match status {
            Status::Connected { peer, incarnation } => Status::Connected {
                peer: self.inside(peer)?,
                incarnation,
            },
            Status::Refused { peer, reason } => Status::Refused {
                peer: self.inside(peer)?,
                reason,
            },
            Status::Ended { peer } => Status::Ended {
                peer: self.inside(peer)?,
            },
            Status::Begun { peer } => Status::Begun {
                peer: self.inside(peer)?,
            },
            Status::Gap { peer } => Status::Gap {
                peer: self.inside(peer)?,
            },
            Status::Replaced {
                peer,
                known,
                newcomer,
            } => Status::Replaced {
                peer: self.inside(peer)?,
                known,
                newcomer,
            },
            Status::Newcomer { by, known } => Status::Newcomer {
                by: self.inside(by)?,
                known,
            },
            Status::Excluded { by, reason } => Status::Excluded {
                by: self.inside(by)?,
                reason,
            },
            Status::Admitted => Status::Admitted,
        })
    }
}

/// A process as one of two.
#[derive(Clone)]
pub struct PairHost<H> {
    pair: Pair,
    host: H,
}

impl<H: Host> Host for PairHost<H> {
    fn me(&self) -> ProcessId {
        self.pair.inside(self.pair.me).unwrap_or(self.pair.me)
    }

    fn incarnation(&self) -> Incarnation {
        self.host.incarnation()
    }

    fn processes(&self) -> &Membership {
        &self.pair.processes
    }

    fn counters(&self) -> &Counters {
        self.host.counters()
    }

    fn path(&self) -> &Name {
        self.host.path()
    }

    fn at(&self, segment: &str) -> Self {
        self.pair.host(&self.host.at(segment))
    }

    fn mailbox<E: Observe + Send + 'static>(&self) -> Mailbox<E> {
        self.host.mailbox()
    }

    fn start<A: Algorithm>(
        &self,
        mailbox: Mailbox<A::Event>,
        algorithm: A,
        route: impl FnMut(A::Effect) + Send + 'static,
    ) {
        self.host.start(mailbox, algorithm, route);
    }
}

/// Links between the two alone.
#[derive(Clone)]
pub struct PairLinks<L> {
    pair: Pair,
    links: L,
}

impl<L: Links> Links for PairLinks<L> {
    fn at(&self, segment: &str) -> Self {
        self.pair.links(&self.links.at(segment))
    }

    fn open<M: Wire>(&self, up: Addr<Deliver<M>>) -> Addr<SendRequest<M>> {
        let pair = self.pair;
        let below = self.links.open(Addr::new(move |Deliver { from, message }| {
            if let Some(from) = pair.inside(from) {
                up.send(Deliver { from, message });
            }
        }));
        below.with(move |SendRequest { to, message }| SendRequest {
            to: pair.receivers(to),
            message,
        })
    }

    fn status(&self) -> Subscribe<Status> {
        let pair = self.pair;
        self.links.status().with(move |up: Addr<Status>| {
            Addr::new(move |status| {
                if let Some(status) = pair.status(status) {
                    up.send(status);
                }
            })
        })
    }
}

#[cfg(test)]
mod tests;
