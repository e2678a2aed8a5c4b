//! Registers.
use super::{NO_FAULTS, Published, among, as_it_is, published, replaced, ruled};
use crate::{
    algorithms::quorum_access::{access_lane, of_registers},
    scenario::Faults,
    wiring::{Objects, Operation, RequestPort, Wiring},
};
use bytes::Bytes;
use quorate_abstractions::{
    link::{Deliver, Links, SendRequest},
    quorum_access,
    register::Tag,
};
use quorate_core::{Addr, Host, Membership, ProcessId, ProcessSet};
use quorate_quorums::{
    Quorums, classical,
    generalized::{self, Generalized},
    marks::Marks,
};
use quorate_registers::{
    by_quorum_access::{self, Registers, mutant::Overwritten},
    exchange::{Effect, Event},
    message::{Content, Held, Message},
};
use std::collections::BTreeMap;

/// The rule to return is looked at only when a message arrives.
fn woken_by_messages(wiring: &Wiring<'_>) -> RequestPort {
    let hear = |held: &mut Vec<Event>, event, heard: &mut Vec<Event>| match event {
        Event::Crash(_) => held.push(event),
        Event::Link(_) => {
            heard.append(held);
            heard.push(event);
        }
        event => heard.push(event),
    };
    let held = |_| Vec::new();
    ruled(
        "read-one-write-all",
        wiring,
        held,
        (hear, as_it_is::<_, Effect>),
    )
}

/// Who has answered each request, or how often it was answered.
struct Answers {
    processes: Membership,
    by: BTreeMap<u64, ProcessSet>,
    count: BTreeMap<u64, u64>,
}

impl Answers {
    fn at(wiring: &Wiring<'_>) -> impl Fn(ProcessId) -> Self + Send + Sync + use<> {
        let processes = *wiring.host().processes();
        move |_| Answers {
            processes,
            by: BTreeMap::new(),
            count: BTreeMap::new(),
        }
    }

    /// Once so many processes have answered a request, the others count as having answered the same.
    fn enough(&mut self, needed: usize, event: Event, heard: &mut Vec<Event>) {
        let Event::Link(Deliver { from, message }) = &event else {
            return heard.push(event);
        };
        let (from, message) = (*from, message.clone());
        if !matches!(message.content, Content::Acknowledge | Content::Value(_)) {
            return heard.push(event);
        }
        let by = self.by.entry(message.request).or_default();
        by.insert(from);
        let others = self.processes.set().without(*by);
        let is_enough = by.len() == needed;
        heard.push(event);
        for from in others.iter().filter(|_| is_enough) {
            let message = message.clone();
            heard.push(Event::Link(Deliver { from, message }));
        }
    }

    /// Each acknowledgement comes twice, and counts as that of another process.
    fn counted(&mut self, event: Event, heard: &mut Vec<Event>) {
        let Event::Link(Deliver { message, .. }) = &event else {
            return heard.push(event);
        };
        if message.content != Content::Acknowledge {
            return heard.push(event);
        }
        let count = self.count.entry(message.request).or_default();
        for _ in 0..2 {
            *count += 1;
            if *count <= self.processes.n() as u64 {
                let (from, message) = (self.processes.coordinator(*count), message.clone());
                heard.push(Event::Link(Deliver { from, message }));
            }
        }
    }
}

/// Acknowledgements are counted, over a link that delivers them twice.
fn counts(wiring: &Wiring<'_>) -> RequestPort {
    let answers = Answers::at(wiring);
    ruled(
        "majority-voting",
        wiring,
        answers,
        (Answers::counted, as_it_is::<_, Effect>),
    )
}

/// A half of the processes, rounded down, is taken for a majority.
fn a_half(wiring: &Wiring<'_>) -> RequestPort {
    let hear = |answers: &mut Answers, event, heard: &mut Vec<Event>| {
        answers.enough(answers.processes.n() / 2, event, heard);
    };
    let answers = Answers::at(wiring);
    ruled(
        "majority-voting",
        wiring,
        answers,
        (hear, as_it_is::<_, Effect>),
    )
}

/// A majority that has acknowledged is taken for all.
fn some_for_all(wiring: &Wiring<'_>) -> RequestPort {
    let hear = |answers: &mut Answers, event, heard: &mut Vec<Event>| {
        answers.enough(answers.processes.majority(), event, heard);
    };
    let answers = Answers::at(wiring);
    ruled(
        "read-impose-write-consult-all",
        wiring,
        answers,
        (hear, as_it_is::<_, Effect>),
    )
}

/// That nothing was written does not count as an answer.
fn hears_values_only(wiring: &Wiring<'_>) -> RequestPort {
    let hear = |(): &mut (), event, heard: &mut Vec<Event>| {
        let nothing = Content::Value(Held::default());
        let is_nothing = matches!(&event, Event::Link(it) if it.message.content == nothing);
        heard.extend((!is_nothing).then_some(event));
    };
    ruled(
        "majority-voting",
        wiring,
        |_| (),
        (hear, as_it_is::<_, Effect>),
    )
}

/// What a reader would impose is not stored anywhere: it returns what it has read.
fn without_imposing(wiring: &Wiring<'_>) -> RequestPort {
    let say = |is_writer: &mut bool, mut effect, said: &mut Vec<Effect>| {
        if let Effect::Link(SendRequest {
            message:
                Message {
                    content: Content::Write { held, .. },
                    ..
                },
            ..
        }) = &mut effect
            && !*is_writer
        {
            *held = Held::default();
        }
        said.push(effect);
    };
    let writer = wiring.host().processes().coordinator(1);
    ruled(
        "read-impose-write-majority",
        wiring,
        move |me| me == writer,
        (as_it_is::<_, Event>, say),
    )
}

/// A value that is not newer than what is held is not acknowledged.
fn acknowledges_the_new(wiring: &Wiring<'_>) -> RequestPort {
    let hear = |newest: &mut BTreeMap<Bytes, Tag>, event, heard: &mut Vec<Event>| {
        if let Event::Link(it) = &event
            && let Content::Write { register, held } = &it.message.content
        {
            let newest = newest.entry(register.clone()).or_default();
            if held.tag <= *newest {
                return;
            }
            *newest = held.tag;
        }
        heard.push(event);
    };
    let newest = |_| BTreeMap::new();
    ruled(
        "read-impose-write-all",
        wiring,
        newest,
        (hear, as_it_is::<_, Effect>),
    )
}

/// Generalized quorum access under this rule.
fn access(wiring: &Wiring<'_>, rule: generalized::mutant::Rule) -> RequestPort {
    replaced(
        "quorum-access-generalized",
        wiring,
        move |_, inner: Generalized<Marks>| generalized::mutant::Ruled::by(rule, inner),
    )
}

/// The same, where clocks count, as published, and each process has a period of its own.
fn counted(wiring: &Wiring<'_>, rule: generalized::mutant::Rule) -> RequestPort {
    replaced(
        "quorum-access-generalized",
        wiring,
        move |me, inner: Generalized<Marks>| generalized::mutant::Ruled::counted(rule, me, inner),
    )
}

/// Registers by quorum access under this rule.
fn registers(wiring: &Wiring<'_>, rule: by_quorum_access::mutant::Rule) -> RequestPort {
    replaced("register-by-quorum-access", wiring, move |_, inner| {
        by_quorum_access::mutant::Ruled::by(rule, inner)
    })
}

/// An update overwrites the present value, whatever its tag.
fn overwritten(wiring: &Wiring<'_>) -> RequestPort {
    let host = wiring.host().at("register");
    let (below, status) = (host.at("access"), wiring.links().status());
    let quorums = Quorums::majorities(host.processes());
    let access = |up: Addr<quorum_access::Indication<Registers>>| {
        let (initial, up) = (Overwritten::default(), up.with(Overwritten::as_registers));
        classical::spawn(&below, quorums, initial, access_lane(wiring), &status, up)
    };
    of_registers(&by_quorum_access::spawn(
        &host,
        access,
        wiring.application(),
    ))
}

/// A process has several operations on a register at a time: all its operations are on one register.
fn several_at_a_time(wiring: &Wiring<'_>) -> RequestPort {
    match registers(wiring, by_quorum_access::mutant::Rule::NoBusy) {
        RequestPort::Operate(objects) => {
            let operate = objects.operate.with(|operation: Operation| Operation {
                object: 1,
                ..operation
            });
            RequestPort::Operate(Objects { operate, ..objects })
        }
        other => other,
    }
}

pub(super) const ALL: &[Published] = &[
    published(
        ["E1-E2", "read-one-write-all"],
        [
            "read-one-woken-by-messages",
            "the rule to return is looked at only when a message arrives",
        ],
        ("ONRR1", Faults::ONE_CRASH),
        woken_by_messages,
    ),
    published(
        ["E2-E1", "majority-voting"],
        [
            "voting-counts",
            "acknowledgements are counted, over a link that delivers each of them twice",
        ],
        ("ONRR2", NO_FAULTS),
        counts,
    ),
    published(
        ["E2-E3", "majority-voting"],
        [
            "voting-hears-values",
            "that nothing was written does not count as an answer",
        ],
        ("ONRR1", NO_FAULTS),
        hears_values_only,
    ),
    published(
        ["E2-E5", "majority-voting"],
        [
            "voting-by-halves",
            "a half of the processes, rounded down, is taken for a majority",
        ],
        ("ONRR2", NO_FAULTS),
        a_half,
    ),
    published(
        ["E3-E3", "read-impose-write-all"],
        [
            "imposing-the-new",
            "a value that is not newer than what is held is not acknowledged",
        ],
        ("ONAR1", NO_FAULTS),
        acknowledges_the_new,
    ),
    among(
        5,
        &published(
            ["E4-E3", "read-impose-write-majority"],
            [
                "reading-without-imposing",
                "what a reader returns, it does not impose",
            ],
            ("ONAR3", Faults::ONE_CRASH),
            without_imposing,
        ),
    ),
    published(
        ["E5-E1", "read-impose-write-consult-all"],
        [
            "consult-a-majority",
            "a majority that has acknowledged is taken for all",
        ],
        ("NNAR2", NO_FAULTS),
        some_for_all,
    ),
    published(
        ["G2-E1", "quorum-access-generalized"],
        [
            "generalized-without-increment",
            "a clock does not rise when an update is applied",
        ],
        ("QAF2", NO_FAULTS),
        |wiring| access(wiring, generalized::mutant::Rule::NoIncrement),
    ),
    published(
        ["G2-E2", "quorum-access-generalized"],
        [
            "generalized-pushes-the-old",
            "the pushed state is that of the push before, with the clock of this one",
        ],
        ("QAF2", NO_FAULTS),
        |wiring| access(wiring, generalized::mutant::Rule::StateBeforeClock),
    ),
    published(
        ["G2-E3", "quorum-access-generalized"],
        [
            "generalized-by-any-response",
            "a response counts for whichever call is in flight, where clocks count",
        ],
        ("QAF2", NO_FAULTS),
        |wiring| counted(wiring, generalized::mutant::Rule::NoIdentifier),
    ),
    published(
        ["G2-E5", "quorum-access-generalized"],
        [
            "generalized-set-without-waiting",
            "a set returns when a write quorum has answered, where clocks count",
        ],
        ("QAF2", NO_FAULTS),
        |wiring| counted(wiring, generalized::mutant::Rule::SetDoesNotWait),
    ),
    published(
        ["G3-E1", "register-by-quorum-access"],
        [
            "access-without-writing-back",
            "a read does not write back what it returns",
        ],
        ("NNAR2", NO_FAULTS),
        |wiring| registers(wiring, by_quorum_access::mutant::Rule::NoWriteBack),
    ),
    published(
        ["G3-E2", "register-by-quorum-access"],
        [
            "access-overwriting",
            "an update overwrites the present value, whatever its tag",
        ],
        ("NNAR2", NO_FAULTS),
        overwritten,
    ),
    published(
        ["G3-E3", "register-by-quorum-access"],
        [
            "access-at-a-time",
            "a process may have several operations on a register at a time; here all are on one",
        ],
        ("NNAR2", NO_FAULTS),
        several_at_a_time,
    ),
];
