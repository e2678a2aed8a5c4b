//! The published rules, each with the execution that shows it wrong.
use super::*;
use quorate_sim::testing::Latencies;

/// The rule in force: this algorithm's, or one as published.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Corrected,
    /// Only messages count as flushes.
    FaultyNeverFlush,
    /// Flushes are forgotten when this process's own flush begins.
    ForgottenAtBlockOk,
    /// Every flush is for the present view.
    FlushesHaveNoView,
    /// Data of any other view than the present one is dropped.
    EarlyDataIsDropped,
    /// Requests of a blocked user are ignored.
    BlockedRequestsVanish,
    /// The first view is not indicated.
    FirstViewIsSilent,
    /// Messages delivered from a flush are known by content.
    KnownByContent,
    /// A flush is empty.
    NothingIsFlushed,
}

/// The algorithm under a rule.
struct Ruled {
    rule: Rule,
    views: ByTerminating,
    contents: Vec<Bytes>,
}

impl Ruled {
    fn by(rule: Rule) -> impl Fn(ByTerminating) -> Ruled {
        move |views| Ruled {
            rule,
            views,
            contents: Vec::new(),
        }
    }

    /// Applies the rule to the event or the state. Returns whether the event is lost under this rule.
    fn spoil(&mut self, event: &mut Event) -> bool {
        let view = self.views.view.id;
        match (self.rule, event) {
            (Rule::FaultyNeverFlush, Event::Terminating(delivery)) => {
                delivery.outcome == Content::SenderFaulty
            }
            (Rule::ForgottenAtBlockOk, Event::Request(Request::BlockOk)) => {
                self.views.flushed.clear();
                self.views.faulty.clear();
                false
            }
            (Rule::FlushesHaveNoView, Event::Terminating(delivery)) => {
                if delivery.outcome != Content::SenderFaulty {
                    delivery.number = view + 1;
                }
                false
            }
            (Rule::EarlyDataIsDropped, Event::BestEffort(delivery)) => {
                delivery.message.view() != view
            }
            (Rule::BlockedRequestsVanish, Event::Request(Request::Broadcast(_))) => {
                self.views.phase == Phase::Blocked
            }
            _ => false,
        }
    }
}

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        if self.rule != Rule::FirstViewIsSilent {
            self.views.upon_start(ctx);
        }
    }

    fn upon(&mut self, mut event: Event, ctx: &mut Ctx<Self>) {
        if self.spoil(&mut event) {
            return;
        }
        let is_flush = matches!(event, Event::Terminating(_));
        self.views.upon(event, ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        for mut effect in effects {
            if let Effect::Terminating(flush) = &mut effect
                && self.rule == Rule::NothingIsFlushed
            {
                flush.payload.clear();
            }
            if let Effect::Indicate(Indication::Deliver(deliver)) = &effect
                && self.rule == Rule::KnownByContent
            {
                if is_flush && self.contents.contains(&deliver.payload) {
                    continue;
                }
                self.contents.push(deliver.payload.clone());
            }
            ctx.trigger(effect);
        }
    }
}

/// p3 of three is dead.
fn one_dead(rule: Rule) -> Report {
    let (mut world, _, _) = world_of(3, 1, Timed::lock_step(), Ruled::by(rule), steps(1));
    world.crash(p(3), Crash::at(Time::ZERO));
    world.run()
}

#[test]
fn d7_e1_waiting_for_the_flush_of_the_faulty_breaks_completeness() {
    let report = one_dead(Rule::FaultyNeverFlush);
    assert_eq!(report.violation().unwrap().tag, "VS4");
    one_dead(Rule::Corrected).assert_all_hold();
}

/// p1 and p2 broadcast the same content; p2's message is slow to p1, which gets it from the flush.
fn equal_contents(rule: Rule) -> Report {
    let adversary = Latencies::default().way(2, 1, &[30]);
    let (mut world, ports, _) = world_of(3, 1, adversary, Ruled::by(rule), steps(1));
    world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
    world.request(p(2), Time::ZERO, &ports[1], broadcast(b"m"));
    world.crash(p(3), Crash::at(Time::ZERO));
    world.run()
}

#[test]
fn d7_e2_knowing_flushed_messages_by_their_content_breaks_agreement() {
    let report = equal_contents(Rule::KnownByContent);
    assert_eq!(report.violation().unwrap().tag, "VS9");
    equal_contents(Rule::Corrected).assert_all_hold();
}

/// p3 is dead; the user of p1 answers `Block` long after p2 has flushed.
fn slow_user(rule: Rule) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let (ports, _) = wire(&world, Ruled::by(rule), steps(1), |q| q != p(1));
    world.request(p(1), step(20), &ports[0], Request::BlockOk);
    world.crash(p(3), Crash::at(Time::ZERO));
    world.run()
}

#[test]
fn d7_e3_forgetting_flushes_at_the_own_one_breaks_completeness() {
    let report = slow_user(Rule::ForgottenAtBlockOk);
    assert_eq!(report.violation().unwrap().tag, "VS4");
    slow_user(Rule::Corrected).assert_all_hold();
}

/// The events at p1, step by step: p4 has crashed and p3 after it; p2 and p3 have left the first view, and p2
/// the second, before p1 has its own flush of the first. In the end p2 crashes, too.
fn flush_of_the_next_view(rule: Rule) -> Report {
    let mut world = World::new(4, 1, Timed::lock_step()).unwrap();
    world.check(properties::view_synchrony(world.membership(), "views"));
    let (up, back, _) = user(&world, p(1));
    let host = world.host(p(1)).at("views");
    let views = Ruled::by(rule)(ByTerminating::new(&host));
    let mailbox = host.mailbox();
    let events = mailbox.addr();
    assert!(back.set(events.with(Event::Request)).is_ok());
    host.start(mailbox, views, move |effect| {
        if let Effect::Indicate(indication) = effect {
            up.send(indication);
        }
    });
    let view = |id, ranks: &[usize]| {
        let members = ranks.iter().map(|rank| p(*rank)).collect();
        Event::Group(group_membership::Indication::View(View { id, members }))
    };
    let faulty = |rank, number| {
        Event::Terminating(terminating::Deliver {
            source: p(rank),
            number,
            outcome: Content::SenderFaulty,
        })
    };
    let told = [
        view(1, &[1, 2, 3]),
        faulty(4, 1),
        flush(2, 1, b""),
        flush(3, 1, b""),
        view(2, &[1, 2]),
        faulty(3, 2),
        flush(2, 2, b""),
        flush(1, 1, b""),
        flush(1, 2, b""),
        view(3, &[1]),
        faulty(2, 3),
        flush(1, 3, b""),
    ];
    for (steps, event) in told.into_iter().enumerate() {
        world.request(p(1), step(10 + steps as u32), &events, event);
    }
    for (rank, steps) in [(4, 1), (3, 2), (2, 18)] {
        world.crash(p(rank), Crash::at(step(steps)));
    }
    world.run()
}

#[test]
fn d7_e4_counting_a_flush_for_the_present_view_breaks_completeness() {
    let report = flush_of_the_next_view(Rule::FlushesHaveNoView);
    assert_eq!(report.violation().unwrap().tag, "VS4");
    flush_of_the_next_view(Rule::Corrected).assert_all_hold();
}

/// p4 is dead. p3, the last live process in rank, installs the next view a step before the others, and
/// broadcasts in it: perhaps more than it may before it knows that all have delivered something.
fn ahead(rule: Rule, broadcasts: u64) -> (Report, Vec<usize>) {
    let (mut world, ports, logs) = world_of(4, 1, Timed::lock_step(), Ruled::by(rule), steps(1));
    world.crash(p(4), Crash::at(Time::ZERO));
    for _ in 0..broadcasts {
        world.request(p(3), step(4), &ports[2], broadcast(b"m"));
    }
    let report = world.run();
    let delivered = logs[..3].iter().map(|log| delivered(log).len()).collect();
    (report, delivered)
}

#[test]
fn d7_e5_dropping_data_of_the_next_view_breaks_validity() {
    let (report, delivered) = ahead(Rule::EarlyDataIsDropped, 2 * WINDOW);
    assert_eq!(report.violation().unwrap().tag, "VS6");
    assert_eq!(delivered[..2], [0, 0], "the first is lost to them");
    let (report, delivered) = ahead(Rule::Corrected, 2 * WINDOW);
    report.assert_all_hold();
    assert_eq!(delivered, [2 * WINDOW as usize; 3]);
}

/// With one broadcast, its sender delivers it, and nobody waits for anything.
#[test]
fn d7_e5_dropping_data_of_the_next_view_breaks_validity_and_agreement_in_the_last_view() {
    let (report, delivered) = ahead(Rule::EarlyDataIsDropped, 1);
    assert_eq!(delivered, [0, 0, 1]);
    for tag in ["VS6", "VS9"] {
        assert!(report.verdict(tag).unwrap().is_violated(), "{report}");
    }
    let (report, delivered) = ahead(Rule::Corrected, 1);
    report.assert_all_hold();
    assert_eq!(delivered, [1; 3]);
}

#[test]
fn d7_e5_chance_finds_that_data_of_the_next_view_is_dropped() {
    let found = |seed: u64| {
        let n = 2 + seed as usize % 4;
        let rule = Ruled::by(Rule::EarlyDataIsDropped);
        let (mut world, ports, _) = world_of(n, seed, any_pace(seed), rule, some_delay(seed));
        trouble(&world, &ports, seed, 1);
        !world.run().all_hold()
    };
    assert!((0..300).any(found));
}

/// p3 is dead; p1 requests a broadcast while it is blocked.
fn blocked(rule: Rule) -> (Report, Log) {
    let (mut world, ports, mut logs) =
        world_of(3, 1, Timed::lock_step(), Ruled::by(rule), steps(1));
    world.crash(p(3), Crash::at(Time::ZERO));
    world.request(p(1), step(5), &ports[0], broadcast(b"m"));
    (world.run(), logs.remove(1))
}

#[test]
fn d7_e6_ignoring_what_a_blocked_user_requests_breaks_validity() {
    let (report, _) = blocked(Rule::BlockedRequestsVanish);
    assert_eq!(report.violation().unwrap().tag, "VS6");
    let (report, log) = blocked(Rule::Corrected);
    report.assert_all_hold();
    let log = log.lock().unwrap();
    let views = |indication: &Indication| match indication {
        Indication::Deliver(deliver) => Some(deliver.view),
        _ => None,
    };
    let views: Vec<_> = log.iter().filter_map(views).collect();
    assert_eq!(views, [1], "it is broadcast in the next view");
}

#[test]
fn d7_e9_a_first_view_that_is_not_indicated_breaks_view_inclusion() {
    let run = |rule| {
        let (mut world, ports, _) = world_of(2, 1, Timed::lock_step(), Ruled::by(rule), steps(1));
        world.request(p(1), step(1), &ports[0], broadcast(b"m"));
        world.run()
    };
    let report = run(Rule::FirstViewIsSilent);
    assert_eq!(report.violation().unwrap().tag, "VS1");
    run(Rule::Corrected).assert_all_hold();
}

/// p1 crashes when it has sent its message to p2 alone.
fn sent_to_one(rule: Rule) -> Report {
    let (mut world, ports, _) = world_of(3, 1, Timed::lock_step(), Ruled::by(rule), steps(2));
    world.request(p(1), Time::ZERO, &ports[0], broadcast(b"m"));
    // p1's outputs: the first view, the delivery, the copy to p2, the copy to p3.
    world.crash(p(1), Crash::before_output(4));
    world.run()
}

#[test]
fn flushing_nothing_breaks_agreement() {
    let report = sent_to_one(Rule::NothingIsFlushed);
    assert_eq!(report.violation().unwrap().tag, "VS9");
    sent_to_one(Rule::Corrected).assert_all_hold();
}
