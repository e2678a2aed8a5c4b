//! Consensus and atomic commit.
use super::{NO_FAULTS, Published, as_it_is, published, replaced, ruled};
use crate::{
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_abstractions::{
    atomic_commit::{Propose, Vote},
    best_effort, consensus, link, perfect,
};
use quorate_broadcast::eager;
use quorate_commit::non_blocking::{
    self,
    mutant::{Rule, Ruled},
};
use quorate_consensus::{
    by_quorums,
    hierarchy::Imposed,
    rotating::{self, Content, Message, Rotating},
    uniform_hierarchical::{self, UniformHierarchical},
};
use quorate_core::{
    Addr, Algorithm, Ctx, Host, Membership, ProcessId, ProcessSet, watermark::Watermark,
};
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

/// Every estimate counts as never adopted: of several, that of the lowest rank is proposed.
fn any_estimate(wiring: &Wiring<'_>) -> RequestPort {
    use rotating::{Effect, Event};
    let hear = |(): &mut (), mut event, heard: &mut Vec<Event>| {
        if let Event::Link(link::Deliver { message, .. }) = &mut event
            && let Content::Estimate { adopted, .. } = &mut message.content
        {
            *adopted = 0;
        }
        heard.push(event);
    };
    ruled(
        "rotating-coordinator",
        wiring,
        |_| (),
        (hear, as_it_is::<_, Effect>),
    )
}

/// A rotating coordinator that also acknowledges in rounds that it has left.
struct LateAcks {
    inner: Rotating,
    /// The rounds that it has left with a nack, by instance.
    left: BTreeSet<(u64, u64)>,
}

impl Algorithm for LateAcks {
    type Event = rotating::Event;
    type Effect = rotating::Effect;

    fn upon(&mut self, event: rotating::Event, ctx: &mut Ctx<Self>) {
        use rotating::{Effect, Event};
        if let Event::Link(link::Deliver { from, message }) = &event
            && matches!(message.content, Content::Propose { .. })
            && self.left.contains(&(message.instance, message.round))
        {
            let (to, content) = (link::To::One(*from), Content::Ack);
            let message = Message {
                content,
                ..message.clone()
            };
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
        self.inner.upon(event, ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        for effect in effects {
            if let Effect::Link(link::SendRequest { message, .. }) = &effect
                && message.content == Content::Nack
            {
                self.left.insert((message.instance, message.round));
            }
            ctx.trigger(effect);
        }
    }
}

/// A proposal is acknowledged in a round that was left, too.
fn late_acks(wiring: &Wiring<'_>) -> RequestPort {
    replaced("rotating-coordinator", wiring, |_, inner| LateAcks {
        inner,
        left: BTreeSet::new(),
    })
}

/// Consensus by decree: the first process's proposal is decided, and everybody decides the first one that arrives.
/// It is right while that process does not crash, and nobody proposes twice.
struct Decree(Watermark);

impl Algorithm for Decree {
    type Event = uniform_hierarchical::Event;
    type Effect = uniform_hierarchical::Effect;

    fn upon(&mut self, event: uniform_hierarchical::Event, ctx: &mut Ctx<Self>) {
        use uniform_hierarchical::{Effect, Event};
        match event {
            Event::Propose(consensus::Propose { instance, value }) => {
                let proposal = Imposed { instance, value };
                ctx.trigger(Effect::BestEffort(best_effort::Broadcast(proposal)));
            }
            Event::BestEffort(best_effort::Deliver { from, message }) => {
                let Imposed { instance, value } = message;
                if from.rank() == 1 && self.0.insert(instance) {
                    ctx.trigger(Effect::Decide(consensus::Decide { instance, value }));
                }
            }
            Event::Crash(_) | Event::Status(_) => {}
        }
    }
}

/// The rule to propose fires again, over a consensus to which it matters how often a process proposes.
fn proposes_again(wiring: &Wiring<'_>) -> RequestPort {
    let decree = |_, _: UniformHierarchical| Decree(Watermark::default());
    let again = |_, inner| Ruled::by(Rule::ProposesAgain, inner);
    replaced("non-blocking", &wiring.replaced(decree), again)
}

/// The last vote of a process counts; and every process votes, and then otherwise.
fn last_vote_counts(wiring: &Wiring<'_>) -> RequestPort {
    let last = |_, inner| Ruled::by(Rule::LastVoteCounts, inner);
    match replaced("non-blocking", wiring, last) {
        RequestPort::Vote(port) => RequestPort::Vote(Addr::new(move |first: Propose| {
            let vote = match first.vote {
                Vote::Yes => Vote::No,
                Vote::No => Vote::Yes,
            };
            port.send(first);
            port.send(Propose { vote, ..first });
        })),
        other => other,
    }
}

/// Consensus by quorums under this rule.
fn by_quorums(wiring: &Wiring<'_>, rule: by_quorums::mutant::Rule) -> RequestPort {
    replaced("by-quorums", wiring, move |_, inner| {
        by_quorums::mutant::Ruled::by(rule, inner)
    })
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
        ["D3-E2", "rotating-coordinator"],
        [
            "rotating-acknowledges-late",
            "a proposal is acknowledged in a round that was left, too",
        ],
        (
            "UC2",
            Faults {
                storm: true,
                ..NO_FAULTS
            },
        ),
        late_acks,
    ),
    published(
        ["D3-E3", "rotating-coordinator"],
        [
            "rotating-by-any-estimate",
            "of several estimates that of the lowest rank is proposed, whenever it was adopted",
        ],
        ("UC2", Faults::ONE_CRASH),
        any_estimate,
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
        ["D5-E1", "non-blocking"],
        [
            "non-blocking-proposes-again",
            "the rule to propose fires again at every later vote or crash, over a consensus that takes all proposals",
        ],
        ("NBAC1", Faults::ONE_CRASH),
        proposes_again,
    ),
    published(
        ["D5-E3", "non-blocking"],
        [
            "non-blocking-by-the-last-vote",
            "a process may vote again, and its last vote counts; here each does",
        ],
        ("NBAC4", NO_FAULTS),
        last_vote_counts,
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
    published(
        ["G7-E2", "by-quorums"],
        [
            "by-quorums-forgets-decisions",
            "a decision is a phase of a view, and ends with it",
        ],
        ("UC3", NO_FAULTS),
        |wiring| by_quorums(wiring, by_quorums::mutant::Rule::DecisionIsForgotten),
    ),
    published(
        ["G7-E3", "by-quorums"],
        [
            "by-quorums-accepts-the-late",
            "a proposal of a view that was left is accepted",
        ],
        ("UC2", NO_FAULTS),
        |wiring| by_quorums(wiring, by_quorums::mutant::Rule::LateIsAccepted),
    ),
];
