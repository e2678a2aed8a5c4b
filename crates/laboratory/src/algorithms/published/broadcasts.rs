//! Broadcasts.
use super::{NO_FAULTS, Published, among, as_it_is, published, replaced, ruled};
use crate::{
    algorithms::total_order::settings,
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    best_effort, causal, consensus,
    eventually_perfect::Indication,
    link::{self, Links, SendRequest},
    perfect, regular_consensus, reliable, total_order, uniform,
};
use quorate_broadcast::{
    all_ack, by_consensus,
    causal_collected::{
        self, CausalCollected,
        mutant::{Flaw, Held},
    },
    causal_waiting,
    lazy::{self, Lazy, mutant::KeptByOrigin},
    terminating,
};
use quorate_consensus::hierarchical;
use quorate_core::{Addr, Host, MessageId, ProcessId, ProcessSet, message::Origin};
use quorate_stacks::stack;
use std::collections::{BTreeMap, BTreeSet};

/// Messages are known by content: of two with the same, the second is dropped.
fn lazy_by_content(wiring: &Wiring<'_>) -> RequestPort {
    use lazy::{Effect, Event, Message};
    let hear = |contents: &mut BTreeSet<Bytes>, event, heard: &mut Vec<Event>| {
        let is_known = match &event {
            Event::Link(link::Deliver {
                message: Message::Data(data),
                ..
            }) => !contents.insert(data.payload.clone()),
            _ => false,
        };
        heard.extend((!is_known).then_some(event));
    };
    let contents = |_| BTreeSet::new();
    ruled("lazy", wiring, contents, (hear, as_it_is::<_, Effect>))
}

/// The origin notes its own message, and never delivers it.
fn lazy_to_oneself(wiring: &Wiring<'_>) -> RequestPort {
    use lazy::{Effect, Event};
    let say = |me: &mut ProcessId, effect, said: &mut Vec<Effect>| {
        let is_own = matches!(&effect, Effect::Deliver(it) if it.id.origin.process == *me);
        said.extend((!is_own).then_some(effect));
    };
    ruled("lazy", wiring, |me| me, (as_it_is::<_, Event>, say))
}

/// Whom a process suspects, and whether what it hears now comes from such a process.
#[derive(Default)]
struct Suspicions {
    now: ProcessSet,
    ever: ProcessSet,
    is_late: bool,
}

/// What arrives from a suspected process is kept, and not relayed.
fn lazy_keeps_the_late(wiring: &Wiring<'_>) -> RequestPort {
    use lazy::{Effect, Event, Message};
    let hear = |suspicions: &mut Suspicions, event, heard: &mut Vec<Event>| {
        match &event {
            Event::Detector(Indication::Suspect(p)) => _ = suspicions.now.insert(*p),
            Event::Detector(Indication::Restore(p)) => _ = suspicions.now.remove(*p),
            _ => {}
        }
        suspicions.is_late = match &event {
            Event::Link(link::Deliver {
                from,
                message: Message::Data(_),
            }) => suspicions.now.contains(*from),
            _ => false,
        };
        heard.push(event);
    };
    let say = |suspicions: &mut Suspicions, effect, said: &mut Vec<Effect>| {
        let is_data = matches!(
            &effect,
            Effect::Link(SendRequest {
                message: Message::Data(_),
                ..
            })
        );
        said.extend((!(is_data && suspicions.is_late)).then_some(effect));
    };
    ruled("lazy", wiring, |_| Suspicions::default(), (hear, say))
}

/// Only the first suspicion of a process counts.
fn lazy_suspects_once(wiring: &Wiring<'_>) -> RequestPort {
    use lazy::{Effect, Event};
    let hear = |suspicions: &mut Suspicions, event, heard: &mut Vec<Event>| {
        let is_again = match &event {
            Event::Detector(Indication::Suspect(p)) => !suspicions.ever.insert(*p),
            _ => false,
        };
        heard.extend((!is_again).then_some(event));
    };
    let suspicions = |_| Suspicions::default();
    ruled("lazy", wiring, suspicions, (hear, as_it_is::<_, Effect>))
}

/// Of two messages with the same content, one is delivered.
fn all_ack_by_content(wiring: &Wiring<'_>) -> RequestPort {
    use all_ack::{Effect, Event};
    let say = |contents: &mut BTreeSet<Bytes>, effect, said: &mut Vec<Effect>| {
        let is_known = match &effect {
            Effect::Deliver(delivery) => !contents.insert(delivery.payload.clone()),
            _ => false,
        };
        said.extend((!is_known).then_some(effect));
    };
    let contents = |_| BTreeSet::new();
    ruled("all-ack", wiring, contents, (as_it_is::<_, Event>, say))
}

/// The condition to deliver is looked at only when a message arrives.
fn all_ack_woken_by_messages(wiring: &Wiring<'_>) -> RequestPort {
    use all_ack::{Effect, Event};
    let hear = |held: &mut Vec<Event>, event, heard: &mut Vec<Event>| match event {
        Event::Detector(_) => held.push(event),
        Event::BestEffort(_) => {
            heard.append(held);
            heard.push(event);
        }
        event => heard.push(event),
    };
    ruled(
        "all-ack",
        wiring,
        |_| Vec::new(),
        (hear, as_it_is::<_, Effect>),
    )
}

/// What an origin has delivered at once.
struct AtOnce {
    me: Origin,
    is_broadcast: bool,
    delivered: BTreeSet<MessageId>,
}

impl AtOnce {
    fn at(wiring: &Wiring<'_>) -> impl Fn(ProcessId) -> Self + Send + Sync + use<> {
        let incarnation = wiring.host().incarnation();
        move |process| AtOnce {
            me: Origin {
                process,
                incarnation,
            },
            is_broadcast: false,
            delivered: BTreeSet::new(),
        }
    }
}

/// The origin delivers as soon as it broadcasts.
fn all_ack_at_once(wiring: &Wiring<'_>) -> RequestPort {
    use all_ack::{Effect, Event, Message};
    let hear = |own: &mut AtOnce, event, heard: &mut Vec<Event>| {
        own.is_broadcast = matches!(event, Event::Broadcast(_));
        heard.push(event);
    };
    let say = |own: &mut AtOnce, effect, said: &mut Vec<Effect>| {
        match &effect {
            Effect::BestEffort(best_effort::Broadcast(Message::Data(data))) if own.is_broadcast => {
                own.delivered.insert(data.id);
                let (id, payload) = (data.id, data.payload.clone());
                said.push(Effect::Deliver(uniform::Deliver { id, payload }));
            }
            Effect::Deliver(delivery) if own.delivered.contains(&delivery.id) => return,
            _ => {}
        }
        said.push(effect);
    };
    ruled("all-ack", wiring, AtOnce::at(wiring), (hear, say))
}

/// Whether a message is in the past is looked at only when an acknowledgement arrives.
fn collecting_woken_by_messages(wiring: &Wiring<'_>) -> RequestPort {
    use causal_collected::{Effect, Event};
    let hear = |held: &mut Vec<Event>, event, heard: &mut Vec<Event>| match event {
        Event::Crash(_) => held.push(event),
        Event::Reliable(_) => {
            heard.append(held);
            heard.push(event);
        }
        event @ Event::Broadcast(_) => heard.push(event),
    };
    let held = |_| Vec::new();
    ruled(
        "causal-collected",
        wiring,
        held,
        (hear, as_it_is::<_, Effect>),
    )
}

/// A process delivers every message as its own.
fn waiting_as_ones_own(wiring: &Wiring<'_>) -> RequestPort {
    use causal_waiting::{Effect, Event};
    let say = |me: &mut ProcessId, mut effect, said: &mut Vec<Effect>| {
        if let Effect::Deliver(delivery) = &mut effect {
            delivery.id.origin.process = *me;
        }
        said.push(effect);
    };
    ruled(
        "causal-waiting",
        wiring,
        |me| me,
        (as_it_is::<_, Event>, say),
    )
}

/// An origin delivers its message when it broadcasts it, and not again when it arrives.
fn waiting_at_once(wiring: &Wiring<'_>) -> RequestPort {
    use causal_waiting::{Effect, Event};
    let hear = |own: &mut (AtOnce, Option<Bytes>), event, heard: &mut Vec<Event>| {
        if let Event::Broadcast(causal::Broadcast { payload }) = &event {
            own.1 = Some(payload.clone());
        }
        heard.push(event);
    };
    let say = |(own, broadcast): &mut (AtOnce, Option<Bytes>), effect, said: &mut Vec<Effect>| {
        if let Effect::Deliver(delivery) = &effect
            && own.delivered.contains(&delivery.id)
        {
            return;
        }
        if matches!(effect, Effect::Reliable(_))
            && let Some(payload) = broadcast.take()
        {
            let (origin, sequence) = (own.me, 1 + own.delivered.len() as u64);
            let id = MessageId { origin, sequence };
            own.delivered.insert(id);
            said.push(Effect::Deliver(causal::Deliver { id, payload }));
        }
        said.push(effect);
    };
    let own = AtOnce::at(wiring);
    let own = move |me| (own(me), None);
    ruled("causal-waiting-uniform", wiring, own, (hear, say))
}

/// A decision counts only at processes that have proposed in its instance.
fn ordered_where_proposed(wiring: &Wiring<'_>) -> RequestPort {
    use by_consensus::{Effect, Event};
    let hear = |proposed: &mut BTreeSet<u64>, event, heard: &mut Vec<Event>| {
        let is_strange = match &event {
            Event::Decide(consensus::Decide { instance, .. }) => !proposed.contains(instance),
            _ => false,
        };
        heard.extend((!is_strange).then_some(event));
    };
    let say = |proposed: &mut BTreeSet<u64>, effect, said: &mut Vec<Effect>| {
        if let Effect::Propose(consensus::Propose { instance, .. }) = &effect {
            proposed.insert(*instance);
        }
        said.push(effect);
    };
    ruled("by-consensus", wiring, |_| BTreeSet::new(), (hear, say))
}

/// Messages are kept by origin, and the suspicion of the relayer is tested.
fn lazy_by_origin(wiring: &Wiring<'_>) -> RequestPort {
    replaced("lazy", wiring, |_, lazy: Lazy| KeptByOrigin(lazy))
}

/// Causal broadcast without waiting as published, with this flaw.
fn collected(wiring: &Wiring<'_>, flaw: Flaw) -> RequestPort {
    let published = move |_, it: CausalCollected| {
        causal_collected::mutant::Published::by(flaw, Held::default(), &it)
    };
    replaced("causal-collected", wiring, published)
}

/// The payloads of an origin are its messages: the empty one stands for the report that the source is faulty.
fn terminating_by_payload(wiring: &Wiring<'_>) -> RequestPort {
    use terminating::{Effect, Event};
    /// How consensus has the empty message, and the report.
    const EMPTY: &[u8] = &[1];
    const FAULTY: Bytes = Bytes::from_static(&[0]);
    let hear = |(): &mut (), mut event, heard: &mut Vec<Event>| {
        if let Event::Decide(_, decision) = &mut event
            && decision.value == EMPTY
        {
            decision.value = FAULTY;
        }
        heard.push(event);
    };
    ruled("terminating", wiring, |_| (), (hear, as_it_is::<_, Effect>))
}

/// The instances of each source: the highest that has begun, and the highest that is over.
#[derive(Default)]
struct Begun(BTreeMap<ProcessId, (u64, u64)>);

impl Begun {
    fn begin(&mut self, source: ProcessId, number: u64) {
        let (begun, _) = self.0.entry(source).or_default();
        *begun = number.max(*begun);
    }

    fn end(&mut self, source: ProcessId, number: u64) {
        let (_, over) = self.0.entry(source).or_default();
        *over = number.max(*over);
    }

    /// Whether an instance of this source has begun and is not over.
    fn is_open(&self, source: ProcessId) -> bool {
        self.0
            .get(&source)
            .is_some_and(|(begun, over)| begun > over)
    }
}

/// A crash counts only if an instance of the source has begun and is not over.
fn terminating_forgets_crashes(wiring: &Wiring<'_>) -> RequestPort {
    use terminating::{Effect, Event};
    let hear = |instances: &mut Begun, event, heard: &mut Vec<Event>| {
        match &event {
            Event::BestEffort(delivery) => instances.begin(delivery.from, delivery.message.number),
            Event::Decide(source, decision) => instances.begin(*source, decision.instance),
            Event::Crash(perfect::Crash(p)) if !instances.is_open(*p) => return,
            Event::Crash(_) | Event::Broadcast(_) | Event::Status(_) => {}
        }
        heard.push(event);
    };
    let say = |instances: &mut Begun, effect, said: &mut Vec<Effect>| {
        if let Effect::Deliver(delivery) = &effect {
            instances.end(delivery.source, delivery.number);
        }
        said.push(effect);
    };
    ruled("terminating", wiring, |_| Begun::default(), (hear, say))
}

/// Uniform broadcast orders by a consensus that is not uniform: by hierarchy, over a detector that does not err.
fn ordered_by_regular_consensus(wiring: &Wiring<'_>) -> RequestPort {
    let (host, links) = (
        wiring.host().at("total-order"),
        wiring.links().at("total-order"),
    );
    let detector = wiring.erring();
    let uniform = |up: Addr<uniform::Deliver>| stack::uniform(&host, &links, up);
    let consensus = |up: Addr<consensus::Decide>| {
        let (host, links) = (host.at("consensus"), links.at("consensus"));
        let decided =
            |regular_consensus::Decide { instance, value }| consensus::Decide { instance, value };
        let (lane, status, up) = (links.lane(), links.status(), up.with(decided));
        let regular = hierarchical::spawn(&host, lane, &status, &detector, up);
        regular.with(
            |consensus::Propose { instance, value }| regular_consensus::Propose { instance, value },
        )
    };
    let (settings, up) = (settings(wiring), wiring.application());
    let port = by_consensus::spawn(&host, settings, uniform, consensus, up);
    RequestPort::Broadcast(port.with(|payload| total_order::Broadcast { payload }))
}

/// A broadcast that is not uniform is ordered by uniform consensus, which decides what few processes have.
fn ordered_over_regular_broadcast(wiring: &Wiring<'_>) -> RequestPort {
    let (host, links) = (
        wiring.host().at("total-order"),
        wiring.links().at("total-order"),
    );
    let detector = wiring.eventually_perfect();
    let uniform = |up: Addr<uniform::Deliver>| {
        let delivered = |reliable::Deliver { id, payload }| uniform::Deliver { id, payload };
        let regular = stack::reliable(&host, &links, up.with(delivered));
        regular.with(|uniform::Broadcast { payload }| reliable::Broadcast { payload })
    };
    let consensus = |up: Addr<consensus::Decide>| stack::consensus(&host, &links, &detector, up);
    let (settings, up) = (settings(wiring), wiring.application());
    let port = by_consensus::spawn(&host, settings, uniform, consensus, up);
    RequestPort::Broadcast(port.with(|payload| total_order::Broadcast { payload }))
}

pub(super) const ALL: &[Published] = &[
    published(
        ["B2-E1", "lazy"],
        [
            "lazy-by-content",
            "of two messages with the same content, the second is taken for the first",
        ],
        ("RB1", NO_FAULTS),
        lazy_by_content,
    ),
    published(
        ["B2-E2", "lazy"],
        [
            "lazy-not-to-oneself",
            "an origin notes its own message as delivered, and never delivers it",
        ],
        ("RB1", NO_FAULTS),
        lazy_to_oneself,
    ),
    published(
        ["B2-E4", "lazy"],
        [
            "lazy-keeps-the-late",
            "what arrives from a process that is suspected already is kept, and not relayed",
        ],
        ("RB4", Faults::ONE_CRASH),
        lazy_keeps_the_late,
    ),
    published(
        ["B2-E5", "lazy"],
        [
            "lazy-suspects-once",
            "only the first suspicion of a process counts",
        ],
        ("RB4", Faults::ONE_CRASH),
        lazy_suspects_once,
    ),
    among(
        5,
        &published(
            ["B2-E3", "lazy"],
            [
                "lazy-kept-by-origin",
                "messages are kept by origin, and the suspicion of the relayer is tested",
            ],
            (
                "RB4",
                Faults {
                    crashes: 4,
                    ..Faults::NONE
                },
            ),
            lazy_by_origin,
        ),
    ),
    published(
        ["B3-E1", "all-ack"],
        [
            "all-ack-by-content",
            "of two messages with the same content, one is delivered",
        ],
        ("URB1", NO_FAULTS),
        all_ack_by_content,
    ),
    published(
        ["B3-E2", "all-ack"],
        [
            "all-ack-woken-by-messages",
            "the condition to deliver is looked at only when a message arrives",
        ],
        ("URB4", Faults::ONE_CRASH),
        all_ack_woken_by_messages,
    ),
    published(
        ["B3-E5", "all-ack"],
        [
            "all-ack-at-once",
            "an origin delivers its message as soon as it broadcasts it",
        ],
        ("URB4", Faults::ONE_CRASH),
        all_ack_at_once,
    ),
    published(
        ["B4-E1", "causal-collected"],
        [
            "causal-without-order",
            "the past is a set: it is delivered in any order, here backwards",
        ],
        ("CRB5", NO_FAULTS),
        |wiring| collected(wiring, Flaw::Unordered),
    ),
    published(
        ["B4-E2", "causal-collected"],
        [
            "causal-appended-twice",
            "an own message is appended to the past when it is broadcast, and when it is delivered",
        ],
        ("GC2", NO_FAULTS),
        |wiring| collected(wiring, Flaw::AppendedTwice),
    ),
    published(
        ["B4-E3", "causal-collected"],
        [
            "causal-delivered-inside",
            "an own message is delivered inside its broadcast, which then appends it to the past",
        ],
        ("GC2", NO_FAULTS),
        |wiring| collected(wiring, Flaw::DeliveredInside),
    ),
    published(
        ["B5-E1", "causal-collected"],
        [
            "collecting-woken-by-messages",
            "whether all have acknowledged is looked at only when a message arrives",
        ],
        ("GC2", Faults::ONE_CRASH),
        collecting_woken_by_messages,
    ),
    published(
        ["B5-E2", "causal-collected"],
        [
            "collecting-drops-the-early",
            "an acknowledgement that comes before its message is dropped",
        ],
        ("GC2", NO_FAULTS),
        |wiring| collected(wiring, Flaw::EarlyDropped),
    ),
    published(
        ["B5-E4", "causal-collected"],
        [
            "collecting-forgets",
            "a collected message is no longer known as delivered",
        ],
        ("CRB2", NO_FAULTS),
        |wiring| collected(wiring, Flaw::Forgetful),
    ),
    published(
        ["B6-E1", "causal-waiting"],
        [
            "causal-waiting-as-ones-own",
            "a process delivers every message as one of its own",
        ],
        ("CRB3", NO_FAULTS),
        waiting_as_ones_own,
    ),
    published(
        ["B6-E4", "causal-waiting-uniform"],
        [
            "causal-waiting-at-once",
            "an origin delivers its message when it broadcasts it",
        ],
        ("CRB4", Faults::ONE_CRASH),
        waiting_at_once,
    ),
    published(
        ["B7-E2", "by-consensus"],
        [
            "ordered-where-proposed",
            "a decision counts only at processes that have proposed in its instance",
        ],
        ("TOB1", NO_FAULTS),
        ordered_where_proposed,
    ),
    published(
        ["B7-E6", "by-consensus"],
        [
            "ordered-by-regular-consensus",
            "the broadcast is uniform, and the consensus that orders is not",
        ],
        (
            "TOB5",
            Faults {
                accurate: true,
                ..Faults::ONE_CRASH
            },
        ),
        ordered_by_regular_consensus,
    ),
    published(
        ["B7-E6 (ii)", "by-consensus"],
        [
            "ordered-over-regular-broadcast",
            "the consensus is uniform, and the broadcast is not: what was ordered may have been lost",
        ],
        ("TOB1", Faults::ONE_CRASH),
        ordered_over_regular_broadcast,
    ),
    published(
        ["D4-E2", "terminating"],
        [
            "terminating-forgets-crashes",
            "a crash counts only if an instance of the source has begun and is not over",
        ],
        ("TRB4", Faults::ONE_CRASH),
        terminating_forgets_crashes,
    ),
    published(
        ["D4-E4", "terminating"],
        [
            "terminating-by-payload",
            "a payload, the empty one, stands for the report that the source is faulty",
        ],
        ("TRB3", NO_FAULTS),
        terminating_by_payload,
    ),
];
