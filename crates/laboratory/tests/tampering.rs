//! Authenticated links against somebody on the network who forges, alters, repeats and misdirects datagrams.
//!
//! `cargo test` runs a few seeds for each size, the ignored test thousands, which `scripts/soak` runs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_abstractions::fair_loss::Transmit;
use quorate_core::{Addr, ProcessId, Time};
use quorate_laboratory::scenario::{Faults, Scenario};
use quorate_sim::{Kind, Tampering, Timed, UNIT, World};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

fn tampered(processes: usize, subject: &str) -> Scenario {
    Scenario {
        processes,
        faults: Faults {
            loss: 0.1,
            duplication: 0.1,
            tampering: 0.7,
            ..Faults::NONE
        },
        ..Scenario::of(subject.parse().unwrap())
    }
}

fn run(seeds: u64) {
    for processes in 2..=4 {
        let scenario = tampered(processes, "sealed");
        for seed in 0..seeds {
            let report = scenario.run(seed, false).unwrap().report;
            assert!(
                report.all_hold(),
                "{report}replay: {}",
                scenario.command(seed)
            );
        }
    }
}

#[test]
fn authenticated_links_keep_their_promises() {
    run(20);
}

#[test]
#[ignore = "takes minutes"]
fn authenticated_links_keep_their_promises_in_thousands_of_runs() {
    // `SEEDS` names another number for each size.
    let seeds = std::env::var("SEEDS").ok();
    run(seeds.map_or(2000, |seeds| seeds.parse().unwrap()));
}

#[test]
fn what_is_not_authenticated_does_not() {
    let scenario = tampered(3, "stubborn");
    let mut runs = (0..20).map(|seed| scenario.run(seed, false).unwrap().report);
    assert!(runs.any(|report| !report.all_hold()));
}

#[test]
fn tampering_is_drawn_from_the_seed() {
    let hash = |scenario: &Scenario| scenario.run(7, false).unwrap().report.hash;
    let scenario = tampered(3, "sealed");
    assert_eq!(hash(&scenario), hash(&scenario));
    let mut without = scenario.clone();
    without.faults.tampering = 0.0;
    assert_ne!(hash(&scenario), hash(&without));
}

/// What happens, and when, to datagrams of processes that answer none; and how many datagrams arrive beside these.
fn fates(seed: u64, tampering: Option<Tampering>) -> (Vec<(Time, ProcessId, Kind)>, usize) {
    let adversary = Timed::uniform(UNIT / 2, UNIT * 5);
    let adversary = adversary.loss(0.2).duplication(0.2);
    let world = World::new(3, seed, adversary).unwrap().keep_trace();
    let mut world = world.settle(UNIT * 500);
    if let Some(tampering) = tampering {
        world.tamper(tampering);
    }
    let (members, arrived) = (*world.membership(), Arc::new(AtomicUsize::new(0)));
    for q in members.iter() {
        let arrived = arrived.clone();
        let arrivals = Addr::new(move |_| {
            arrived.fetch_add(1, Relaxed);
        });
        let edge = world.fair_loss(q, arrivals);
        for k in 0..100 {
            for to in members.others(q).iter() {
                let bytes = Bytes::from(format!("{k} from {q} to {to}"));
                let segment = bytes.len();
                let transmit = Transmit { to, bytes, segment };
                world.request(q, Time::ZERO + UNIT / 3 * k, &edge, transmit);
            }
        }
    }
    world.run();
    let trace = world.trace();
    let fates = trace.records().iter().filter(|record| {
        matches!(
            record.kind,
            Kind::Send { .. } | Kind::Receive { .. } | Kind::Drop { .. } | Kind::Duplicate { .. }
        )
    });
    let fates: Vec<_> = fates.map(|it| (it.time, it.process, it.kind)).collect();
    let genuine = fates.iter().filter(|fate| is_arrival(&fate.2)).count();
    (fates, arrived.load(Relaxed) - genuine)
}

fn is_arrival(kind: &Kind) -> bool {
    matches!(kind, Kind::Receive { .. })
}

#[test]
fn tampering_moves_no_other_draw() {
    for seed in 0..20 {
        let (undisturbed, none) = fates(seed, None);
        let (genuine, forged) = fates(
            seed,
            Some(Tampering {
                begin: Time::ZERO,
                end: Time::ZERO + UNIT * 1000,
                each: 0.7,
                seed,
            }),
        );
        assert!(none == 0 && forged > 300, "{none}, {forged}");
        for is_there in [
            |kind: &Kind| matches!(kind, Kind::Drop { .. }),
            |kind: &Kind| matches!(kind, Kind::Duplicate { .. }),
            is_arrival,
        ] {
            let count = undisturbed.iter().filter(|(_, _, kind)| is_there(kind));
            assert!(count.count() > 50, "seed {seed}");
        }
        // The two are too long to print.
        assert!(
            genuine == undisturbed,
            "seed {seed}: other draws have moved"
        );
    }
}
