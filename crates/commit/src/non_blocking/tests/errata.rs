//! Rules as they were published. Each has an execution in which it breaks a property and the corrected rule
//! does not.
use super::*;
use crate::non_blocking::mutant::{Rule, Ruled};
use crate::testing::{Latencies, after};
use quorate_abstractions::{Subscribe, eventually_perfect::Indication, link, link::To};
use quorate_consensus::hierarchy::Imposed;
use quorate_core::{
    Addr, Layer,
    watermark::Watermark,
    wire::{self, Wire},
};
use quorate_sim::Oracle;

/// Consensus by decree: p1's proposal is decided, and everybody decides the first one that arrives. It is
/// correct while p1 does not crash, and nobody proposes twice.
struct ByDecree(Watermark);

#[derive(Debug)]
enum DecreeEvent {
    Propose(consensus::Propose),
    Link(link::Deliver<Imposed>),
}

#[derive(Debug)]
enum DecreeEffect {
    Link(link::SendRequest<Imposed>),
    Decide(consensus::Decide),
}

impl Observe for DecreeEvent {
    fn observe(&self) -> Observation {
        match self {
            DecreeEvent::Propose(request) => request.observe(),
            DecreeEvent::Link(indication) => indication.observe(),
        }
    }
}

impl Observe for DecreeEffect {
    fn observe(&self) -> Observation {
        match self {
            DecreeEffect::Link(request) => request.observe(),
            DecreeEffect::Decide(indication) => indication.observe(),
        }
    }
}

impl Algorithm for ByDecree {
    type Event = DecreeEvent;
    type Effect = DecreeEffect;

    fn upon(&mut self, event: DecreeEvent, ctx: &mut Ctx<Self>) {
        match event {
            DecreeEvent::Propose(consensus::Propose { instance, value }) => {
                let (to, message) = (To::All, Imposed { instance, value });
                ctx.trigger(DecreeEffect::Link(link::SendRequest { to, message }));
            }
            DecreeEvent::Link(link::Deliver { from, message }) => {
                let Imposed { instance, value } = message;
                if from == p(1) && self.0.insert(instance) {
                    let decide = consensus::Decide { instance, value };
                    ctx.trigger(DecreeEffect::Decide(decide));
                }
            }
        }
    }
}

/// All of three processes vote yes; p3 crashes after its vote has arrived. Of p1's messages to p2, the
/// second, the proposal that all commit, takes longer than any that may follow.
fn proposal_overtaken(rule: Rule) -> Report {
    let adversary = Latencies::default().way(1, 2, &[1, 9, 1]);
    let mut world = World::new(3, 1, adversary).unwrap();
    world.check(properties::atomic_commit(world.membership(), "commit"));
    let wire = |q| {
        let (host, links) = (world.host(q).at("commit"), world.links(q).at("commit"));
        let consensus = |up: Addr<consensus::Decide>| {
            let (host, lane) = (host.at("decree"), links.at("decree").lane());
            let mailbox = host.mailbox();
            let port = mailbox.addr().with(DecreeEvent::Propose);
            let below = lane.attach(mailbox.addr().with(DecreeEvent::Link));
            let decree = ByDecree(Watermark::default());
            host.start(mailbox, decree, move |effect| match effect {
                DecreeEffect::Link(request) => below.send(request),
                DecreeEffect::Decide(indication) => up.send(indication),
            });
            port
        };
        let (votes, up) = (links.lane(), world.application(q));
        let (algorithm, detector) = (
            Ruled::by(rule, NonBlocking::new(&host)),
            world.perfect(q, UNIT),
        );
        spawn_as(
            &host,
            algorithm,
            votes,
            &links.status(),
            consensus,
            &detector,
            up,
        )
    };
    let ports: Vec<_> = world.processes().map(wire).collect();
    vote(&world, &ports, &[Vote::Yes; 3]);
    world.crash(p(3), Crash::at(after(1)));
    world.run()
}

#[test]
fn d5_e1_a_rule_that_fires_again_proposes_both_outcomes() {
    let report = proposal_overtaken(Rule::ProposesAgain);
    assert_eq!(report.violation().unwrap().tag, "NBAC1");
    proposal_overtaken(Rule::Corrected).assert_all_hold();
}

#[test]
fn d5_e2_a_vote_is_yes_or_no() {
    let message = |vote| wire::encode(&Voted { instance: 1, vote });
    let (yes, no) = (message(Vote::Yes), message(Vote::No));
    assert_eq!((&yes[..], &no[..]), (&[1, 0][..], &[1, 1][..]));
    assert!(Voted::decode(yes).is_ok() && Voted::decode(no).is_ok());
    for other in 2..=255 {
        assert!(Voted::decode(Bytes::from(vec![1, other])).is_err());
    }
}

/// p1 votes yes, then no; p2 votes yes, later.
fn conflicting_votes(rule: Rule) -> Report {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, reported_after(1), |host: &SimHost| {
        Ruled::by(rule, NonBlocking::new(host))
    });
    let votes = [(1, 0, Vote::Yes), (1, 2, Vote::No), (2, 5, Vote::Yes)];
    for (rank, steps, vote) in votes {
        let instance = 1;
        let time = Time::ZERO + UNIT * steps;
        world.request(p(rank), time, &ports[rank - 1], Propose { instance, vote });
    }
    world.run()
}

#[test]
fn d5_e3_counting_the_last_vote_aborts_without_a_reason() {
    let report = conflicting_votes(Rule::LastVoteCounts);
    assert_eq!(report.violation().unwrap().tag, "NBAC4");
    conflicting_votes(Rule::Corrected).assert_all_hold();
}

#[test]
fn d5_e3_of_conflicting_votes_that_arrive_the_first_counts() {
    for (first, second, outcome) in [
        (Vote::Yes, Vote::No, Outcome::Commit),
        (Vote::No, Vote::Yes, Outcome::Abort),
    ] {
        let mut upon = alone();
        assert!(upon(voted(2, 1, first)).is_empty());
        assert!(upon(voted(2, 1, second)).is_empty());
        assert!(upon(voted(1, 1, Vote::Yes)).is_empty());
        let effects = upon(voted(3, 1, Vote::Yes));
        assert_eq!(proposed(&effects), Some(outcome), "{effects:?}");
        assert!(upon(Event::Crash(perfect::Crash(p(3)))).is_empty(), "once");
    }
}

/// p2 crashes at the start; p1 votes long after the report of that crash.
fn vote_after_report(rule: Rule) -> Report {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, reported_after(1), |host: &SimHost| {
        Ruled::by(rule, NonBlocking::new(host))
    });
    let (instance, vote) = (1, Vote::Yes);
    world.request(p(1), after(4), &ports[0], Propose { instance, vote });
    world.crash(p(2), Crash::at(Time::ZERO));
    world.run()
}

#[test]
fn d5_e4_a_crash_that_is_forgotten_blocks_the_instances_that_begin_later() {
    let report = vote_after_report(Rule::CrashesAreForgotten);
    assert_eq!(report.violation().unwrap().tag, "NBAC2");
    vote_after_report(Rule::Corrected).assert_all_hold();
}

#[test]
fn d5_e6_a_detector_that_errs_aborts_without_a_reason() {
    // The types forbid it; the test forges reports out of suspicions. All vote yes, and p2 suspects p1, whose
    // messages to it are slow.
    let oracle = Oracle::accurate(UNIT).suspecting(p(2), p(1), Time::ZERO, after(9));
    let erring = |world: &World, q: ProcessId| {
        let detector = world.eventually_perfect(q, &oracle);
        detector.with(|up: Addr<perfect::Crash>| {
            Addr::new(move |indication| match indication {
                Indication::Suspect(q) => up.send(perfect::Crash(q)),
                Indication::Restore(_) => {}
            })
        })
    };
    let run = |detect: &dyn Fn(&World, ProcessId) -> Subscribe<perfect::Crash>| {
        let adversary = Latencies::default().way(1, 2, &[3, 3]);
        let mut world = World::new(3, 1, adversary).unwrap();
        let ports = wire(&world, detect, NonBlocking::new);
        vote(&world, &ports, &[Vote::Yes; 3]);
        world.run()
    };
    let report = run(&erring);
    assert_eq!(report.violation().unwrap().tag, "NBAC4");
    run(&reported_after(1)).assert_all_hold();
}
