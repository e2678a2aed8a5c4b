//! Consensus and atomic commit.
use super::{NO_FAULTS, Published, as_it_is, published, ruled};
use crate::{
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_abstractions::{best_effort, consensus, link, perfect};
use quorate_broadcast::eager;
use quorate_commit::non_blocking;
use quorate_consensus::rotating::{self, Content};
use quorate_core::{Host, Membership, ProcessId, ProcessSet};
use std::collections::{BTreeMap, BTreeSet};

/// The rounds of a process in the instances of a hierarchy, where each value counts at once or never.
struct Rounds {
    me: ProcessId,
    processes: Membership,
    counts: Counts,
    crashed: ProcessSet,
    /// The present round of each instance, as far as it was looked at.
    present: BTreeMap<u64, usize>,
    /// Instances in which this process has led.
    led: BTreeSet<u64>,
}

/// Which values count in the present round.
#[derive(Clone, Copy)]
enum Counts {
    /// The value of any leader, when it arrives.
    WhenItArrives,
    /// That of the leader of the round; any other is dropped.
    InItsRoundAlone,
}

impl Counts {
    /// Whose value one of `from` counts as; `None` if it is dropped.
    fn of(self, from: ProcessId, leader: ProcessId) -> Option<ProcessId> {
        match self {
            Counts::WhenItArrives => Some(leader),
            Counts::InItsRoundAlone => (from == leader).then_some(from),
        }
    }
}

impl Rounds {
    fn new(me: ProcessId, processes: Membership, counts: Counts) -> Self {
        Rounds {
            me,
            processes,
            counts,
            crashed: ProcessSet::EMPTY,
            present: BTreeMap::new(),
            led: BTreeSet::new(),
        }
    }

    /// The leader of the present round; `None` after the last one.
    fn leader(&mut self, instance: u64) -> Option<ProcessId> {
        let round = self.present.entry(instance).or_insert(1);
        loop {
            let leader = ProcessId::from_rank(*round).filter(|it| self.processes.contains(*it))?;
            let is_over = if leader == self.me {
                self.led.contains(&instance)
            } else {
                self.crashed.contains(leader)
            };
            if !is_over {
                return Some(leader);
            }
            *round += 1;
        }
    }

    /// Whose value this one of `from` counts as.
    fn counts_as(&mut self, from: ProcessId, instance: u64) -> Option<ProcessId> {
        if from == self.me {
            return Some(from);
        }
        let Some(leader) = self.leader(instance) else {
            return Some(from);
        };
        let counts = self.counts.of(from, leader)?;
        if counts == leader && leader != self.me {
            *self.present.entry(instance).or_insert(1) += 1;
        }
        Some(counts)
    }
}

/// Declares the function that wires a hierarchical consensus, in which values count in another way.
macro_rules! hierarchy {
    ($name:ident, $module:ident, $of:literal) => {
        fn $name(wiring: &Wiring<'_>, counts: Counts) -> RequestPort {
            use quorate_consensus::$module::{Effect, Event};
            let processes = *wiring.host().processes();
            ruled(
                $of,
                wiring,
                move |me| Rounds::new(me, processes, counts),
                (
                    |rounds: &mut Rounds, event, heard: &mut Vec<Event>| match event {
                        Event::BestEffort(best_effort::Deliver { from, message }) => {
                            if let Some(from) = rounds.counts_as(from, message.instance) {
                                heard.push(Event::BestEffort(best_effort::Deliver {
                                    from,
                                    message,
                                }));
                            }
                        }
                        event => {
                            if let Event::Crash(perfect::Crash(p)) = &event {
                                rounds.crashed.insert(*p);
                            }
                            heard.push(event);
                        }
                    },
                    |rounds: &mut Rounds, effect, said: &mut Vec<Effect>| {
                        if let Effect::BestEffort(best_effort::Broadcast(imposed)) = &effect {
                            rounds.led.insert(imposed.instance);
                        }
                        said.push(effect);
                    },
                ),
            )
        }
    };
}

hierarchy!(regular, hierarchical, "hierarchical");
hierarchy!(uniform, uniform_hierarchical, "uniform-hierarchical");

/// A coordinator that has got a nack goes on, and tells nobody.
fn without_abort(wiring: &Wiring<'_>) -> RequestPort {
    use rotating::{Effect, Event};
    let say = |(): &mut (), effect, said: &mut Vec<Effect>| {
        let is_abort = matches!(
            &effect,
            Effect::Link(link::SendRequest { message, .. }) if message.content == Content::Abort
        );
        said.extend((!is_abort).then_some(effect));
    };
    ruled(
        "rotating-coordinator",
        wiring,
        |_| (),
        (as_it_is::<_, Event>, say),
    )
}

/// A decision goes out once: the broadcast below does not relay.
fn without_relays(wiring: &Wiring<'_>) -> RequestPort {
    use eager::{Effect, Event};
    let hear = |is_own: &mut bool, event, heard: &mut Vec<Event>| {
        *is_own = matches!(event, Event::Broadcast(_));
        heard.push(event);
    };
    let say = |is_own: &mut bool, effect, said: &mut Vec<Effect>| {
        let is_relay = matches!(effect, Effect::BestEffort(_)) && !*is_own;
        said.extend((!is_relay).then_some(effect));
    };
    ruled("rotating-coordinator", wiring, |_| false, (hear, say))
}

/// The instances of a process: those that have begun and not ended, and those that have ended.
#[derive(Default)]
struct Polls {
    open: BTreeSet<u64>,
    decided: BTreeSet<u64>,
}

impl Polls {
    fn begin(&mut self, instance: u64) {
        if !self.decided.contains(&instance) {
            self.open.insert(instance);
        }
    }
}

/// A crash counts only if some instance is open when it is reported.
fn forgets_crashes(wiring: &Wiring<'_>) -> RequestPort {
    use non_blocking::{Effect, Event};
    let hear = |polls: &mut Polls, event, heard: &mut Vec<Event>| {
        match &event {
            Event::Propose(request) => polls.begin(request.instance),
            Event::BestEffort(delivery) => polls.begin(delivery.message.instance),
            Event::Consensus(consensus::Decide { instance, .. }) => {
                polls.open.remove(instance);
                polls.decided.insert(*instance);
            }
            Event::Crash(_) if polls.open.is_empty() => return,
            Event::Crash(_) | Event::Status(_) => {}
        }
        heard.push(event);
    };
    ruled(
        "non-blocking",
        wiring,
        |_| Polls::default(),
        (hear, as_it_is::<_, Effect>),
    )
}

pub(super) const ALL: &[Published] = &[
    published(
        ["D1-E1", "hierarchical"],
        [
            "hierarchical-without-rounds",
            "the value of any leader counts for the present round when it arrives",
        ],
        ("C2", Faults::ONE_CRASH),
        |wiring| regular(wiring, Counts::WhenItArrives),
    ),
    published(
        ["D1-E2", "hierarchical"],
        [
            "hierarchical-drops-the-early",
            "a value that is not of the present round is dropped",
        ],
        ("C4", Faults::ONE_CRASH),
        |wiring| regular(wiring, Counts::InItsRoundAlone),
    ),
    published(
        ["D2-E1", "uniform-hierarchical"],
        [
            "uniform-hierarchical-without-rounds",
            "the value of any leader counts for the present round when it arrives",
        ],
        ("UC2", Faults::ONE_CRASH),
        |wiring| uniform(wiring, Counts::WhenItArrives),
    ),
    published(
        ["D2-E2", "uniform-hierarchical"],
        [
            "uniform-hierarchical-drops-the-early",
            "a value that is not of the present round is dropped",
        ],
        ("UC4", Faults::ONE_CRASH),
        |wiring| uniform(wiring, Counts::InItsRoundAlone),
    ),
    published(
        ["D3-E1", "rotating-coordinator"],
        [
            "rotating-without-abort",
            "a coordinator that has got a nack goes on to the next round, and tells nobody",
        ],
        ("UC4", NO_FAULTS),
        without_abort,
    ),
    published(
        ["D3-E4", "rotating-coordinator"],
        [
            "rotating-without-relays",
            "a decision goes out once, and nobody relays it",
        ],
        ("UC4", Faults::ONE_CRASH),
        without_relays,
    ),
    published(
        ["D5-E4", "non-blocking"],
        [
            "non-blocking-forgets-crashes",
            "a crash counts only if some instance is open when it is reported",
        ],
        ("NBAC2", Faults::ONE_CRASH),
        forgets_crashes,
    ),
];
