//! Schedules: writing, reading, following, random walks, shrinking.
#![allow(clippy::unwrap_used, reason = "these are tests")]
mod support;
use quorate_abstractions::{eventually_perfect, perfect};
use quorate_core::{Addr, Algorithm, Ctx, Host, Observation, Observe, Time};
use quorate_sim::{
    Exhaustive, Oracle, Script, Timed, UNIT, Walk, World, golden, properties,
    schedule::{Act, Passage, Step, Unplayable, script::Line, shrink},
};
use std::{collections::BTreeSet, time::Duration};
use support::{everywhere, p, payload};

/// A world of `n` in which each of the first `requests` processes broadcasts once.
fn broadcasts(n: usize, quorum: usize, requests: usize) -> World {
    let world = World::new(n, 1, Timed::lock_step()).unwrap();
    let urb = everywhere(&world, quorum);
    world.check(properties::uniform(world.membership(), "urb"));
    for rank in 1..=requests {
        world.request(p(rank), Time::ZERO, &urb[rank - 1], payload("m"));
    }
    world
}

fn script(text: &str) -> Script {
    text.parse().unwrap()
}

fn steps(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.step.to_string()).collect()
}

/// A step of every kind, with every suffix that it may have.
fn every_step() -> Vec<Step> {
    let (from, to) = (p(1), p(12));
    let copy = Passage {
        from,
        to,
        number: 3,
    };
    let reactions = [
        Act::Request(from),
        Act::Report { of: from, to },
        Act::Suspect { of: from, by: to },
        Act::Restore { of: from, by: to },
        Act::Deliver(copy),
        Act::Fire(to, 4),
        Act::End { from, to },
        Act::Gap { from, to },
        Act::Begin { from, to },
    ];
    let others = [
        Act::Advance,
        Act::Crash(to),
        Act::Lose(copy),
        Act::Omit { copy, by: from },
        Act::Omit { copy, by: to },
    ];
    let plain = reactions.iter().chain(&others).map(|act| Step::from(*act));
    let inside = reactions
        .iter()
        .map(|act| Step::from(*act).crashing_before(2));
    plain.chain(inside).collect()
}

#[test]
fn what_is_written_is_read_again() {
    for step in every_step() {
        assert_eq!(step.to_string().parse(), Ok(step));
    }
    for ends in 0..8_u8 {
        let mut script = Script::of(every_step());
        script.lines[0].note = "of #1, and # more".to_owned();
        script.heading = ["A heading", "", "of p1>p2 #1"].map(str::to_owned).into();
        script.processes = (ends & 1 > 0).then_some(12);
        script.stop = ends & 2 > 0;
        script.no_more_requests = ends & 4 > 0;
        let text = "expect all hold\nexpect A1 holds\nexpect A2 violated\nexpect A3 unknown";
        script.expectations = text.parse::<Script>().unwrap().expectations;
        assert_eq!(script.to_string().parse(), Ok(script));
    }
}

#[test]
fn what_is_no_script_is_refused_with_its_line_and_what_could_stand_there() {
    let cases = [
        (
            "\n# hello\ndeliver p1>p2",
            "line 3: expected `deliver p1>p2 #1`, found `deliver p1>p2`",
        ),
        (
            "deliver p1-p2 #1",
            "line 1: expected a sender and a receiver, such as `p1>p2`, found `p1-p2`",
        ),
        (
            "deliver p1>q2 #1",
            "line 1: expected a process, such as `p1`, found `q2`",
        ),
        (
            "request p0",
            "line 1: expected a process, such as `p1`, found `p0`",
        ),
        (
            "lose p1>p2 #0",
            "line 1: expected a number, such as `#1`, found `#0`",
        ),
        (
            "omit p1>p2 #1",
            "line 1: expected `omit p1>p2 #1 by p1`, found `omit p1>p2 #1`",
        ),
        (
            "omit p1>p2 #1 by p3",
            "line 1: expected the sender or the receiver of the copy, found `p3`",
        ),
        (
            "fire p1 2",
            "line 1: expected a number, such as `#1`, found `2`",
        ),
        (
            "processes many",
            "line 1: expected a number of processes, found `many`",
        ),
        (
            "advance crashing before output 2",
            "line 1: expected a step in which a process reacts, found `advance`",
        ),
        (
            "request p1 crashing before output x",
            "line 1: expected a number of an output, found `x`",
        ),
        (
            "expect URB4",
            "line 1: expected `all hold`, or a tag and `holds`, `violated` or `unknown`, found `URB4`",
        ),
        (
            "stop\nrequest p1",
            "line 2: expected no step after the last one, found `request p1`",
        ),
        (
            "end p1 p2",
            "line 1: expected `end p1>p2`, found `end p1 p2`",
        ),
        (
            "crash p1 now",
            "line 1: expected `crash p1`, or a step and `crashing before output 2`, found `crash p1 now`",
        ),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Script>().unwrap_err().to_string(), error);
    }
    let error = "dance".parse::<Script>().unwrap_err().to_string();
    assert!(
        error.starts_with("line 1: expected `processes`, `request`, "),
        "{error}"
    );
}

#[test]
fn every_execution_that_a_search_finds_is_replayed_by_its_script() {
    for quorum in [1, 2] {
        let mut executions = 0;
        let all = Exhaustive::new()
            .crashes(1)
            .search(|| broadcasts(2, quorum, 2), &mut |end| {
                let text = Script::of(end.schedule.iter().copied()).to_string();
                let run = script(&text).run(broadcasts(2, quorum, 2)).unwrap();
                assert_eq!(
                    (run.report.hash, &run.report),
                    (end.report.hash, end.report)
                );
                executions += 1;
                true
            });
        assert!(all.complete && executions == all.executions && executions > 50);
    }
}

#[test]
fn every_random_walk_is_replayed_by_its_script() {
    let mut different = BTreeSet::new();
    for seed in 0..200 {
        let build = || broadcasts(4, 3, 3);
        let walk = Walk::new(seed).crashes(1).run(build());
        walk.report.assert_all_hold();
        let run = script(&walk.taken.to_string()).run(build()).unwrap();
        assert_eq!(run.report, walk.report, "seed {seed}");
        different.insert(walk.report.hash);
    }
    assert!(different.len() > 190, "{}", different.len());
}

#[test]
fn a_violation_shrinks_to_its_essence_and_is_kept() {
    let build = || broadcasts(4, 1, 4);
    let walk = Walk::new(0).crashes(1);
    let short = walk.hunt(1_000, build).unwrap();
    assert_eq!(walk.hunt(1_000, build).as_ref(), Some(&short));
    let long = Walk::new(19).crashes(1).run(build());
    assert!(
        long.violates("URB4") && long.taken.lines.len() > 20,
        "{}",
        long.taken
    );
    assert_eq!(short.lines.len(), 5, "{short}");
    let run = short.run(build()).unwrap();
    short.judge(&run.report).unwrap();
    let page = golden::page(&short, build()).unwrap();
    golden::check("testdata/one_acknowledgement.txt", &page);
    golden::play("testdata/one_acknowledgement.txt", build());
}

#[test]
fn what_breaks_nothing_is_not_shrunk() {
    Walk::new(0)
        .crashes(1)
        .assert_none_breaks(100, || broadcasts(3, 2, 3));
    let run = Walk::new(1).run(broadcasts(3, 2, 3));
    assert_eq!(shrink(&run.taken, "URB4", || broadcasts(3, 2, 3)), None);
}

#[test]
fn a_crash_inside_a_step_that_need_not_be_there_becomes_a_simpler_one() {
    let build = || {
        let world = World::new(3, 1, Timed::lock_step()).unwrap();
        let urb = everywhere(&world, 1);
        world.check(properties::uniform(world.membership(), "urb"));
        for _ in 0..2 {
            world.request(p(1), Time::ZERO, &urb[0], payload("m"));
        }
        world
    };
    let text = "request p1\nrequest p1 crashing before output 3\ndeliver p1>p2 #2\n\
                lose p1>p2 #1\nlose p1>p3 #1\nlose p1>p3 #2";
    let short = shrink(&script(text), "URB4", build).unwrap();
    let expected = ["request p1", "crash p1", "lose p1>p2 #1", "lose p1>p3 #1"];
    assert_eq!(steps(&short.lines), expected);
    // There are only three outputs.
    let refused = script("request p1 crashing before output 4").run(build());
    assert!(matches!(
        refused,
        Err(Unplayable::NoSuchOutput { number: 1, .. })
    ));
}

#[test]
fn a_script_that_the_world_cannot_follow_is_refused_and_leniently_skipped() {
    let text = "processes 3\nrequest p1\ndeliver p2>p3 #1\nrequest p1\ndeliver p1>p3 #1\nstop";
    let refused = script(text).run(broadcasts(3, 2, 1)).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "step 2, `deliver p2>p3 #1`, is not enabled; enabled are: \
         deliver p1>p2 #1, deliver p1>p3 #1"
    );
    let run = script(text).run_leniently(broadcasts(3, 2, 1));
    assert_eq!(steps(run.named_steps()), ["request p1", "deliver p1>p3 #1"]);
    assert!(!run.report.completion.complete);
    let refused = script(text).run(broadcasts(2, 2, 1)).err().unwrap();
    assert_eq!(
        refused,
        Unplayable::Processes {
            script: 3,
            world: 2
        }
    );
}

#[test]
fn a_run_goes_on_to_its_end_unless_the_script_says_stop() {
    let run = script("request p1").run(broadcasts(3, 2, 2)).unwrap();
    run.report.assert_all_hold();
    assert_eq!((run.named, run.taken.lines.len()), (1, 14));
    let run = script("request p1\nno more requests")
        .run(broadcasts(3, 2, 2))
        .unwrap();
    run.report.assert_all_hold();
    assert_eq!(run.taken.lines.len(), 7);
    let text = "request p1\nstop\nexpect URB1 unknown\nexpect URB2 holds";
    let run = script(text).run(broadcasts(3, 2, 2)).unwrap();
    script(text).judge(&run.report).unwrap();
    let unmet = script("expect all hold").judge(&run.report).unwrap_err();
    assert!(unmet.to_string().contains("URB1: unknown"), "{unmet}");
}

#[test]
fn oracles_report_when_the_script_says_so() {
    let build = || {
        let world = World::new(3, 1, Timed::lock_step()).unwrap();
        let lies = Oracle::accurate(UNIT).suspecting(p(2), p(3), Time::ZERO, Time::ZERO + UNIT);
        for q in world.processes() {
            world
                .perfect(q, Duration::ZERO)
                .send(world.application::<perfect::Crash>(q));
            let up = world.application::<eventually_perfect::Indication>(q);
            world.eventually_perfect(q, &lies).send(up);
        }
        world
    };
    let told = |text: &str| {
        let run = script(text).run(build()).unwrap();
        let tally = |rank, label| {
            let module = if label == "Crash" {
                "perfect"
            } else {
                "eventually-perfect"
            };
            run.world
                .tally(p(rank), module, label)
                .map_or(0, |tally| tally.count)
        };
        (
            tally(2, "Crash"),
            tally(3, "Crash"),
            tally(2, "Suspect"),
            tally(2, "Restore"),
        )
    };
    assert_eq!(told("stop"), (0, 0, 0, 0));
    assert_eq!(told("crash p1\nreport p1 to p3\nstop"), (0, 1, 0, 0));
    assert_eq!(told("suspect p3 by p2\nstop"), (0, 0, 1, 0));
    assert_eq!(
        told("suspect p3 by p2\nrestore p3 by p2\nstop"),
        (0, 0, 1, 1)
    );
    assert_eq!(told("crash p1"), (1, 1, 2, 1));
    assert!(script("restore p3 by p2").run(build()).is_err());
    assert!(script("report p1 to p2").run(build()).is_err());
}

/// Gives an indication after one unit, and another after two.
struct Clock;

struct Tick(u64);

impl Observe for Tick {
    fn observe(&self) -> Observation {
        Observation::indication("Tick").instance(self.0)
    }
}

impl Algorithm for Clock {
    type Event = Tick;
    type Effect = Tick;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        ctx.after(UNIT, Tick(1));
        ctx.after(UNIT, Tick(2));
    }

    fn upon(&mut self, tick: Tick, ctx: &mut Ctx<Self>) {
        ctx.trigger(tick);
    }
}

fn clocks() -> World {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    for q in world.processes() {
        let host = world.host(q).at("clock");
        let (mailbox, up) = (host.mailbox(), world.application::<Tick>(q));
        host.start(mailbox, Clock, move |tick| up.send(tick));
    }
    world
}

#[test]
fn timers_fire_in_any_order_once_time_has_moved_on() {
    assert!(script("fire p1 #1").run(clocks()).is_err());
    let run = script("advance\nfire p1 #2\nfire p2 #1")
        .run(clocks())
        .unwrap();
    assert!(run.report.completion.complete);
    assert_eq!(run.world.now(), Time::ZERO + UNIT);
    // The two timers of each process fire in either order.
    let all = Exhaustive::new().explore(clocks);
    assert!(all.complete && all.executions == 4, "{all}");
}

#[test]
fn an_address_that_leads_nowhere_is_no_output() {
    let world = World::new(2, 1, Timed::lock_step()).unwrap();
    let nowhere = Addr::<Tick>::nowhere();
    world.request(p(1), Time::ZERO, &nowhere, Tick(1));
    let all = Exhaustive::new()
        .crashes(1)
        .of([p(1)].into_iter().collect());
    let run = script("request p1 crashing before output 2").run(world);
    assert!(matches!(run, Err(Unplayable::NoSuchOutput { .. })));
    let build = || {
        let world = World::new(2, 1, Timed::lock_step()).unwrap();
        world.request(p(1), Time::ZERO, &Addr::<Tick>::nowhere(), Tick(1));
        world
    };
    // With the request; with a crash after it; with a crash before it.
    assert_eq!(all.explore(build).executions, 3);
}
