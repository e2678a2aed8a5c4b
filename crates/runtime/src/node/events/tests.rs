use super::{
    super::{
        sight::{Seen, Sight, log_counts},
        views,
    },
    *,
};
use crate::tracer::Tracer;
use futures::FutureExt;
use quorate_abstractions::{
    eventually_perfect::Reach, group_membership::View, leader::Trust, link::Status,
    view_synchrony::Indication,
};
use quorate_core::{
    Counters, Incarnation, MessageId, Name, Observation, Observe, ProcessSet, actor::Probe,
    message::Origin,
};
use quorate_sim::testing::p;
use std::{cell::RefCell, fmt::Write, net::SocketAddr, sync::Once};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

fn sight() -> (Sight, Seen) {
    let addresses = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)).into());
    let snapshot = NodeStatus::new(p(1), Incarnation(1), &addresses, 2);
    Sight::new(snapshot, "shop", false)
}

fn suspect(sight: &Sight, suspected: &[usize]) {
    let suspected: ProcessSet = suspected.iter().copied().map(p).collect();
    let cut_off = ProcessSet::EMPTY;
    sight.change(|now| {
        now.upon_reach(Reach {
            suspected,
            cut_off,
            ..Reach::default()
        })
    });
}

fn next(events: &mut NodeEvents) -> Option<NodeEvent> {
    events.next().now_or_never().expect("one waits")
}

#[test]
fn each_reads_all_that_happens_after_it_began_with_what_was_known_then() {
    let (sight, seen) = sight();
    suspect(&sight, &[2]);
    let mut early = seen.events();
    assert!(early.now().suspected.contains(p(2)));
    assert!(early.next().now_or_never().is_none(), "that is no news");
    suspect(&sight, &[2, 3]);
    let mut late = seen.events();
    suspect(&sight, &[3]);
    let (two, three) = (p(2), p(3));
    assert_eq!(next(&mut early), Some(NodeEvent::Suspected { peer: three }));
    assert!(early.now().suspected.contains(two), "as it was then");
    assert_eq!(next(&mut early), Some(NodeEvent::Restored { peer: two }));
    assert!(!early.now().suspected.contains(two));
    assert!(late.now().suspected.contains(two));
    assert_eq!(next(&mut late), Some(NodeEvent::Restored { peer: two }));
    drop(sight);
    assert_eq!(next(&mut early), None);
    assert_eq!(next(&mut late), None);
    assert_eq!(next(&mut seen.events()), None, "the node has stopped");
}

#[test]
fn what_an_event_says_is_in_the_watches_already() {
    let (sight, seen) = sight();
    let mut events = seen.events();
    sight.change(|now| now.upon_status(Status::Admitted));
    sight.change(|now| now.upon_leader(Trust(p(2))));
    assert_eq!(next(&mut events), Some(NodeEvent::Admitted));
    let elected = Some(NodeEvent::Elected { leader: p(2) });
    assert_eq!(next(&mut events), elected);
    assert_eq!(seen.status.borrow().leader, Some(p(2)));
    assert_eq!(*events.now(), *seen.status.borrow());
}

#[test]
fn who_is_slow_is_told_how_many_it_missed_and_reads_the_last_ones() {
    let (sight, seen) = sight();
    let mut events = seen.events();
    for round in 0..WAITING + 10 {
        suspect(&sight, if round % 2 == 0 { &[2] } else { &[] });
    }
    let missed = NodeEvent::Missed { count: 10 };
    assert_eq!(next(&mut events), Some(missed));
    for round in 0..WAITING {
        let peer = p(2);
        let expected = if round % 2 == 0 {
            NodeEvent::Suspected { peer }
        } else {
            NodeEvent::Restored { peer }
        };
        assert_eq!(next(&mut events), Some(expected));
        assert_eq!(events.now().suspected.is_empty(), round % 2 == 1);
    }
    assert!(events.next().now_or_never().is_none());
}

/// The log of the whole program. The lines of a thread are kept if that thread wants them.
///
/// A log of one thread alone would lose lines now and then, because the interest in an event is cached for
/// all threads together.
struct Log;

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
    static SPAN: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The lines that this thread logs.
fn logged(says: impl FnOnce()) -> Vec<String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Log).unwrap());
    LINES.set(Some(Vec::new()));
    says();
    LINES.take().unwrap()
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Log {
    /// Requests and indications of modules are not wanted: they would slow other tests.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() || metadata.is_span() || *metadata.level() < Level::TRACE
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut span = attributes.metadata().name().to_owned();
        attributes.record(&mut Fields(&mut span));
        SPAN.set(span);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                let level = event.metadata().level();
                let mut line = SPAN.with_borrow(|span| format!("{level} [{span}]"));
                event.record(&mut Fields(&mut line));
                lines.push(line);
            }
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn each_request_and_each_indication_of_a_module_is_a_line_of_the_finest_log() {
    let module = Name::from("orders/uniform");
    let origin = Origin {
        process: p(2),
        incarnation: Incarnation(7),
    };
    let id = MessageId {
        origin,
        sequence: 3,
    };
    let lines = logged(|| {
        let mut tracer = Tracer::new(Span::none());
        tracer.event(&module, &Said(Observation::request("Broadcast")));
        tracer.event(&module, &Said(Observation::internal("Timer")));
        let delivery = Observation::indication("Deliver").message(id).peer(p(2));
        assert!(tracer.effect(&module, &Said(delivery)));
    });
    let module = "[module name=orders/uniform]";
    let expected = [
        format!("TRACE {module} message=Broadcast direction=\"request\" count=1"),
        format!("TRACE {module} message=Deliver direction=\"indication\" id={id} count=1 peer=p2"),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn drops_are_logged_with_their_reason_whenever_their_count_has_doubled() {
    let lines = logged(|| {
        let (sight, _seen) = sight();
        let counters = Counters::default();
        log_counts(&counters, sight.span());
        let dropped = counters.counter(&"news".into(), "undecodable");
        for _ in 0..1000 {
            dropped.add(1);
        }
    });
    let node = "[node cluster=\"shop\" process=p1]";
    let line = |count| format!("DEBUG {node} message=undecodable module=news count={count}");
    let expected: Vec<_> = (0..10).map(|digits| line(1 << digits)).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_view_that_is_installed_or_that_others_have_installed_is_a_line_of_the_log() {
    let lines = logged(|| {
        let span = tracing::info_span!("module", name = "group");
        let members = ProcessSet::from_iter([p(1), p(3)]);
        let newcomers = ProcessSet::from_iter([p(3)]);
        let view = View { id: 4, members };
        views::tell_log(&span, &Indication::View { view, newcomers });
        views::tell_log(&span, &Indication::Block);
        views::tell_log(&span, &Indication::Excluded { view: 5 });
    });
    let module = "[module name=\"group\"]";
    let expected = [
        format!("INFO {module} message=installed view=4 members={{p1, p3}} newcomers={{p3}}"),
        format!(
            "WARN {module} message=the others have installed a view without this process view=5"
        ),
    ];
    assert_eq!(lines, expected);
}

struct Said(Observation);

impl Observe for Said {
    fn observe(&self) -> Observation {
        self.0
    }
}

#[test]
fn each_event_is_a_line_of_the_log_in_a_span_that_names_the_node() {
    let (peer, reason) = (p(2), "p2 has lost p1".to_owned());
    let lines = logged(|| {
        let (sight, _seen) = sight();
        let incarnation = Incarnation(7);
        sight.change(|now| now.upon_status(Status::Connected { peer, incarnation }));
        sight.change(|now| now.upon_status(Status::Admitted));
        suspect(&sight, &[3]);
        let suspected = ProcessSet::from_iter([p(2), p(3)]);
        let leaving = ProcessSet::from_iter([p(2)]);
        for (suspected, leaving) in [(suspected, leaving), (suspected, ProcessSet::EMPTY)] {
            sight.change(|now| {
                now.upon_reach(Reach {
                    suspected,
                    leaving,
                    ..Reach::default()
                })
            });
        }
        sight.change(|now| now.upon_leader(Trust(peer)));
        sight.change(|now| now.upon_status(Status::Excluded { by: peer, reason }));
    });
    let node = "[node cluster=\"shop\" process=p1]";
    let incarnation = Incarnation(7);
    let expected = [
        format!("INFO {node} message=connected peer=p2 incarnation={incarnation}"),
        format!("INFO {node} message=enough others have met this process: it votes and serves"),
        format!("WARN {node} message=suspected peer=p3"),
        format!("INFO {node} message=about to stop process=p2"),
        format!("INFO {node} message=not waited for: it is about to stop peer=p2"),
        format!("INFO {node} message=gone, as it said process=p2"),
        format!("INFO {node} message=trusted to lead leader=p2"),
        format!(
            "ERROR {node} message=this replica was given up by others, and may not vote or serve: \
             p2 has lost p1 by=p2"
        ),
    ];
    assert_eq!(lines, expected);
}
