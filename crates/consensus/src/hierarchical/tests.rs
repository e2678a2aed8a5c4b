use super::*;
use crate::testing::{
    Latencies, Rule, Subject, p, payload, posing, reported_after, step, waits_for_its_own_proposal,
};
use quorate_abstractions::link::Links;
use quorate_core::Time;
use quorate_sim::{Crash, Lose, Oracle, Timed, UNIT, properties};

/// The algorithm under a rule.
struct Ruled(Rule, Hierarchical);

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let Event::BestEffort(best_effort::Deliver { from, message }) = event else {
            return self.1.upon(event, ctx);
        };
        if let Some(from) = self.0.counts_as(&mut self.1.0, message.instance, from) {
            let delivery = best_effort::Deliver { from, message };
            self.1.upon(Event::BestEffort(delivery), ctx);
        }
    }
}

const SUBJECT: Subject = Subject {
    start: |world, q, rule, detector| {
        let host = world.host(q).at("consensus");
        let links = world.links(q).at("consensus");
        let (lane, status) = (links.lane(), links.status());
        let algorithm = Ruled(rule, Hierarchical::new(&host));
        let up = world.application(q);
        let port = spawn_as(&host, algorithm, lane, &status, detector, up);
        let (instance, value) = (1, payload(q));
        world.request(q, Time::ZERO, &port, Propose { instance, value });
    },
    properties: properties::regular_consensus,
};

#[test]
fn costs_are_what_the_header_says() {
    SUBJECT.assert_costs(|_, i| i - 1);
}

#[test]
fn costs_with_p1_dead_are_what_the_header_says() {
    SUBJECT.assert_costs_with_p1_dead(|_, i| 5 + i - 2);
}

#[test]
fn costs_with_a_leader_crashing_after_k_sends_are_what_the_header_says() {
    SUBJECT.assert_costs_with_a_leader_crashing();
}

#[test]
fn c2_agreement_wherever_processes_crash() {
    SUBJECT.assert_holds_wherever_processes_crash();
}

#[test]
fn d1_e1_a_stale_value_that_counts_for_the_present_round_breaks_agreement() {
    // p4 waits in the third round for p3's value when p1's comes.
    let violation = SUBJECT.stale_value(Rule::ArrivalIsTheRound).run();
    assert_eq!(violation.violation().unwrap().tag, "C2");
    SUBJECT.stale_value(Rule::Corrected).run().assert_all_hold();
}

#[test]
fn c2_binds_correct_processes_only() {
    // p1 decides its own value and crashes before anybody gets it.
    let world = SUBJECT.world(3, 1, Timed::lock_step(), Rule::Corrected, reported_after(2));
    world.check(properties::consensus(world.membership(), "consensus"));
    let crash = Crash::at(Time::ZERO + UNIT / 2).losing(Lose::Everything);
    world.crash(p(1), crash);
    let report = world.go_on_after_violation().run();
    assert_eq!(report.verdict("C2"), Some(&quorate_sim::Verdict::Holds));
    assert_eq!(report.violation().unwrap().tag, "UC2", "D1-E5");
}

#[test]
fn d1_e2_dropping_early_values_breaks_termination() {
    let report = SUBJECT.early_value(Rule::EarlyIsDropped);
    assert_eq!(report.violation().unwrap().tag, "C4");
    SUBJECT.early_value(Rule::Corrected).assert_all_hold();
}

#[test]
fn d1_e6_a_detector_that_errs_breaks_agreement() {
    let oracle = Oracle::accurate(UNIT).suspecting(p(2), p(1), step(0), step(3));
    let adversary = Latencies::each(&[(1, 2, 5)]);
    let mut world = SUBJECT.world(2, 1, adversary, Rule::Corrected, posing(oracle));
    let report = world.run();
    assert_eq!(report.violation().unwrap().tag, "C2");
}

#[test]
fn a_process_waits_for_its_own_proposal_and_finished_instances_are_pruned() {
    let p2 = waits_for_its_own_proposal(
        Hierarchical::new,
        |instance, value| Event::Propose(Propose { instance, value }),
        Event::BestEffort,
        Event::Crash,
        |effects| matches!(effects, [Effect::BestEffort(_), Effect::Decide(_)]),
    );
    assert!(p2.0.instances.is_empty());
}
