//! The whole layer in the simulated world, below links, against an adversary who tampers with datagrams.
use super::*;
use quorate_abstractions::addressed::over;
use quorate_abstractions::link::{Deliver, Links, SendRequest, To};
use quorate_core::{Addr, Host, Layer};
use quorate_links::perfect::{AdmissionRule, LinkSettings, PerfectLinks, claimed_sender};
use quorate_sim::{
    Report, Tampering, Timed, UNIT, Verdict, World,
    properties::{Channel, authenticated_links},
};

const N: usize = 3;

fn world(seed: u64, loss: f64) -> World {
    let adversary = Timed::uniform(UNIT / 2, UNIT * 6)
        .loss(loss)
        .duplication(loss / 2.0);
    let world = World::new(N, seed, adversary).unwrap();
    world
        .maximum_time(Time::from_nanos(3_600_000_000_000))
        .settle(Duration::from_mins(2))
}

/// Perfect links over the layer, or over the edge alone.
fn links(world: &World, rules: Option<Rules>) -> Vec<Addr<SendRequest<Bytes>>> {
    world.check(authenticated_links(&Channel::Module("link".to_owned())));
    let wire = |me: ProcessId| {
        let host = world.host(me);
        let plain = LinkSettings {
            admission: AdmissionRule::CrashStop,
            ..LinkSettings::default()
        };
        let links = PerfectLinks::new(&host, plain);
        let up = world.application::<()>(me).with(|_: Deliver<Bytes>| ());
        let lane = links.at("messages").open(up);
        let edge = |up| world.fair_loss(me, up);
        let below = match rules {
            None => Layer::<fair_loss::Port>::attach(edge, links.arrivals()),
            Some(rules) => {
                // A session that forged counters have closed would otherwise be replaced after a while.
                let limits = Limits {
                    silence: Duration::from_hours(1000),
                    ..Limits::default()
                };
                let usual = settings(me.rank(), N);
                let settings = Settings {
                    rules,
                    limits,
                    claims: claimed_sender,
                    ..usual
                };
                spawn(&host.at("sealed"), settings, over(edge), links.arrivals()).0
            }
        };
        links.start(below).unwrap();
        lane
    };
    world.processes().map(wire).collect()
}

fn run(seed: u64, each: f64, rules: Option<Rules>) -> Report {
    let mut world = world(seed, 0.1);
    let lanes = links(&world, rules);
    let (begin, end) = (Time::ZERO, Time::from_nanos(20_000_000_000));
    world.tamper(Tampering {
        begin,
        end,
        each,
        seed,
    });
    for me in world.processes() {
        for number in 0..20_u64 {
            let at = Time::from_nanos(number * 100_000_000);
            let to = To::One(p(1 + (me.rank() + number as usize) % N));
            let message = Bytes::from(format!("{me} {number}"));
            world.request(me, at, &lanes[me.index()], SendRequest { to, message });
        }
    }
    world.run()
}

fn violations(report: &Report) -> Vec<&str> {
    let verdicts = report.verdicts.iter();
    let violated = verdicts.filter(|(_, verdict)| matches!(verdict, Verdict::Violated(_)));
    violated.map(|(tag, _)| tag.as_str()).collect()
}

#[test]
fn al1_al2_al3_hold_whatever_is_done_to_datagrams() {
    for seed in 0..20 {
        let report = run(seed, 0.7, Some(Rules::default()));
        assert!(report.completion.complete, "seed {seed}");
        assert!(
            report
                .verdicts
                .iter()
                .all(|(_, verdict)| *verdict == Verdict::Holds),
            "seed {seed}"
        );
    }
}

#[test]
fn al1_is_violated_if_the_window_moves_before_the_tag() {
    let found = (0..20).any(|seed| {
        let report = run(seed, 0.7, Some(Rules::of(Mutant::WindowBeforeTag)));
        violations(&report).contains(&"AL1")
    });
    assert!(found);
}

#[test]
fn the_same_seed_gives_the_same_run_and_tampering_shows_in_it() {
    let hash = |seed, each| run(seed, each, Some(Rules::default())).hash;
    assert_eq!(hash(1, 0.5), hash(1, 0.5));
    assert_ne!(hash(1, 0.5), hash(2, 0.5));
    assert_ne!(hash(1, 0.5), hash(1, 0.0));
}
