//! Broadcasts.
use super::{NO_FAULTS, Published, as_it_is, published, ruled};
use crate::{
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    best_effort, causal, consensus,
    eventually_perfect::Indication,
    link::{self, SendRequest},
    uniform,
};
use quorate_broadcast::{all_ack, by_consensus, causal_collected, causal_waiting, lazy};
use quorate_core::{Host, MessageId, ProcessId, ProcessSet, message::Origin};
use std::collections::BTreeSet;

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
        ["B5-E1", "causal-collected"],
        [
            "collecting-woken-by-messages",
            "whether all have acknowledged is looked at only when a message arrives",
        ],
        ("GC2", Faults::ONE_CRASH),
        collecting_woken_by_messages,
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
];
