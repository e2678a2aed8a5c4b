//! The horns, the lemmas with their corrections, and that what contradicts the theorem is noticed.
use super::{model::Sent, search::decision_without, walker::Run, *};
use quorate_core::ProcessId;

fn three() -> Membership {
    Membership::of_size(3).unwrap()
}

fn small() -> Graph<Rotating> {
    Graph::new(Rotating::new(three()).up_to(ROUNDS))
}

fn a_walk(stages: usize) -> Walk<Rotating> {
    let protocol = Rotating::new(three());
    let from = Of::<Rotating>::initial(&three(), &[true, false, false]);
    let start = bivalence(&protocol, &from, &[]).unwrap();
    walk(&protocol, from, start, stages)
}

#[test]
fn h3_each_protocol_breaks_its_horn_and_no_other() {
    let shown = show(60).unwrap();
    assert_eq!(shown.unexpected(), [""; 0], "{}", shown.text());
    let broken: Vec<_> = shown.examined.iter().map(|it| it.broken.clone()).collect();
    let stated = [
        Horn::Agreement,
        Horn::Blocked,
        Horn::Blocked,
        Horn::Undecided,
    ];
    assert_eq!(broken, stated.map(|horn| vec![horn]));
    assert!(shown.svg().contains("stage 6"));
}

#[test]
fn h3_e1_a_zero_valent_initial_configuration_stands_next_to_a_bivalent_one() {
    // The source asserts a neighbour that is "valent", of value 1. There is none: that was the assumption.
    let found = neighbours(&small()).unwrap();
    let valencies = found.chain.iter().map(|(_, valency)| *valency);
    let valencies: Vec<_> = valencies.collect();
    let (zero, one) = (
        Valency {
            zero: true,
            one: false,
        },
        Valency {
            zero: false,
            one: true,
        },
    );
    assert_eq!((valencies[0], valencies[3]), (zero, one));
    assert!(
        !valencies.windows(2).any(|pair| pair == [zero, one]),
        "{valencies:?}"
    );
    assert!(valencies.iter().any(|valency| valency.is_bivalent()));
}

#[test]
fn h3_e4_the_neighbours_differ_in_a_proposal_and_in_nothing_that_others_see() {
    let found = neighbours(&small()).unwrap();
    let [one, other] = found.pair.each_ref().map(Of::<Rotating>::members);
    let differ: Vec<_> = (0..3)
        .filter(|index| one[*index] != other[*index])
        .collect();
    assert_eq!(differ, [found.differs.index()]);
    assert!(
        found
            .run
            .run
            .iter()
            .all(|envelope| envelope.to != found.differs)
    );
    assert!(found.is_same_for_others);
    assert_eq!(found.decides, Some(found.run.value));
}

#[test]
fn h3_e2_two_orders_at_one_process_end_with_different_messages_in_flight() {
    let graph = small();
    let (mut without_receiver, mut differing) = (0, 0);
    for square in squares(&graph).take(3000) {
        assert!(square.pools_differ());
        differing += 1;
        if square.without_receiver.is_some() {
            without_receiver += 1;
            assert!(square.closes, "a run without the receiver commutes");
            assert!(!square.decides_by_order(), "then the order decides nothing");
        }
    }
    assert!(
        without_receiver > 100 && differing > without_receiver,
        "{without_receiver} of {differing}"
    );
}

#[test]
fn h3_e2_an_order_that_decides_blocks_the_others_when_the_receiver_crashes() {
    let graph = Graph::new(FirstCome::new(three()));
    let forks: Vec<_> = squares(&graph).filter(Square::decides_by_order).collect();
    assert!(!forks.is_empty());
    for fork in forks {
        assert_eq!(fork.receiver.rank(), 1);
        assert!(fork.pools_differ() && fork.without_receiver.is_none());
    }
}

#[test]
fn h3_e3_nobody_crashes_in_the_run_and_at_each_stage_anybody_might() {
    let walk = a_walk(200);
    assert_eq!(walk.stages.len(), 200);
    assert_eq!(walk.blocked_without, None);
    let run = &walk.run;
    assert!(
        run.configuration
            .decisions(&Rotating::new(three()))
            .iter()
            .all(Option::is_none)
    );
    // Fair: everybody takes steps for ever, and every message is delivered soon.
    for p in three().iter() {
        assert!(run.steps(p) > 30, "{p} took {} steps", run.steps(p));
    }
    assert!(run.longest_wait() < 60, "{}", run.longest_wait());
}

#[test]
fn the_bivalence_of_each_stage_is_shown_by_two_runs() {
    let protocol = Rotating::new(three());
    let walk = a_walk(30);
    let mut present = Of::<Rotating>::initial(&three(), &[true, false, false]);
    for stage in &walk.stages {
        for envelope in stage.prefix.iter().chain([&stage.oldest]) {
            present = present.deliver(&protocol, envelope).unwrap().0;
        }
        let both = bivalence(&protocol, &present, &[]).unwrap();
        for (deciding, value) in [(both.zero, false), (both.one, true)] {
            let end = present.after(&protocol, &deciding.run).unwrap();
            assert!(end.decisions(&protocol).contains(&Some(value)));
        }
    }
    assert_eq!(present, walk.run.configuration);
}

#[test]
fn what_is_ignored_changes_nothing() {
    let protocol = Rotating::new(three());
    let (mut present, mut ignored) = (a_walk(0).run.configuration, 0);
    for delivered in a_walk(40).run.delivered {
        for envelope in present.pool() {
            let state = present.members()[envelope.to.index()].state.as_ref();
            let both = state.zip(envelope.content.as_ref());
            if both.is_some_and(|(state, message)| protocol.ignores(state, message)) {
                let (next, sent) = present.deliver(&protocol, envelope).unwrap();
                assert!(
                    next.members() == present.members() && sent.is_empty(),
                    "{envelope}"
                );
                ignored += 1;
            }
        }
        present = present.deliver(&protocol, &delivered.envelope).unwrap().0;
    }
    assert!(ignored > 50, "{ignored}");
}

#[test]
fn when_delays_have_a_bound_the_same_run_decides() {
    let protocol = Rotating::new(three());
    for stages in [0, 1, 7, 50] {
        let mut run: Run<Rotating> = a_walk(stages).run;
        assert!(run.settle(&protocol, SETTLED), "after {stages} stages");
    }
}

#[test]
fn the_capped_instance_is_safe_in_every_schedule() {
    let graph = small();
    assert!(graph.disagreement().is_none() && graph.invention().is_none());
    let counts = graph.counts();
    let bivalent = counts.iter().filter(|(valency, _)| valency.is_bivalent());
    assert!(
        bivalent.map(|(_, count)| count).sum::<usize>() > 100,
        "{counts:?}"
    );
}

/// Decides 0, whatever is proposed.
struct Constant(Membership);

impl Protocol for Constant {
    type State = ();
    type Message = ();

    fn name(&self) -> String {
        "decide 0".to_owned()
    }

    fn processes(&self) -> &Membership {
        &self.0
    }

    fn start(&self, _: ProcessId, _: bool) -> ((), Sent<()>) {
        ((), Vec::new())
    }

    fn receive(&self, _: ProcessId, (): &mut (), _: ProcessId, (): &()) -> Sent<()> {
        Vec::new()
    }

    fn decision(&self, (): &()) -> Option<bool> {
        Some(false)
    }
}

#[test]
fn another_horn_is_noticed() {
    let constant = in_every_schedule(Constant(three()), &[Horn::Agreement]);
    assert_eq!(constant.broken, [Horn::Validity]);
    assert_eq!(
        constant.unexpected(),
        ["decide 0: [Validity], not [Agreement]"]
    );
    let waits = in_every_schedule(WaitFor::new(three(), 3), &[Horn::Agreement]);
    assert_eq!(waits.unexpected().len(), 1);
}

#[test]
fn a_coordinator_that_decides_alone_breaks_agreement_and_is_noticed() {
    let alone = || Rotating::new(three()).quorum(1);
    let examined = walked(alone().up_to(ROUNDS), &alone(), 5, &[Horn::Undecided]);
    assert!(
        examined.broken.contains(&Horn::Agreement),
        "{:?}",
        examined.broken
    );
    assert!(!examined.unexpected().is_empty());
}

#[test]
fn a_protocol_that_one_crash_blocks_is_not_walked_for_ever() {
    let blocked = || FirstCome::new(three());
    let examined = walked(blocked(), &blocked(), 20, &[Horn::Undecided]);
    assert_eq!(examined.broken, [Horn::Blocked], "{}", examined.text);
    assert!(!examined.unexpected().is_empty());
}

#[test]
fn no_horn_is_a_failure() {
    // The theorem needs another process that may crash: one process alone just decides.
    let alone = Membership::of_size(1).unwrap();
    let examined = in_every_schedule(WaitFor::new(alone, 1), &[Horn::Blocked]);
    assert_eq!(
        examined.unexpected(),
        ["decide the least of 1 values: no horn broke"]
    );
}

#[test]
fn a_decision_without_a_process_does_not_rest_on_what_it_alone_knows() {
    let protocol = FirstCome::new(three());
    let from = Of::<FirstCome>::initial(&three(), &[false; 3]);
    let p1 = three().coordinator(1);
    assert!(decision_without(&protocol, &from, p1).is_none());
    assert!(decision_without(&protocol, &from, three().coordinator(2)).is_some());
}
