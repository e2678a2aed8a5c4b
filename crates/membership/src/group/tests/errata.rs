//! The published rules, each with the execution that shows it wrong.
use super::*;
use crate::group::mutant::{Rule, Ruled};
use quorate_core::Addr;
use std::sync::{Arc, Mutex, PoisonError};

/// A detector and a consensus that say what the test determines, at one process.
#[derive(Clone, Default)]
struct Scripted {
    crashes: Arc<Mutex<Option<Addr<perfect::Crash>>>>,
    decisions: Arc<Mutex<Option<Addr<Decide>>>>,
    proposals: Arc<Mutex<Vec<Propose>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scripted {
    /// The algorithm under this rule at p1 of `n` processes.
    fn world(n: usize, rule: Rule) -> (World, Scripted) {
        let world = World::new(n, 1, Timed::lock_step()).unwrap();
        let processes = *world.membership();
        world.check(properties::group_membership(&processes, "membership"));
        let script = Scripted::default();
        let (host, it) = (world.host(p(1)).at("membership"), script.clone());
        let consensus = |up: Addr<Decide>| {
            *lock(&it.decisions) = Some(up);
            let proposals = it.proposals.clone();
            Addr::new(move |proposal| lock(&proposals).push(proposal))
        };
        let crashes = script.crashes.clone();
        let detector = Addr::new(move |up| *lock(&crashes) = Some(up));
        let group = Ruled::by(rule, processes.set(), Group::new(&host));
        let links = world.links(p(1)).at("membership");
        let (lane, status) = (links.lane(), links.status());
        let up = world.application(p(1));
        spawn_as(&host, group, lane, &status, consensus, &detector, up);
        (world, script)
    }

    /// At this step, p1 is told of the crash.
    fn report(&self, world: &World, steps: u32, rank: usize) {
        let crashes = self.crashes.clone();
        let tell = move || {
            let up = lock(&crashes).clone().unwrap();
            up.send(perfect::Crash(p(rank)));
        };
        world.call(p(1), step(steps), tell);
    }

    /// At this step, p1 learns of this decision.
    fn decide(&self, world: &World, steps: u32, instance: u64, ranks: &[usize]) {
        let decisions = self.decisions.clone();
        let value = encode(ranks.iter().map(|rank| p(*rank)).collect());
        let decision = Decide { instance, value };
        let tell = move || lock(&decisions).clone().unwrap().send(decision);
        world.call(p(1), step(steps), tell);
    }

    /// At this step, p1's last proposal is decided.
    fn agree(&self, world: &World, steps: u32) {
        let it = self.clone();
        let tell = move || {
            let Propose { instance, value } = lock(&it.proposals).last().cloned().unwrap();
            let decisions = lock(&it.decisions).clone();
            decisions.unwrap().send(Decide { instance, value });
        };
        world.call(p(1), step(steps), tell);
    }
}

fn crash(world: &World, steps: u32, rank: usize) {
    world.crash(p(rank), Crash::at(step(steps)));
}

/// p3 and p4 crash; p1 knows of p4 only when {p1, p2} is decided; then p2 crashes.
fn knows_less_than_was_decided(rule: Rule) -> (Report, usize) {
    let (mut world, script) = Scripted::world(4, rule);
    crash(&world, 0, 3);
    crash(&world, 0, 4);
    script.report(&world, 1, 4);
    script.decide(&world, 2, 1, &[1, 2]);
    crash(&world, 3, 2);
    script.report(&world, 4, 2);
    script.agree(&world, 5);
    let report = world.run();
    let proposals = lock(&script.proposals).len();
    (report, proposals)
}

#[test]
fn d6_e1_who_was_decided_to_be_out_is_not_proposed_again() {
    let (report, _) = knows_less_than_was_decided(Rule::UnreportedAreProposed);
    assert_eq!(report.violation().unwrap().tag, "GMP1");
    let (report, proposals) = knows_less_than_was_decided(Rule::Corrected);
    report.assert_all_hold();
    assert_eq!(proposals, 2);
}

#[test]
fn d6_e1_a_crash_of_a_member_counts_whoever_else_is_not_reported() {
    // p1 does not react to p2's crash before it learns of the crash of p3, which is no member any more.
    let (report, proposals) = knows_less_than_was_decided(Rule::UnreportedAreMembers);
    assert_eq!(report.violation().unwrap().tag, "GMP3");
    assert_eq!(proposals, 1);
}

#[test]
fn d6_e3_decisions_are_applied_in_order_also_unasked_for() {
    let run = |rule| {
        let (mut world, script) = Scripted::world(3, rule);
        crash(&world, 0, 2);
        crash(&world, 0, 3);
        script.decide(&world, 1, 2, &[1]);
        script.decide(&world, 2, 1, &[1, 2]);
        world.run()
    };
    let report = run(Rule::AsTheyCome);
    assert_eq!(report.violation().unwrap().tag, "GMP1");
    run(Rule::Corrected).assert_all_hold();
}

#[test]
fn d6_e5_a_view_may_be_out_of_date_when_it_is_installed() {
    // p2's crash is reported while p1 waits for the decision on the view without p3.
    let run = |rule| {
        let (mut world, script) = Scripted::world(3, rule);
        crash(&world, 0, 3);
        script.report(&world, 1, 3);
        crash(&world, 1, 2);
        script.report(&world, 2, 2);
        script.agree(&world, 3);
        script.agree(&world, 4);
        world.run()
    };
    let report = run(Rule::ViewsAreUpToDate);
    assert_eq!(report.violation().unwrap().tag, "GMP3");
    run(Rule::Corrected).assert_all_hold();
}
