//! Group membership and view synchrony.
use super::{NO_FAULTS, Published, Rule, TWO_CRASHES, among, as_it_is, published, replaced, ruled};
use crate::{
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    best_effort,
    terminating::Content,
    view_synchrony::{Indication, Request},
};
use quorate_core::Host;
use quorate_membership::{by_consensus, by_terminating, group, messages::Message};
use std::collections::BTreeSet;

const MANY_CRASHES: Faults = Faults {
    crashes: 4,
    ..Faults::NONE
};

/// What a process waits with until something else happens.
struct Waiting<E> {
    is_waiting: bool,
    held: Vec<E>,
}

impl<E> Default for Waiting<E> {
    fn default() -> Self {
        Waiting {
            is_waiting: false,
            held: Vec::new(),
        }
    }
}

/// Crashes that are reported while a decision is awaited count only with the next one that is reported later.
fn group_up_to_date(wiring: &Wiring<'_>) -> RequestPort {
    use group::{Effect, Event};
    let hear = |it: &mut Waiting<Event>, event, heard: &mut Vec<Event>| match event {
        Event::Crash(_) if it.is_waiting => it.held.push(event),
        Event::Crash(_) => {
            heard.append(&mut it.held);
            heard.push(event);
        }
        Event::Decide(_) => {
            it.is_waiting = false;
            heard.push(event);
        }
        Event::Request(_) | Event::BestEffort(_) | Event::Status(_) => heard.push(event),
    };
    let say = |it: &mut Waiting<Event>, effect, said: &mut Vec<Effect>| {
        it.is_waiting |= matches!(effect, Effect::Propose(_));
        said.push(effect);
    };
    let waiting = |_| Waiting::default();
    ruled("group-membership", wiring, waiting, (hear, say))
}

/// While it flushes, a process proposes only when a flush arrives, not when a crash is reported.
fn flushes_only(wiring: &Wiring<'_>) -> RequestPort {
    use by_consensus::{Effect, Event};
    let hear = |it: &mut Waiting<Event>, event, heard: &mut Vec<Event>| {
        let is_flush = matches!(
            &event,
            Event::BestEffort(best_effort::Deliver {
                message: Message::Flush { .. },
                ..
            })
        );
        if it.is_waiting && matches!(event, Event::Crash(_)) {
            it.held.push(event);
            return;
        }
        if is_flush || !it.is_waiting {
            heard.append(&mut it.held);
        }
        heard.push(event);
    };
    let say = |it: &mut Waiting<Event>, effect, said: &mut Vec<Effect>| {
        match &effect {
            Effect::Indicate(Indication::Block) => it.is_waiting = true,
            Effect::Indicate(Indication::View { .. }) => it.is_waiting = false,
            _ => {}
        }
        said.push(effect);
    };
    let waiting = |_| Waiting::default();
    ruled("views-by-consensus", wiring, waiting, (hear, say))
}

/// Flushes of the next view are erased when it is installed.
fn early_flush_is_erased(wiring: &Wiring<'_>) -> RequestPort {
    use by_consensus::{Effect, Event};
    let hear = |present: &mut u64, event, heard: &mut Vec<Event>| {
        let is_early = matches!(
            &event,
            Event::BestEffort(best_effort::Deliver {
                message: Message::Flush { view, .. },
                ..
            }) if *view > *present
        );
        heard.extend((!is_early).then_some(event));
    };
    let say = |present: &mut u64, effect, said: &mut Vec<Effect>| {
        if let Effect::Indicate(Indication::View { view, .. }) = &effect {
            *present = view.id;
        }
        said.push(effect);
    };
    ruled("views-by-consensus", wiring, |_| 0, (hear, say))
}

/// The contents that a process has delivered, where a flushed message with a known content is known.
struct Contents<E, F> {
    seen: BTreeSet<Bytes>,
    /// Whether what is delivered now comes from flushes.
    is_flush: bool,
    brings_flushes: fn(&E) -> bool,
    indication: fn(&F) -> Option<&Indication>,
}

/// A flushed message counts as delivered if one with the same content was.
fn by_content<E: 'static, F: 'static>(
    of: &str,
    wiring: &Wiring<'_>,
    brings_flushes: fn(&E) -> bool,
    indication: fn(&F) -> Option<&Indication>,
) -> RequestPort {
    let hear = |contents: &mut Contents<E, F>, event, heard: &mut Vec<E>| {
        contents.is_flush = (contents.brings_flushes)(&event);
        heard.push(event);
    };
    let say = |contents: &mut Contents<E, F>, effect, said: &mut Vec<F>| {
        let is_known = match (contents.indication)(&effect) {
            Some(Indication::Deliver(delivery)) => {
                !contents.seen.insert(delivery.payload.clone()) && contents.is_flush
            }
            _ => false,
        };
        said.extend((!is_known).then_some(effect));
    };
    let contents = move |_| Contents {
        seen: BTreeSet::new(),
        is_flush: false,
        brings_flushes,
        indication,
    };
    ruled(of, wiring, contents, (hear, say))
}

fn consensus_by_content(wiring: &Wiring<'_>) -> RequestPort {
    use by_consensus::{Effect, Event};
    by_content(
        "views-by-consensus",
        wiring,
        |event| matches!(event, Event::Decide(_)),
        |effect| match effect {
            Effect::Indicate(indication) => Some(indication),
            _ => None,
        },
    )
}

fn terminating_by_content(wiring: &Wiring<'_>) -> RequestPort {
    use by_terminating::{Effect, Event};
    by_content(
        "by-terminating",
        wiring,
        |event| matches!(event, Event::Terminating(_)),
        |effect| match effect {
            Effect::Indicate(indication) => Some(indication),
            _ => None,
        },
    )
}

/// The present view of a process, and whether its user has answered that it is blocked.
#[derive(Default)]
struct Present {
    view: u64,
    is_blocked: bool,
}

impl Present {
    fn hear(&mut self, request: &Request) {
        self.is_blocked |= *request == Request::BlockOk;
    }

    fn say(&mut self, effect: by_terminating::Effect, said: &mut Vec<by_terminating::Effect>) {
        if let by_terminating::Effect::Indicate(Indication::View { view, .. }) = &effect {
            *self = Present {
                view: view.id,
                is_blocked: false,
            };
        }
        said.push(effect);
    }
}

/// Flushes that arrive before the user has answered are forgotten when it answers.
fn forgotten_when_blocked(wiring: &Wiring<'_>) -> RequestPort {
    use by_terminating::Event;
    let hear = |present: &mut Present, event, heard: &mut Vec<Event>| {
        if let Event::Request(request) = &event {
            present.hear(request);
        }
        let is_flush = matches!(
            &event,
            Event::Terminating(delivery) if delivery.number == present.view + 1
        );
        let is_forgotten = is_flush && !present.is_blocked;
        heard.extend((!is_forgotten).then_some(event));
    };
    ruled(
        "by-terminating",
        wiring,
        |_| Present::default(),
        (hear, Present::say),
    )
}

/// Every flush counts for the present view.
fn flushes_without_a_view(wiring: &Wiring<'_>) -> RequestPort {
    use by_terminating::Event;
    let hear = |present: &mut Present, mut event, heard: &mut Vec<Event>| {
        if let Event::Terminating(delivery) = &mut event
            && delivery.outcome != Content::SenderFaulty
        {
            delivery.number = present.view + 1;
        }
        heard.push(event);
    };
    ruled(
        "by-terminating",
        wiring,
        |_| Present::default(),
        (hear, Present::say),
    )
}

/// What the user requests while it is blocked is ignored.
fn blocked_requests_vanish(wiring: &Wiring<'_>) -> RequestPort {
    use by_terminating::Event;
    let hear = |present: &mut Present, event, heard: &mut Vec<Event>| {
        if let Event::Request(request) = &event {
            if present.is_blocked && matches!(request, Request::Broadcast(_)) {
                return;
            }
            present.hear(request);
        }
        heard.push(event);
    };
    ruled(
        "by-terminating",
        wiring,
        |_| Present::default(),
        (hear, Present::say),
    )
}

/// The first view is not indicated.
fn first_view_is_silent(wiring: &Wiring<'_>) -> RequestPort {
    use by_terminating::{Effect, Event};
    let say = |(): &mut (), effect, said: &mut Vec<Effect>| {
        let is_first = matches!(
            &effect,
            Effect::Indicate(Indication::View { view, .. }) if view.id == 0
        );
        said.extend((!is_first).then_some(effect));
    };
    ruled(
        "by-terminating",
        wiring,
        |_| (),
        (as_it_is::<_, Event>, say),
    )
}

/// The crashes that are reported while a decision is awaited are heard after it, the last one first: P may be late,
/// and in any order.
fn group_hears(it: &mut Waiting<group::Event>, event: group::Event, heard: &mut Vec<group::Event>) {
    use group::Event;
    match event {
        Event::Crash(_) if it.is_waiting => it.held.push(event),
        Event::Decide(_) => {
            it.is_waiting = false;
            heard.push(event);
            heard.extend(it.held.drain(..).rev());
        }
        event => heard.push(event),
    }
}

fn group_says(
    it: &mut Waiting<group::Event>,
    effect: group::Effect,
    said: &mut Vec<group::Effect>,
) {
    it.is_waiting |= matches!(effect, group::Effect::Propose(_));
    said.push(effect);
}

/// The same for view synchrony.
fn views_hear(
    it: &mut Waiting<by_consensus::Event>,
    event: by_consensus::Event,
    heard: &mut Vec<by_consensus::Event>,
) {
    use by_consensus::Event;
    match event {
        Event::Crash(_) if it.is_waiting => it.held.push(event),
        Event::Decide(_) => {
            it.is_waiting = false;
            heard.push(event);
            heard.extend(it.held.drain(..).rev());
        }
        event => heard.push(event),
    }
}

fn views_say(
    it: &mut Waiting<by_consensus::Event>,
    effect: by_consensus::Effect,
    said: &mut Vec<by_consensus::Effect>,
) {
    it.is_waiting |= matches!(effect, by_consensus::Effect::Propose(_));
    said.push(effect);
}

/// All processes that are not reported are proposed, members or not.
fn unreported(wiring: &Wiring<'_>) -> RequestPort {
    let late = wiring.altered(|_| Rule::<_, group::Event, group::Effect> {
        state: Waiting::default(),
        hear: group_hears,
        say: group_says,
    });
    group(&late, group::mutant::Rule::UnreportedAreProposed)
}

/// The crash of a process that is excluded already begins a flush.
fn flushes_for_the_excluded(wiring: &Wiring<'_>) -> RequestPort {
    let late = wiring.altered(|_| Rule::<_, by_consensus::Event, by_consensus::Effect> {
        state: Waiting::default(),
        hear: views_hear,
        say: views_say,
    });
    views(&late, by_consensus::mutant::Rule::FlushForTheExcluded)
}

/// Group membership under this rule.
fn group(wiring: &Wiring<'_>, rule: group::mutant::Rule) -> RequestPort {
    let everybody = wiring.host().processes().set();
    replaced("group-membership", wiring, move |_, inner| {
        group::mutant::Ruled::by(rule, everybody, inner)
    })
}

/// Views by consensus under this rule.
fn views(wiring: &Wiring<'_>, rule: by_consensus::mutant::Rule) -> RequestPort {
    replaced("views-by-consensus", wiring, move |_, inner| {
        by_consensus::mutant::Ruled::by(rule, inner)
    })
}

pub(super) const ALL: &[Published] = &[
    among(
        5,
        &published(
            ["D6-E1", "group-membership"],
            [
                "group-of-the-unreported",
                "all processes that are not reported are proposed, members or not, where reports are late",
            ],
            ("GMP1", MANY_CRASHES),
            unreported,
        ),
    ),
    among(
        5,
        &published(
            ["D6-E3", "group-membership"],
            [
                "group-as-they-come",
                "a decision is installed when it comes, whichever its turn is",
            ],
            ("GMP1", MANY_CRASHES),
            |wiring| group(wiring, group::mutant::Rule::AsTheyCome),
        ),
    ),
    published(
        ["D6-E5", "group-membership"],
        [
            "group-up-to-date",
            "that a member has crashed while a view was decided is not looked at when it is installed",
        ],
        ("GMP3", TWO_CRASHES),
        group_up_to_date,
    ),
    published(
        ["D7-E2", "by-terminating"],
        [
            "views-by-content",
            "a flushed message counts as delivered if one with the same content was",
        ],
        ("VS9", Faults::ONE_CRASH),
        terminating_by_content,
    ),
    published(
        ["D7-E3", "by-terminating"],
        [
            "views-forget-flushes",
            "flushes that arrive before the user has answered `Block` are forgotten when it answers",
        ],
        ("VS4", Faults::ONE_CRASH),
        forgotten_when_blocked,
    ),
    among(
        4,
        &published(
            ["D7-E4", "by-terminating"],
            [
                "views-with-flushes-of-any",
                "every flush counts for the present view",
            ],
            ("VS4", TWO_CRASHES),
            flushes_without_a_view,
        ),
    ),
    published(
        ["D7-E6", "by-terminating"],
        [
            "views-deaf-while-blocked",
            "what the user requests while it is blocked is ignored",
        ],
        ("VS6", Faults::ONE_CRASH),
        blocked_requests_vanish,
    ),
    published(
        ["D7-E9", "by-terminating"],
        ["views-silent-at-first", "the first view is not indicated"],
        ("VS1", NO_FAULTS),
        first_view_is_silent,
    ),
    published(
        ["D8-E1", "views-by-consensus"],
        [
            "views-forget-crashes",
            "crashes that are noticed while a view is flushed begin no further flush",
        ],
        ("VS4", TWO_CRASHES),
        |wiring| views(wiring, by_consensus::mutant::Rule::NoFurtherFlush),
    ),
    among(
        4,
        &published(
            ["D8-E2", "views-by-consensus"],
            [
                "views-flush-for-the-excluded",
                "the crash of a process that is excluded already, reported late, begins a flush, which nobody joins",
            ],
            ("VS6", TWO_CRASHES),
            flushes_for_the_excluded,
        ),
    ),
    published(
        ["D8-E3", "views-by-consensus"],
        [
            "views-woken-by-flushes",
            "while it flushes, a process proposes only when a flush arrives, not when a crash is reported",
        ],
        ("VS4", TWO_CRASHES),
        flushes_only,
    ),
    among(
        4,
        &published(
            ["D8-E4", "views-by-consensus"],
            [
                "views-erase-the-early",
                "flushes of the next view are erased when it is installed",
            ],
            ("VS4", TWO_CRASHES),
            early_flush_is_erased,
        ),
    ),
    published(
        ["D8-E5", "views-by-consensus"],
        [
            "views-by-consensus-by-content",
            "a flushed message counts as delivered if one with the same content was",
        ],
        ("VS9", Faults::ONE_CRASH),
        consensus_by_content,
    ),
];
