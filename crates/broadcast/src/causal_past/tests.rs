use super::*;
use crate::{causal::testing::*, testing::*};
use proptest::prelude::*;
use quorate_core::Addr;
use quorate_core::Time;
use quorate_sim::{Exhaustive, Report, SimHost, Timed, UNIT, World};

const START: Start<'_> = &|_, host, below, up| spawn(host, below, up);

/// The published algorithm with this flaw; its collection is tested in another file.
fn mutant(
    flaw: Flaw,
) -> impl Fn(&World, &SimHost, StartReliable, Addr<Deliver>) -> Addr<Broadcast> {
    move |world, host, below, up| {
        let detector = world.perfect(host.me(), UNIT);
        published(host, (flaw, Held::default()), below, &detector, up)
    }
}

#[test]
fn crb1_validity_and_crb4_agreement_whatever_crashes() {
    assert_hold_in_turbulence(START, &REGULAR, &["CRB1", "CRB4"]);
}

#[test]
fn crb2_no_duplication_and_crb3_no_creation_whatever_crashes() {
    assert_hold_in_turbulence(START, &REGULAR, &["CRB2", "CRB3"]);
}

#[test]
fn crb5_causal_order_whatever_crashes() {
    assert_hold_in_turbulence(START, &REGULAR, &["CRB5"]);
    // The same runs do tell: without order in the past, they fail.
    let unordered = mutant(Flaw::Unordered);
    let caught = |seed| {
        turbulent(Form::Regular, &unordered, seed)
            .violation()
            .is_some()
    };
    assert!((0..200).any(caught));
}

#[test]
fn crb1_to_crb5_in_the_uniform_form_while_a_minority_crashes() {
    let tags = ["CRB1", "CRB2", "CRB3", "CRB4", "CRB5"];
    assert_hold_in_turbulence(START, &[Form::Uniform], &tags);
}

#[test]
fn costs_are_what_the_header_says() {
    assert_costs_what_is_below_costs(START);
}

#[test]
fn delivery_takes_one_step() {
    let mut world = World::new(5, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, Form::Regular, START);
    request(&world, &ports, 1, Time::ZERO, b"m");
    world.run().assert_all_hold();
    for q in world.processes() {
        let steps = u32::from(q != p(1));
        let tally = world.tally(q, "causal", "Deliver");
        assert_eq!(tally.map(|tally| tally.last), Some(at(steps)), "{q}");
    }
}

/// p1 broadcasts twice, and p2 answers the second message; p1's own copies to p3 are late, and so are those
/// that p2 relays. So p3 gets the answer first, and the two messages of p1 within it.
fn answer_first(form: Form, start: Start<'_>) -> (Report, Vec<Option<Time>>) {
    let script = Latencies::default()
        .way(1, 3, &[20, 20])
        .way(2, 3, &[20, 20]);
    let mut world = World::new(3, 1, script).unwrap();
    let ports = wire_with(&world, form, start, |q| {
        move |delivery: &Deliver| {
            (q == p(2) && delivery.id == id(1, 2)).then(|| Bytes::from_static(b"answer"))
        }
    });
    request(&world, &ports, 1, Time::ZERO, b"one");
    request(&world, &ports, 1, Time::ZERO, b"two");
    let report = world.run();
    let tallies = world
        .processes()
        .map(|q| world.tally(q, "causal", "Deliver"));
    let last = tallies.map(|tally| tally.filter(|t| t.count == 3).map(|t| t.last));
    (report, last.collect())
}

#[test]
fn b4_e1_a_past_without_order_breaks_crb5() {
    let (report, _) = answer_first(Form::Regular, &mutant(Flaw::Unordered));
    assert_violates(&report, "CRB5");
    answer_first(Form::Regular, &mutant(Flaw::None))
        .0
        .assert_all_hold();
    answer_first(Form::Regular, START).0.assert_all_hold();
}

#[test]
fn b4_e4_content_as_identity_breaks_crb1() {
    let run = |start: Start<'_>| {
        let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, Form::Regular, start);
        request(&world, &ports, 1, Time::ZERO, b"same");
        request(&world, &ports, 2, Time::ZERO, b"same");
        world.run()
    };
    assert_violates(&run(&mutant(Flaw::ByContent)), "CRB1");
    run(&mutant(Flaw::None)).assert_all_hold();
    run(START).assert_all_hold();
}

#[test]
fn b4_e5_delivering_out_of_a_past_is_uniform_too() {
    let (report, last) = answer_first(Form::Uniform, START);
    report.assert_all_hold();
    // p3 has all three when the answer arrives, long before uniform broadcast delivers the first two.
    assert_eq!(last[2], Some(at(2)));
}

#[test]
fn the_past_grows_by_every_message_and_is_never_shortened() {
    let mut process = Alone::new(CausalPast::new);
    let mut lengths = Vec::new();
    for sequence in 1..=100 {
        let payload = Bytes::from_static(b"0123456789");
        let effects = process.upon(Event::Broadcast(Broadcast { payload }));
        let [Effect::Reliable(reliable::Broadcast { payload })] = &effects[..] else {
            panic!("{effects:?}");
        };
        lengths.push(payload.len());
        let delivery = reliable::Deliver {
            id: id(1, sequence),
            payload: payload.clone(),
        };
        assert_eq!(process.upon(Event::Reliable(delivery)).len(), 1);
        assert_eq!(process.algorithm.history.past().len() as u64, sequence);
    }
    let growth: Vec<_> = lengths.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(growth.iter().all(|bytes| *bytes == growth[0]), "{growth:?}");
    assert!(growth[0] > 10, "an entry holds its payload");
}

#[test]
fn what_cannot_be_is_counted_and_dropped() {
    let mut process = Alone::new(CausalPast::new);
    let mut receive = |id, payload| {
        let delivery = reliable::Deliver { id, payload };
        process.upon(Event::Reliable(delivery)).len()
    };
    let message = |past: &[MessageId]| {
        let data = |id: &MessageId| Data {
            id: *id,
            payload: Bytes::from_static(b"m"),
        };
        let past = past.iter().map(data).collect();
        wire::encode(&Message {
            past,
            payload: Bytes::new(),
        })
    };
    assert_eq!(receive(id(2, 2), message(&[])), 0, "the first is missing");
    assert_eq!(receive(id(2, 1), message(&[id(3, 2)])), 0);
    assert_eq!(
        receive(id(2, 1), message(&[id(1, 1)])),
        0,
        "p1 has broadcast nothing"
    );
    assert_eq!(receive(id(2, 1), message(&[id(9, 1)])), 0);
    assert_eq!(receive(id(2, 1), Bytes::from_static(&[9])), 0);
    assert_eq!(receive(id(2, 1), Bytes::new()), 0);
    assert_eq!(
        receive(id(2, 1), message(&[id(3, 1)])),
        2,
        "nothing wrong with this one"
    );
    assert_eq!(process.counters.total("impossible past"), 4);
    assert_eq!(process.counters.total("undecodable message"), 2);
}

proptest! {
    #[test]
    fn garbage_never_panics(sequence in 0..3_u64, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut process = Alone::new(CausalPast::new);
        let payload = Bytes::from(bytes);
        process.upon(Event::Reliable(reliable::Deliver { id: id(2, sequence), payload }));
    }
}

#[test]
fn crb1_to_crb5_hold_in_every_schedule() {
    for (form, small, classes) in [
        (Form::Regular, (2, &[1][..], 1), 36),
        (Form::Regular, (2, &[1, 1], 0), 29),
        (Form::Regular, (2, &[1, 2], 1), 546),
        (Form::Regular, (3, &[3], 1), 143),
        (Form::Regular, (3, &[1], 0), 3000),
        (Form::Uniform, (2, &[1, 2], 0), 35),
        (Form::Uniform, (3, &[3], 1), 137),
    ] {
        assert_holds_in_every_schedule(form, START, small, classes);
    }
}

#[test]
fn the_search_finds_content_as_identity() {
    let by_content = mutant(Flaw::ByContent);
    assert_search_finds(Form::Regular, &by_content, (2, &[1, 2], 0), "CRB1");
}

#[test]
fn the_search_finds_a_past_without_order() {
    let search = Exhaustive::new().deepening().executions(100);
    let finds = |start: Start<'_>| {
        let all = search.explore(|| small_world(3, Form::Regular, start, &[1, 1]));
        all.found.map(|found| found.violation.tag)
    };
    assert_eq!(finds(&mutant(Flaw::Unordered)).as_deref(), Some("CRB5"));
    assert_eq!(finds(&mutant(Flaw::None)), None);
    assert_eq!(finds(START), None);
}
