//! The broadcasts that a node can be asked for by name: each a whole stack, the same for every host.
pub use crate::needs::{Needs, NeedsPerfect};

use crate::stack;
use bytes::Bytes;
use quorate_abstractions::{
    Subscribe, causal, consensus, eventually_perfect, first_in_first_out, leader, link::Links,
    perfect, reconfigurable, regular_total_order, reliable, total_order, uniform,
};
use quorate_broadcast::{
    all_ack, by_consensus_on_messages, by_leader, causal_collected, causal_past, causal_waiting,
    first_in_first_out as fifo, lazy, primary_backup,
};
use quorate_core::{Addr, Host, MessageId};
use std::{fmt, str::FromStr};

/// Converts a delivery of the abstraction to the common type [`Delivery`].
macro_rules! single {
    ($abstraction:ident) => {
        |$abstraction::Deliver { id, payload }: $abstraction::Deliver| one(id, payload)
    };
}

/// Converts a payload to the abstraction's request.
macro_rules! request {
    ($abstraction:ident) => {
        |payload: Bytes| $abstraction::Broadcast { payload }
    };
}

/// Consecutive messages of one origin. Every broadcast here delivers this type, although only the last two
/// promise a total order.
pub type Delivery = total_order::Deliver;

/// A broadcast: an algorithm, and the stack below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Broadcast {
    /// Regular reliable: every process relays each message.
    Eager,
    /// Regular reliable: a message is relayed when its relayer is suspected.
    Lazy,
    /// Uniform reliable, by acknowledgement of a majority.
    MajorityAck,
    /// Uniform reliable, by acknowledgement of all processes that are not reported as crashed.
    AllAck,
    /// First-in first-out, over eager.
    FirstInFirstOut,
    /// First-in first-out and uniform, over majority-ack.
    FirstInFirstOutUniform,
    /// Causal: messages carry their past. Over eager. For short runs only, because the past grows without
    /// bound.
    CausalPast,
    /// Causal and uniform: messages carry their past. Over majority-ack. For short runs only.
    CausalPastUniform,
    /// Causal: messages carry their past, which is garbage-collected. Over eager.
    CausalCollected,
    /// Causal and uniform: messages carry their past, which is garbage-collected. Over majority-ack.
    CausalCollectedUniform,
    /// Causal by vector clocks, over eager.
    CausalWaiting,
    /// Causal by vector clocks and uniform, over majority-ack.
    CausalWaitingUniform,
    /// Regular total order, by consensus on messages, over eager and the rotating coordinator.
    ByConsensusOnMessages,
    /// Uniform total order, by consensus, over majority-ack and the rotating coordinator.
    ByConsensus,
    /// Uniform total order, driven by a leader.
    ByLeader,
    /// Uniform total order by a primary, which waits for all backups that are not reported as crashed.
    PrimaryBackup,
}

/// The default uniform total order.
pub const TOTAL_ORDER: Broadcast = Broadcast::ByLeader;

/// No broadcast has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no broadcast `{0}`: choose one of {names}", names = names())]
pub struct UnknownBroadcast(pub String);

const ALL: [(Broadcast, &str, &str); 16] = [
    (Broadcast::Eager, "eager", "reliable:eager"),
    (Broadcast::Lazy, "lazy", "reliable:lazy"),
    (
        Broadcast::MajorityAck,
        "majority-ack",
        "uniform:majority-ack",
    ),
    (Broadcast::AllAck, "all-ack", "uniform:all-ack"),
    (
        Broadcast::FirstInFirstOut,
        "first-in-first-out",
        "first-in-first-out reliable:eager",
    ),
    (
        Broadcast::FirstInFirstOutUniform,
        "first-in-first-out-uniform",
        "first-in-first-out uniform:majority-ack",
    ),
    (
        Broadcast::CausalPast,
        "causal-past",
        "causal:past reliable:eager",
    ),
    (
        Broadcast::CausalPastUniform,
        "causal-past-uniform",
        "causal:past uniform:majority-ack",
    ),
    (
        Broadcast::CausalCollected,
        "causal-collected",
        "causal:collected reliable:eager",
    ),
    (
        Broadcast::CausalCollectedUniform,
        "causal-collected-uniform",
        "causal:collected uniform:majority-ack",
    ),
    (
        Broadcast::CausalWaiting,
        "causal-waiting",
        "causal:waiting reliable:eager",
    ),
    (
        Broadcast::CausalWaitingUniform,
        "causal-waiting-uniform",
        "causal:waiting uniform:majority-ack",
    ),
    (
        Broadcast::ByConsensusOnMessages,
        "by-consensus-on-messages",
        "total-order:by-consensus-on-messages consensus:rotating-coordinator reliable:eager",
    ),
    (Broadcast::ByConsensus, "by-consensus", stack::TOTAL_ORDER),
    (Broadcast::ByLeader, "by-leader", "total-order:by-leader"),
    (
        Broadcast::PrimaryBackup,
        "primary-backup",
        "total-order:primary-backup",
    ),
];

impl Broadcast {
    /// All broadcasts.
    pub fn all() -> impl Iterator<Item = Broadcast> {
        ALL.iter().map(|(broadcast, _, _)| *broadcast)
    }

    /// Whether all processes deliver the same sequence, even those that crash: what a replicated
    /// service needs.
    pub fn is_uniform_total_order(self) -> bool {
        matches!(
            self,
            Broadcast::ByConsensus | Broadcast::ByLeader | Broadcast::PrimaryBackup
        )
    }

    /// Whether messages may be missing for good when a stream between two processes ends, so that the users
    /// at both ends must be told.
    pub fn may_lose_over_gaps(self) -> bool {
        !matches!(
            self,
            Broadcast::AllAck | Broadcast::ByLeader | Broadcast::PrimaryBackup
        )
    }

    fn entry(self) -> Option<&'static (Broadcast, &'static str, &'static str)> {
        ALL.iter().find(|(broadcast, _, _)| *broadcast == self)
    }

    /// The name by which settings choose it: the name of its algorithm, with an addition if there are
    /// several stacks for that algorithm.
    pub fn name(self) -> &'static str {
        self.entry().map_or("", |(_, name, _)| name)
    }

    /// Its algorithms, top down. Two processes can only talk to each other if these are the same.
    pub fn algorithms(self) -> &'static str {
        self.entry().map_or("", |(_, _, algorithms)| algorithms)
    }

    /// The failure detector that it needs.
    pub fn needs(self) -> Needs {
        match self {
            Broadcast::AllAck
            | Broadcast::CausalCollected
            | Broadcast::CausalCollectedUniform
            | Broadcast::PrimaryBackup => Needs::Perfect,
            Broadcast::Lazy | Broadcast::ByConsensusOnMessages | Broadcast::ByConsensus => {
                Needs::EventuallyPerfect
            }
            Broadcast::ByLeader => Needs::Leader,
            Broadcast::Eager
            | Broadcast::MajorityAck
            | Broadcast::FirstInFirstOut
            | Broadcast::FirstInFirstOutUniform
            | Broadcast::CausalPast
            | Broadcast::CausalPastUniform
            | Broadcast::CausalWaiting
            | Broadcast::CausalWaitingUniform => Needs::Nothing,
        }
    }
}

impl FromStr for Broadcast {
    type Err = UnknownBroadcast;

    fn from_str(name: &str) -> Result<Self, UnknownBroadcast> {
        let found = ALL.iter().find(|(_, known, _)| *known == name);
        found
            .map(|(broadcast, _, _)| *broadcast)
            .ok_or_else(|| UnknownBroadcast(name.to_owned()))
    }
}

impl fmt::Display for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn names() -> String {
    let names: Vec<_> = Broadcast::all().map(Broadcast::name).collect();
    names.join(", ")
}

/// The links, failure detectors and settings of which a stack is built.
#[derive(Clone)]
pub struct Dependencies<L> {
    pub links: L,
    /// ◇P.
    pub eventually_perfect: Subscribe<eventually_perfect::Indication>,
    /// Ω.
    pub leader: Subscribe<leader::Trust>,
    /// P, if the system is synchronous.
    pub perfect: Option<Subscribe<perfect::Crash>>,
    /// How much total order may have in flight.
    pub total_order: by_leader::OrderSettings,
}

/// Starts a broadcast.
///
/// # Errors
/// When it needs P, and `below` has none.
pub fn spawn<H: Host>(
    broadcast: Broadcast,
    host: &H,
    below: &Dependencies<impl Links>,
    up: Addr<Delivery>,
) -> Result<Addr<Bytes>, NeedsPerfect> {
    let links = &below.links;
    let perfect = || below.perfect.as_ref().ok_or(NeedsPerfect(broadcast.name()));
    let eager = |up: Addr<reliable::Deliver>| stack::reliable(host, links, up);
    let majority_ack = |up: Addr<uniform::Deliver>| stack::uniform(host, links, up);
    let decisions =
        |up: Addr<consensus::Decide>| stack::consensus(host, links, &below.eventually_perfect, up);
    Ok(match broadcast {
        Broadcast::Eager => eager(up.with(single!(reliable))).with(request!(reliable)),
        Broadcast::Lazy => {
            let (host, lane) = (host.at("reliable"), links.at("reliable").lane());
            let (up, detector) = (up.with(single!(reliable)), &below.eventually_perfect);
            lazy::spawn(&host, lane, &links.status(), detector, up).with(request!(reliable))
        }
        Broadcast::MajorityAck => majority_ack(up.with(single!(uniform))).with(request!(uniform)),
        Broadcast::AllAck => {
            let (host, lane) = (host.at("uniform"), links.at("uniform").lane());
            let up = up.with(single!(uniform));
            all_ack::spawn(&host, lane, &links.status(), perfect()?, up).with(request!(uniform))
        }
        Broadcast::FirstInFirstOut => {
            let up = up.with(single!(first_in_first_out));
            fifo::spawn(&host.at("first-in-first-out"), eager, up)
                .with(request!(first_in_first_out))
        }
        Broadcast::FirstInFirstOutUniform => {
            let up = up.with(single!(first_in_first_out));
            let over = uniform::as_reliable(majority_ack);
            fifo::spawn(&host.at("first-in-first-out"), over, up).with(request!(first_in_first_out))
        }
        Broadcast::CausalPast => {
            causal_past::spawn(&host.at("causal"), eager, up.with(single!(causal)))
                .with(request!(causal))
        }
        Broadcast::CausalPastUniform => {
            let over = uniform::as_reliable(majority_ack);
            causal_past::spawn(&host.at("causal"), over, up.with(single!(causal)))
                .with(request!(causal))
        }
        Broadcast::CausalCollectedUniform => {
            let up = up.with(single!(causal));
            let over = uniform::as_reliable(majority_ack);
            causal_collected::spawn(&host.at("causal"), over, perfect()?, up).with(request!(causal))
        }
        Broadcast::CausalCollected => {
            let up = up.with(single!(causal));
            causal_collected::spawn(&host.at("causal"), eager, perfect()?, up)
                .with(request!(causal))
        }
        Broadcast::CausalWaiting => {
            causal_waiting::spawn(&host.at("causal"), eager, up.with(single!(causal)))
                .with(request!(causal))
        }
        Broadcast::CausalWaitingUniform => {
            let over = uniform::as_reliable(majority_ack);
            causal_waiting::spawn(&host.at("causal"), over, up.with(single!(causal)))
                .with(request!(causal))
        }
        Broadcast::ByConsensusOnMessages => by_consensus_on_messages::spawn(
            &host.at("total-order"),
            by_consensus_on_messages::ProposalSettings::default(),
            eager,
            consensus::as_regular(decisions),
            up.with(single!(regular_total_order)),
        )
        .with(request!(regular_total_order)),
        Broadcast::ByConsensus => {
            let detector = &below.eventually_perfect;
            stack::total_order(host, links, detector, below.total_order, up)
                .with(request!(total_order))
        }
        Broadcast::ByLeader => by_leader(host, below, up).with(request!(total_order)),
        Broadcast::PrimaryBackup => {
            let (host, links) = (host.at("total-order"), links.at("total-order"));
            let (lane, status) = (links.lane(), links.status());
            primary_backup::spawn(&host, lane, &status, perfect()?, up).with(request!(total_order))
        }
    })
}

/// Uniform total order, driven by a leader.
pub fn by_leader<H: Host>(
    host: &H,
    below: &Dependencies<impl Links>,
    up: Addr<Delivery>,
) -> Addr<total_order::Broadcast> {
    let (host, links) = (host.at("total-order"), below.links.at("total-order"));
    by_leader::spawn(&host, below.total_order, &links, &below.leader, up)
}

/// Uniform total order, driven by a leader, for a user that gives and takes states.
pub fn by_leader_with_state<H: Host>(
    host: &H,
    below: &Dependencies<impl Links>,
    up: Addr<reconfigurable::Indication>,
) -> Addr<reconfigurable::Request> {
    let (host, links) = (host.at("total-order"), below.links.at("total-order"));
    by_leader::spawn_with_state(&host, below.total_order, &links, &below.leader, up)
}

fn one(id: MessageId, payload: Bytes) -> Delivery {
    Delivery {
        origin: id.origin,
        first: id.sequence,
        payloads: vec![payload],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broadcast_is_found_by_its_name_and_told_from_the_others() {
        for broadcast in Broadcast::all() {
            assert_eq!(broadcast.name().parse::<Broadcast>(), Ok(broadcast));
            let alike = Broadcast::all().filter(|b| b.algorithms() == broadcast.algorithms());
            assert_eq!(alike.count(), 1, "{broadcast}");
        }
        let unknown = "gossip".parse::<Broadcast>().unwrap_err().to_string();
        assert!(unknown.contains("`gossip`") && unknown.contains("causal-waiting"));
    }
}
