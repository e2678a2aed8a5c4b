use super::*;
use crate::testing::{
    Latencies, Rule, Subject, p, payload, posing, step, waits_for_its_own_proposal,
};
use quorate_abstractions::link::Links;
use quorate_core::Time;
use quorate_sim::{Crash, Lose, Oracle, Report, UNIT, properties};

/// The algorithm under a rule.
struct Ruled(Rule, UniformHierarchical);

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
        let algorithm = Ruled(rule, UniformHierarchical::new(&host));
        let up = world.application(q);
        let port = spawn_as(&host, algorithm, lane, &status, detector, up);
        let (instance, value) = (1, payload(q));
        world.request(q, Time::ZERO, &port, Propose { instance, value });
    },
    properties: properties::consensus,
};

#[test]
fn costs_are_what_the_header_says() {
    SUBJECT.assert_costs(|n, i| if i == n { n - 1 } else { n });
}

#[test]
fn costs_with_p1_dead_are_what_the_header_says() {
    SUBJECT.assert_costs_with_p1_dead(|n, i| if i == n { 5 + n - 2 } else { 5 + n - 1 });
}

#[test]
fn costs_with_a_leader_crashing_after_k_sends_are_what_the_header_says() {
    SUBJECT.assert_costs_with_a_leader_crashing();
}

#[test]
fn uc2_agreement_wherever_processes_crash() {
    SUBJECT.assert_holds_wherever_processes_crash();
}

/// p4, which gets p1's value late, imposes what it then holds on p2, not on p3, decides, and crashes.
fn stale_value(rule: Rule) -> Report {
    let mut world = SUBJECT.stale_value(rule);
    let lost = [p(3)].into_iter().collect();
    let crash = Crash::at(step(6) + UNIT / 2);
    world.crash(p(4), crash.losing(Lose::To(lost)));
    world.run()
}

#[test]
fn d2_e1_a_stale_value_that_counts_for_the_present_round_breaks_agreement() {
    let violation = stale_value(Rule::ArrivalIsTheRound);
    assert_eq!(violation.violation().unwrap().tag, "UC2");
    stale_value(Rule::Corrected).assert_all_hold();
}

#[test]
fn d2_e2_dropping_early_values_breaks_termination() {
    let report = SUBJECT.early_value(Rule::EarlyIsDropped);
    assert_eq!(report.violation().unwrap().tag, "UC4");
    SUBJECT.early_value(Rule::Corrected).assert_all_hold();
}

#[test]
fn d2_e6_a_detector_that_errs_breaks_agreement() {
    let oracle = Oracle::accurate(UNIT)
        .suspecting(p(1), p(2), step(0), step(9))
        .suspecting(p(1), p(3), step(0), step(9))
        .suspecting(p(2), p(1), step(0), step(3))
        .suspecting(p(3), p(1), step(0), step(3));
    let adversary = Latencies::each(&[(1, 2, 5), (1, 3, 5), (2, 1, 5), (3, 1, 5)]);
    let mut world = SUBJECT.world(3, 1, adversary, Rule::Corrected, posing(oracle));
    let report = world.run();
    assert_eq!(report.violation().unwrap().tag, "UC2");
}

#[test]
fn a_process_waits_for_its_own_proposal_and_finished_instances_are_pruned() {
    let p2 = waits_for_its_own_proposal(
        UniformHierarchical::new,
        |instance, value| Event::Propose(Propose { instance, value }),
        Event::BestEffort,
        Event::Crash,
        |effects| matches!(effects, [Effect::BestEffort(_), Effect::Decide(_)]),
    );
    assert!(p2.0.instances.is_empty());
}
