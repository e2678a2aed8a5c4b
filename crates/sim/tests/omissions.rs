//! Omissions: what is lost, who is faulty, and what the searches find.
#![allow(clippy::unwrap_used, reason = "these are tests")]
mod support;
use quorate_core::Time;
use quorate_sim::{
    Exhaustive, Kind, Loss, Omission, OmissionKind, Report, Script, Timed, Walk, World, properties,
    schedule::Passage, testing::set,
};
use support::{everywhere, p, payload};

/// p1 broadcasts this often among three.
fn broadcasts(quorum: usize, times: usize) -> World {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let urb = everywhere(&world, quorum);
    world.check(properties::uniform(world.membership(), "urb"));
    for _ in 0..times {
        world.request(p(1), Time::ZERO, &urb[0], payload("m"));
    }
    world
}

/// Two broadcasts, of which some copies are omitted.
fn run(rank: usize, omission: Omission) -> (World, Report) {
    let mut world = broadcasts(2, 2).keep_trace();
    world.omit(p(rank), omission);
    let report = world.run();
    (world, report)
}

fn delivered(world: &World, rank: usize) -> u64 {
    let tally = world.tally(p(rank), "urb", "Deliver");
    tally.map_or(0, |tally| tally.count)
}

/// The copies that were omitted: from, to, and by whom.
fn omitted(world: &World) -> Vec<(usize, usize, usize)> {
    let trace = world.trace();
    let lost = trace
        .records()
        .iter()
        .filter_map(|record| match record.kind {
            Kind::Drop { to, loss, .. } => {
                let from = record.process;
                let by = match loss {
                    Loss::SendOmission => from,
                    Loss::ReceiveOmission => to,
                    _ => panic!("nothing else is lost: {loss:?}"),
                };
                Some((from.rank(), to.rank(), by.rank()))
            }
            _ => None,
        });
    lost.collect()
}

fn copy(from: usize, to: usize, number: u32) -> Passage {
    let (from, to) = (p(from), p(to));
    Passage { from, to, number }
}

#[test]
fn s1_who_omits_what_it_sends_is_faulty_and_nobody_has_it() {
    let (world, report) = run(1, Omission::each(OmissionKind::Send, 1.0));
    assert_eq!(report.completion.correct, set(&[2, 3]));
    assert_eq!(world.omitters(), set(&[1]));
    // Its own messages reach itself, but no majority.
    assert_eq!([1, 2, 3].map(|rank| delivered(&world, rank)), [0, 0, 0]);
    assert_eq!(
        omitted(&world),
        [(1, 2, 1), (1, 3, 1), (1, 2, 1), (1, 3, 1)]
    );
    assert_eq!(report.counts.messages, 4, "what is omitted counts as sent");
    report.assert_all_hold();
}

#[test]
fn s1_who_omits_what_it_is_sent_is_faulty_and_the_others_have_it() {
    let (world, report) = run(3, Omission::each(OmissionKind::Receive, 1.0));
    assert_eq!(report.completion.correct, set(&[1, 2]));
    assert_eq!([1, 2, 3].map(|rank| delivered(&world, rank)), [2, 2, 0]);
    assert!(
        omitted(&world)
            .iter()
            .all(|(_, to, by)| (*to, *by) == (3, 3))
    );
    report.assert_all_hold();
}

#[test]
fn s1_the_kind_says_at_which_end() {
    let (world, report) = run(3, Omission::each(OmissionKind::Send, 1.0));
    assert_eq!([1, 2, 3].map(|rank| delivered(&world, rank)), [2, 2, 2]);
    assert!(
        omitted(&world)
            .iter()
            .all(|(from, _, by)| (*from, *by) == (3, 3))
    );
    report.assert_all_hold();
    let (world, report) = run(3, Omission::each(OmissionKind::General, 1.0));
    let ends: Vec<_> = omitted(&world)
        .into_iter()
        .map(|(from, to, _)| (from, to))
        .collect();
    assert!(ends.iter().all(|(from, to)| *from == 3 || *to == 3));
    assert!(ends.contains(&(1, 3)));
    report.assert_all_hold();
}

/// Copies are counted whether they are omitted or not.
#[test]
fn s1_an_omission_names_the_message() {
    for number in [1, 2] {
        let (world, report) = run(1, Omission::these(OmissionKind::Send, [copy(1, 3, number)]));
        assert_eq!(omitted(&world), [(1, 3, 1)], "number {number}");
        assert_eq!(report.completion.correct, set(&[2, 3]));
        let (world, _) = run(
            3,
            Omission::these(OmissionKind::Receive, [copy(1, 3, number)]),
        );
        assert_eq!(omitted(&world), [(1, 3, 3)], "number {number}");
    }
    let both = [copy(1, 3, 1), copy(1, 3, 2)];
    let (world, _) = run(1, Omission::these(OmissionKind::General, both));
    assert_eq!(omitted(&world), [(1, 3, 1), (1, 3, 1)]);
    // The kind limits what is named.
    let (world, report) = run(3, Omission::these(OmissionKind::Send, both));
    assert_eq!(omitted(&world), []);
    assert_eq!(
        report.completion.correct,
        set(&[1, 2, 3]),
        "it has not failed"
    );
}

#[test]
fn s1_what_never_happens_changes_nothing() {
    let mut usual = broadcasts(2, 2);
    let usual = usual.run().hash;
    let never = Omission::each(OmissionKind::General, 0.0);
    let (_, report) = run(1, never);
    assert_eq!(report.hash, usual);
    assert_eq!(report.completion.correct, set(&[1, 2, 3]));
    let half = || run(1, Omission::each(OmissionKind::General, 0.5)).1.hash;
    assert_eq!(half(), half());
    assert_ne!(half(), usual);
}

fn general(messages: usize) -> Exhaustive {
    Exhaustive::new().omissions(OmissionKind::General, messages, 1)
}

/// A majority has a message that is delivered, so that a correct process has it and passes it on.
#[test]
fn s1_every_omission_by_one_of_three_is_survived_by_majorities() {
    for messages in [1, 2, 3] {
        let all = general(messages).explore(|| broadcasts(2, 1));
        all.assert_all_hold();
        assert!(all.executions > 10, "{all}");
    }
}

/// Delivers at once: right as long as every copy arrives, and also if one is missing, because the others pass the
/// message on.
#[test]
fn s1_the_budget_of_omissions_is_what_breaks_a_broadcast_without_acknowledgements() {
    let build = || broadcasts(1, 1);
    let send = |messages| Exhaustive::new().omissions(OmissionKind::Send, messages, 1);
    send(1).explore(build).assert_all_hold();
    let found = send(2).deepening().explore(build).found.unwrap();
    assert_eq!(found.violation.tag, "URB4");
    let script = found.shrunk(build);
    let steps: Vec<_> = script.steps().map(|step| step.to_string()).collect();
    assert_eq!(
        steps,
        ["request p1", "omit p1>p2 #1 by p1", "omit p1>p3 #1 by p1"]
    );
    let again: Script = script.to_string().parse().unwrap();
    let run = again.run(build()).unwrap();
    assert!(run.violates("URB4"));
    assert_eq!(run.report.completion.correct, set(&[2, 3]));
    // Others than p1 have nothing to omit that matters, and two receivers are two faulty processes.
    send(2).of(set(&[2, 3])).explore(build).assert_all_hold();
    let receive = |processes| Exhaustive::new().omissions(OmissionKind::Receive, 4, processes);
    receive(1).explore(build).assert_all_hold();
    let random = Walk::new(0).omissions(OmissionKind::Send, 2, 1);
    assert!(random.hunt(2000, build).is_some());
    Walk::new(0)
        .omissions(OmissionKind::Receive, 4, 1)
        .assert_none_breaks(200, build);
}
