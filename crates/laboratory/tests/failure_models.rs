//! Algorithms under omissions, clocks and timing models: what they keep, what falls, and that the entries say so.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_core::Time;
use quorate_laboratory::{
    algorithm::{Detector, Keeps, Kind, Timing, Wire},
    algorithms,
    failure_models::{FALLS, FailureModel},
    scenario::{Layers, Omissions, Scenario, Subject},
    wiring::{Environment, RequestPort, Wiring},
};
use quorate_sim::{
    Exhaustive, OmissionKind, Script, Timed, TimingPolicy, Verdict, World, testing::set,
    timing::Bounds,
};
use std::time::Duration;

fn named(name: &str) -> Subject {
    name.parse().unwrap()
}

/// A world of three in which p1 broadcasts once, on ideal links and an oracle that never errs.
fn broadcast(name: &str) -> World {
    let subject = named(name);
    let (simulation, wire): (_, Wire) = (&subject.algorithm.simulation, subject.wire());
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let detector = subject.algorithm.detector;
    let below = Environment::ideal(simulation.substrate, detector, Duration::ZERO);
    for p in world.processes() {
        let wiring = Wiring::new(&world, p, &below);
        match wire(&wiring) {
            RequestPort::Broadcast(port)
            | RequestPort::Group {
                broadcast: port, ..
            } if p.rank() == 1 => {
                world.request(p, Time::ZERO, &port, Bytes::from_static(b"m"));
            }
            _ => {}
        }
        wiring.start();
    }
    world.check((simulation.check)(world.membership()));
    world
}

fn omissions(kind: OmissionKind, messages: usize) -> Exhaustive {
    Exhaustive::new().omissions(kind, messages, 1)
}

/// Lazy broadcast passes a message on once its sender is suspected. A sender that omits a message has not crashed, and
/// is not suspected.
#[test]
fn s1_lazy_broadcast_loses_agreement_under_one_send_omission() {
    let build = || broadcast("lazy");
    Exhaustive::new()
        .crashes(1)
        .explore(build)
        .assert_all_hold();
    let found = omissions(OmissionKind::Send, 1).deepening().explore(build);
    let script = found.found.unwrap().shrunk(build);
    assert_eq!(script.expectations[0].to_string(), "expect RB4 violated");
    let faults: Vec<_> = script.steps().filter(|step| step.is_fault()).collect();
    assert_eq!(faults.len(), 1, "{script}");
    let written = "request p1\nomit p1>p3 #1 by p1\nexpect RB4 violated\nexpect RB1 holds";
    let written: Script = written.parse().unwrap();
    let run = written.run(build()).unwrap();
    written.judge(&run.report).unwrap();
    assert_eq!(run.report.completion.correct, set(&[2, 3]));
    // The entry promises its safety there.
    let receive = omissions(OmissionKind::Receive, 2).explore(build);
    receive.assert_all_hold();
}

/// Eager broadcast passes everything on at once: one correct process that has a message is enough.
#[test]
fn s1_eager_broadcast_keeps_agreement_under_every_omission_of_one_process() {
    for kind in [
        OmissionKind::Send,
        OmissionKind::Receive,
        OmissionKind::General,
    ] {
        omissions(kind, 2)
            .explore(|| broadcast("eager"))
            .assert_all_hold();
    }
    let relayless = omissions(OmissionKind::Send, 1).explore(|| broadcast("relayless"));
    assert_eq!(relayless.found.unwrap().violation.tag, "RB4");
}

/// Among those whose acknowledgements a process needs to deliver, one is correct, and passes the message on: agreement
/// binds what a faulty process delivers, too. All-ack waits for a process that says nothing.
#[test]
fn s1_majority_acknowledgement_is_uniform_under_every_omission_of_one_process() {
    for name in ["majority-ack", "textbook-majority-ack"] {
        let general = omissions(OmissionKind::General, 2);
        general.explore(|| broadcast(name)).assert_all_hold();
    }
    let send = omissions(OmissionKind::Send, 2);
    let found = send.explore(|| broadcast("one-ack")).found.unwrap();
    assert_eq!(found.violation.tag, "URB4");
    let found = send.explore(|| broadcast("all-ack")).found.unwrap();
    assert!(["URB1", "URB4"].contains(&found.violation.tag.as_str()));
}

/// Those without a property that omissions could be judged by, and views, in which who omits messages stays.
const EXEMPT: [&str; 4] = [
    "increasing-timeout",
    "lowest-rank",
    "primary-views",
    "view-synchronizer",
];

/// An entry that needs P, or bounds, is judged under neither omissions nor clocks that jump; all others keep their
/// safety at least, but those that promise liveness alone or send nothing.
#[test]
fn every_entry_names_its_failure_models() {
    for algorithm in algorithms::all() {
        let (name, models) = (algorithm.name, algorithm.models);
        let needs_p =
            algorithm.detector == Detector::Perfect || algorithm.timing == Timing::Synchronous;
        let keeps = |model| models.keeps(model);
        for model in FailureModel::ALL {
            let is_kept = keeps(model) != Keeps::Nothing;
            let is_clock = matches!(model, FailureModel::ClockDrift | FailureModel::ClockJumps);
            let expected = !needs_p && (is_clock || !EXEMPT.contains(&name))
                || model == FailureModel::ClockDrift;
            assert_eq!(is_kept, expected, "{name} under {model}");
            let has_safety = algorithm
                .properties
                .iter()
                .any(|it| it.kind == Kind::Safety);
            assert!(
                keeps(model) != Keeps::Safety || has_safety,
                "{name}: nothing is judged"
            );
        }
        for fall in algorithm.falls() {
            assert!(algorithm.promises(fall.breaks), "{fall}");
            assert_ne!(keeps(fall.model), Keeps::Everything, "{fall}");
            let is_safety = algorithm.is_safety(fall.breaks);
            assert!(!is_safety || keeps(fall.model) == Keeps::Nothing, "{fall}");
        }
    }
    for fall in FALLS {
        assert!(algorithms::find(fall.algorithm).is_some(), "{fall}");
    }
}

/// What is not promised under a failure model is not judged there, and what is promised is.
#[test]
fn under_omissions_a_consensus_with_a_leader_is_judged_by_its_safety() {
    let mut scenario = Scenario {
        layers: Layers::Ideal,
        ..Scenario::of(named("leader-driven"))
    };
    scenario.faults.accurate = true;
    scenario.faults.omissions = Some(Omissions {
        kind: OmissionKind::Send,
        processes: 1,
        probability: 1.0,
    });
    for seed in 0..20 {
        let report = scenario.run(seed, false).unwrap().report;
        report.assert_all_hold();
        let tags: Vec<_> = report
            .verdicts
            .iter()
            .map(|(tag, _)| tag.as_str())
            .collect();
        assert_eq!(tags, ["UC1", "UC2", "UC3"]);
        assert_eq!(report.completion.correct.len(), 2);
    }
    scenario.beyond = true;
    let stuck = (0..20).filter(|seed| {
        let report = scenario.run(*seed, false).unwrap().report;
        matches!(report.verdict("UC4"), Some(Verdict::Violated(_)))
    });
    assert!(stuck.count() > 2, "a leader that says nothing is trusted");
}

fn bounds(delay: u64) -> Bounds {
    Bounds {
        delay: Duration::from_millis(delay),
        lateness: Duration::from_millis(5),
        start: Duration::from_millis(50),
    }
}

/// Every entry under the timing models that it assumes, and weaker ones as far as its promises go.
#[test]
fn every_entry_holds_under_its_timing_model() {
    let gst = Time::ZERO + Duration::from_secs(1);
    let models = [
        TimingPolicy::Synchronous(bounds(40)),
        TimingPolicy::EventuallySynchronous {
            bounds: bounds(40),
            gst,
        },
        TimingPolicy::Asynchronous,
    ];
    for algorithm in algorithms::all() {
        let judged = match algorithm.timing {
            Timing::Synchronous => 1,
            Timing::EventuallySynchronous | Timing::Asynchronous => 3,
        };
        for (timing, place) in models.into_iter().zip(1..) {
            let scenario = Scenario {
                timing: Some(timing),
                ..Scenario::of(named(algorithm.name))
            };
            assert_eq!(
                scenario.validate().is_ok(),
                place <= judged,
                "{}",
                algorithm.name
            );
            if place > judged {
                continue;
            }
            for seed in [0, 1, 2, 3] {
                let report = scenario.run(seed, false).unwrap().report;
                assert!(report.all_hold(), "{}\n{report}", scenario.command(seed));
            }
        }
    }
}
