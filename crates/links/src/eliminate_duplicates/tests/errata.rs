//! The reasons for the rules: each published rule fails where the corrected one holds.
use super::*;
use std::collections::BTreeSet;

/// The algorithm with some of its effects left out.
struct Without<L> {
    link: EliminateDuplicates,
    ctx: Context<Event, Effect>,
    leaves_out: L,
}

impl<L: FnMut(&Effect) -> bool + Send + 'static> Without<L> {
    fn new(host: &SimHost, leaves_out: L) -> Self {
        Without {
            link: link(host),
            ctx: Context::new(Name::root(), 0, Counters::default()),
            leaves_out,
        }
    }
}

impl<L: FnMut(&Effect) -> bool + Send + 'static> Algorithm for Without<L> {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        self.link.upon(event, &mut self.ctx);
        let mut effects = Vec::new();
        self.ctx.take_effects(&mut effects);
        let kept = effects
            .into_iter()
            .filter(|effect| !(self.leaves_out)(effect));
        kept.for_each(|effect| ctx.trigger(effect));
    }
}

/// The stubborn link as published: the handler of the first request never ends. It transmits for ever,
/// and nothing else is ever handled.
struct NeverYields {
    link: stubborn::Stubborn,
    is_sending: bool,
}

impl Algorithm for NeverYields {
    type Event = stubborn::Event;
    type Effect = stubborn::Effect;

    fn upon(&mut self, event: stubborn::Event, ctx: &mut Ctx<Self>) {
        if self.is_sending && !matches!(event, stubborn::Event::Timer) {
            return;
        }
        self.is_sending |= matches!(event, stubborn::Event::Request(Request::Send { .. }));
        self.link.upon(event, ctx);
    }
}

fn never_yields(host: &SimHost) -> NeverYields {
    NeverYields {
        link: below(host),
        is_sending: false,
    }
}

/// p1 sends p2 these messages, one after the other; the way back is cut for the first 30 ms. A run that is
/// not quiescent by then is given up at this time.
fn schedule(
    messages: &[&'static [u8]],
    until: Time,
    wire: impl Fn(&World) -> Vec<Addr<SendRequest<Bytes>>>,
) -> Report {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    world = world.settle(Duration::from_mins(1)).maximum_time(until);
    let ports = wire(&world);
    for (at, message) in (1..).zip(messages) {
        world.request(p(1), ms(at), &ports[0], send(To::One(p(2)), message));
    }
    world.cut((p(2), p(1)), Time::ZERO, Some(ms(30)));
    world.run()
}

const MINUTE: Time = ms(60_000);

const HOUR: Time = ms(3_600_000);

fn tag(report: &Report) -> Option<&str> {
    report.violation().map(|violation| violation.tag.as_str())
}

#[test]
fn a2_e1_a_send_handler_that_never_ends_breaks_pl1_for_the_second_message() {
    let messages: [&[u8]; 2] = [b"first", b"second"];
    let report = schedule(&messages, HOUR, |world| {
        wire_as(world, link, never_yields, None)
    });
    assert_eq!(tag(&report), Some("PL1"));
    // It is the same message over and over: SL1 holds for the first message alone.
    assert!(report.counts.datagrams > 20);
    holds(&schedule(&messages, HOUR, |world| wire(world, None)));
}

#[test]
fn a3_e1_delivered_by_content_breaks_pl1_for_a_second_equal_message() {
    let by_content = |host: &SimHost| {
        let mut delivered = BTreeSet::new();
        Without::new(host, move |effect| match effect {
            Effect::Deliver(Deliver { from, message }) => {
                !delivered.insert((*from, message.clone()))
            }
            Effect::Send(..) | Effect::Acknowledge(..) | Effect::Cancel(..) => false,
        })
    };
    let messages: [&[u8]; 2] = [b"equal", b"equal"];
    let report = schedule(&messages, HOUR, |world| {
        wire_as(world, by_content, below, None)
    });
    assert_eq!(tag(&report), Some("PL1"));
    holds(&schedule(&messages, HOUR, |world| wire(world, None)));
}

/// Whether a message keeps the link busy for ever: the longer the run, the more datagrams.
fn is_restless(wire: impl Fn(&World) -> Vec<Addr<SendRequest<Bytes>>>) -> bool {
    let [minute, hour] = [MINUTE, HOUR].map(|until| schedule(&[b"message"], until, &wire));
    assert_eq!((tag(&minute), tag(&hour)), (None, None));
    !hour.completion.complete && hour.counts.datagrams > 50 * minute.counts.datagrams
}

#[test]
fn a3_e2_without_acknowledgements_the_link_is_never_quiescent() {
    let silent = |host: &SimHost| {
        Without::new(host, |effect: &Effect| {
            matches!(effect, Effect::Acknowledge(..))
        })
    };
    assert!(is_restless(|world| wire_as(world, silent, below, None)));
    holds(&schedule(&[b"message"], HOUR, |world| wire(world, None)));
}

#[test]
fn a3_e2_without_acknowledgements_what_is_kept_grows_with_the_run() {
    // Nothing is cancelled, so that the window, which the book does not have, would close for good.
    let mut link = Driven::new(1);
    let count = |effects: Vec<Effect>, wanted: fn(&Effect) -> bool| {
        effects.iter().filter(|effect| wanted(effect)).count()
    };
    let mut sent = 0;
    for _ in 0..2 * WINDOW {
        sent += count(link.send(2), |effect| matches!(effect, Effect::Send(..)));
    }
    let peer = &link.link.peers[1];
    assert_eq!((sent as u64, peer.waiting.len() as u64), (WINDOW, WINDOW));
    // With acknowledgements, all memory is freed.
    for sequence in 1..=2 * WINDOW {
        link.arrive(2, Message::Acknowledge(sequence));
    }
    let peer = &link.link.peers[1];
    assert_eq!((peer.in_flight().count(), peer.waiting.len()), (0, 0));
}

#[test]
fn a3_e3_acknowledging_only_what_is_new_keeps_a_link_busy_after_one_loss() {
    let only_new = |host: &SimHost| {
        let mut acknowledged = BTreeSet::new();
        Without::new(host, move |effect| match effect {
            Effect::Acknowledge(to, sequence) => !acknowledged.insert((*to, *sequence)),
            Effect::Deliver(_) | Effect::Send(..) | Effect::Cancel(..) => false,
        })
    };
    assert!(is_restless(|world| wire_as(world, only_new, below, None)));
    holds(&schedule(&[b"message"], HOUR, |world| wire(world, None)));
}
