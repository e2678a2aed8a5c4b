//! Every consensus and atomic commit by its name, over real sockets.
use super::{
    node::{Kind, builders, within},
    p,
    replicated::{Bank, bind, deposit, free, kill},
};
use crate::{
    Builder, Crashes, Error, Node, ProposeError, Proposer, StartError, Voter,
    faults::{Direction, Fault},
};
use futures::StreamExt;
use quorate_abstractions::{
    atomic_commit::{Outcome, Vote},
    perfect::Crash,
};
use quorate_detectors::exclude_on_timeout;
use quorate_stacks::{
    agreements::{Commit, Consensus},
    broadcasts::Needs,
};
use std::time::Duration;

const INSTANCES: u64 = 20;

/// Bounds with this timeout, which hold on a loaded machine, too.
fn bounds(delay: Duration) -> exclude_on_timeout::SynchronyBounds {
    exclude_on_timeout::SynchronyBounds::new(Duration::from_millis(100), delay).unwrap()
}

#[tokio::test]
async fn every_consensus_decides_one_of_the_proposed_values_everywhere() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, mut proposers, mut bits) = (Vec::new(), Vec::new(), Vec::new());
        for builder in builders(kind, 3) {
            let mut builder = builder.assume_synchronous(bounds(Duration::from_mins(1)));
            let mut mine = Vec::new();
            for consensus in Consensus::all() {
                let name = consensus.name();
                if consensus.is_binary() {
                    bits.push(builder.consensus::<bool>(name, consensus).unwrap());
                } else {
                    mine.push(builder.consensus::<String>(name, consensus).unwrap());
                }
            }
            nodes.push(builder.start().await.unwrap());
            proposers.push(mine);
        }
        for instance in 1..=INSTANCES {
            let valued = Consensus::all().filter(|consensus| !consensus.is_binary());
            for (index, consensus) in valued.enumerate() {
                let [a, b, c] = [0, 1, 2].map(|i| proposers[i][index].clone());
                let values = ["one", "two", "three"].map(String::from);
                let (a, b, c) = within(futures::future::join3(
                    a.propose(instance, &values[0]),
                    b.propose(instance, &values[1]),
                    c.propose(instance, &values[2]),
                ))
                .await;
                let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
                let agreed = a == b && b == c && values.contains(&a);
                assert!(agreed, "{consensus}: {a} {b} {c}");
                let again = within(proposers[0][index].propose(instance, &"four".to_owned())).await;
                assert_eq!(again.unwrap(), a, "it is remembered");
            }
            let (a, b, c) = within(futures::future::join3(
                bits[0].propose(instance, &true),
                bits[1].propose(instance, &(instance % 2 == 0)),
                bits[2].propose(instance, &true),
            ))
            .await;
            let a = a.unwrap();
            assert!(a == b.unwrap() && a == c.unwrap() && (a || instance % 2 == 1));
        }
        for node in nodes {
            within(node.shutdown()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn every_commit_commits_what_all_want_and_aborts_the_rest() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, mut voters) = (Vec::new(), Vec::new());
        for builder in builders(kind, 3) {
            let mut builder = builder.assume_synchronous(bounds(Duration::from_mins(1)));
            let declare = |commit: Commit| builder.commit(commit.name(), commit).unwrap();
            voters.push(Commit::all().map(declare).collect::<Vec<_>>());
            nodes.push(builder.start().await.unwrap());
        }
        for instance in 1..=INSTANCES {
            for (index, commit) in Commit::all().enumerate() {
                // In turn, one process votes no; in every fourth instance none does.
                let vote = |rank| {
                    if instance % 4 == rank {
                        Vote::No
                    } else {
                        Vote::Yes
                    }
                };
                let (a, b, c) = within(futures::future::join3(
                    voters[0][index].vote(instance, vote(1)),
                    voters[1][index].vote(instance, vote(2)),
                    voters[2][index].vote(instance, vote(3)),
                ))
                .await;
                let expected = match instance % 4 {
                    0 => Outcome::Commit,
                    _ => Outcome::Abort,
                };
                for outcome in [a, b, c] {
                    assert_eq!(outcome.unwrap(), expected, "{commit}, {instance}");
                }
                let asked = within(voters[1][index].outcome(instance)).await;
                assert_eq!(asked.unwrap(), expected);
            }
        }
        for node in nodes {
            within(node.shutdown()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_needs_synchrony_or_does_not_exist_is_refused() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    for consensus in Consensus::all() {
        let name = consensus.name();
        let refused = matches!(
            builder.consensus::<u64>(name, consensus),
            Err(StartError::NeedsPerfect(_))
        );
        assert_eq!(refused, consensus.needs() == Needs::Perfect, "{name}");
    }
    for commit in Commit::all() {
        let name = commit.name();
        let refused = matches!(
            builder.commit(name, commit),
            Err(StartError::NeedsPerfect(_))
        );
        assert_eq!(refused, commit.needs() == Needs::Perfect, "{name}");
    }
    let unknown = "raffle".parse::<Consensus>().map_err(StartError::from);
    assert!(matches!(unknown, Err(StartError::UnknownAgreement(_))));
    let unknown = "three-phase".parse::<Commit>().map_err(StartError::from);
    assert!(matches!(unknown, Err(StartError::UnknownAgreement(_))));
    let twice = builder.commit("two-phase", Commit::TwoPhase);
    assert!(matches!(twice, Err(StartError::UsedTwice(_))));
}

#[tokio::test]
async fn a_caller_is_told_what_it_did_wrong_and_nobody_waits_for_a_stopped_node() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    let lots = builder
        .consensus::<u64>("lots", Consensus::LeaderDriven)
        .unwrap();
    let bits = builder
        .consensus::<u8>("bits", Consensus::Randomised)
        .unwrap();
    let deals = builder.commit("deals", Commit::TwoPhase).unwrap();
    assert!(matches!(
        lots.propose(1, &5).await,
        Err(ProposeError::Failed(Error::NotStarted))
    ));
    let node = builder.maximum_message(2048).start().await.unwrap();
    assert!(matches!(
        bits.propose(1, &2).await,
        Err(ProposeError::NotABit)
    ));
    // The other nodes are not running: nothing is decided.
    let waits = tokio::spawn({
        let lots = lots.clone();
        async move { lots.propose(1, &5).await }
    });
    let votes = tokio::spawn({
        let deals = deals.clone();
        async move { deals.vote(1, Vote::Yes).await }
    });
    let second = async {
        loop {
            match tokio::time::timeout(Duration::from_millis(20), lots.propose(1, &6)).await {
                Ok(Err(error @ ProposeError::RequestedTwice { .. })) => break error,
                Ok(other) => panic!("{other:?}"),
                // It came first. Then the other call is refused.
                Err(_) => {}
            }
        }
    };
    within(second).await;
    within(node.shutdown()).await.unwrap();
    let ended = within(waits).await.unwrap();
    assert!(
        matches!(
            ended,
            Err(ProposeError::Failed(Error::OutcomeUnknown | Error::Stopped)
                | ProposeError::RequestedTwice { .. })
        ),
        "{ended:?}"
    );
    let ended = within(votes).await.unwrap();
    assert!(
        matches!(ended, Err(ProposeError::Failed(Error::OutcomeUnknown))),
        "{ended:?}"
    );
    assert!(matches!(
        lots.propose(2, &5).await,
        Err(ProposeError::Failed(Error::Stopped))
    ));
    assert!(matches!(
        deals.outcome(1).await,
        Err(ProposeError::Failed(Error::Stopped))
    ));
}

/// Nobody hears p1 for longer than the bounds allow, while p1 hears the others.
#[tokio::test]
async fn a_process_that_is_reported_as_crashed_and_lives_learns_of_it_and_stops() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, mut voters): (Vec<Node>, Vec<_>) = (Vec::new(), Vec::new());
        for builder in builders(kind, 3) {
            let mut builder = builder.assume_synchronous(bounds(Duration::from_secs(2)));
            voters.push(builder.commit("deals", Commit::NonBlocking).unwrap());
            nodes.push(builder.start().await.unwrap());
        }
        let all = voters.iter().map(|voter| voter.vote(1, Vote::Yes));
        for outcome in within(futures::future::join_all(all)).await {
            assert_eq!(outcome.unwrap(), Outcome::Commit);
        }
        for rank in [2, 3] {
            let faults = nodes[0].faults();
            faults.set(p(rank), Direction::Outgoing, Fault::cut());
        }
        let all = voters.iter().map(|voter| voter.vote(2, Vote::Yes));
        let mut outcomes = within(futures::future::join_all(all)).await;
        for outcome in outcomes.split_off(1) {
            assert_eq!(outcome.unwrap(), Outcome::Abort, "{kind:?}");
        }
        // p1 may hear of the decision before it hears of its exclusion.
        let first = outcomes.remove(0);
        let is_right = |outcome: &Result<_, ProposeError>| {
            matches!(
                outcome,
                Ok(Outcome::Abort) | Err(ProposeError::Failed(Error::OutcomeUnknown))
            )
        };
        assert!(is_right(&first), "{kind:?}: {first:?}");
        let refused = within(voters[0].vote(3, Vote::Yes)).await;
        assert!(matches!(
            refused,
            Err(ProposeError::Failed(Error::ReportedCrashed { .. }))
        ));
        within(nodes[0].ended()).await;
        let first = nodes.remove(0);
        let why = within(first.shutdown()).await;
        assert!(matches!(why, Err(Error::ReportedCrashed { .. })), "{why:?}");
        // The others go on.
        let all = voters[1..].iter().map(|voter| voter.vote(3, Vote::Yes));
        for outcome in within(futures::future::join_all(all)).await {
            assert_eq!(outcome.unwrap(), Outcome::Abort);
        }
        for node in nodes {
            within(node.shutdown()).await.unwrap();
        }
    }
}

/// Handles of modules that stand on P: they wait for a killed process until P reports it.
struct Agreeing {
    node: Node,
    voter: Voter,
    proposer: Proposer<u64>,
}

async fn agreeing(builder: Builder) -> Agreeing {
    // The timeout is never reached: if a process is reported, it is for another reason.
    let mut builder = builder.assume_synchronous(bounds(Duration::from_hours(1)));
    let voter = builder.commit("deals", Commit::NonBlocking).unwrap();
    let proposer = builder.consensus("choice", Consensus::UniformHierarchical);
    Agreeing {
        voter,
        proposer: proposer.unwrap(),
        node: within(builder.start()).await.unwrap(),
    }
}

/// p1 is killed and started again at its address at once.
#[tokio::test]
async fn a_second_start_within_the_timeout_is_the_crash_of_the_first() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let peers = free(kind);
        let mut all = Vec::new();
        for rank in 1..=3 {
            all.push(agreeing(bind(kind, rank, &peers)).await);
        }
        let votes = all.iter().map(|one| one.voter.vote(1, Vote::Yes));
        for outcome in within(futures::future::join_all(votes)).await {
            assert_eq!(outcome.unwrap(), Outcome::Commit);
        }
        kill(all.remove(0).node).await;
        let again = agreeing(bind(kind, 1, &peers)).await;
        let votes = all.iter().map(|one| one.voter.vote(2, Vote::Yes));
        for outcome in within(futures::future::join_all(votes)).await {
            assert_eq!(outcome.unwrap(), Outcome::Abort, "{kind:?}");
        }
        let proposals = all.iter().zip(&[2, 3]);
        let proposals = proposals.map(|(one, value)| one.proposer.propose(2, value));
        for decision in within(futures::future::join_all(proposals)).await {
            assert_eq!(decision.unwrap(), 2, "{kind:?}");
        }
        for one in &all {
            let mut crashes = one.node.crashes().unwrap();
            assert_eq!(within(crashes.next()).await, Some(Crash(p(1))));
        }
        let refused = within(again.voter.vote(2, Vote::Yes)).await;
        assert!(
            matches!(refused, Err(ProposeError::Failed(Error::Excluded { .. }))),
            "{refused:?}"
        );
        for one in all {
            within(one.node.shutdown()).await.unwrap();
        }
    }
}

/// The same beside a machine, where the process gets back its seat in the order.
#[tokio::test(flavor = "multi_thread")]
async fn who_rejoins_the_order_stays_out_of_what_stands_on_p_and_is_told_of_no_report() {
    let peers = free(Kind::Udp);
    let start = |rank| {
        let mut builder = bind(Kind::Udp, rank, &peers);
        let bank = builder.replicated("bank", Bank::default()).unwrap();
        async move { (agreeing(builder).await, bank) }
    };
    let mut all = Vec::new();
    for rank in 1..=3 {
        all.push(start(rank).await);
    }
    assert_eq!(deposit(&all[0].1, "ann", 1).await, 1);
    kill(all.remove(0).0.node).await;
    let (again, bank) = start(1).await;
    let votes = all.iter().map(|(one, _)| one.voter.vote(1, Vote::Yes));
    for outcome in within(futures::future::join_all(votes)).await {
        assert_eq!(outcome.unwrap(), Outcome::Abort);
    }
    assert_eq!(deposit(&bank, "ann", 2).await, 3);
    let refused = within(again.voter.vote(2, Vote::Yes)).await;
    assert!(
        matches!(refused, Err(ProposeError::Failed(Error::StartedAgain))),
        "{refused:?}"
    );
    // A notice, if there is one, comes after the events that the process has waited for.
    for (_, bank) in &all {
        deposit(bank, "bob", 1).await;
    }
    assert_eq!(deposit(&bank, "bob", 1).await, 3);
    assert!(again.node.status().borrow().crashed.is_empty());
    within(again.node.shutdown()).await.unwrap();
}

/// Three members of a commit in two phases, and of P as it follows from commit.
async fn in_two_phases(kind: Kind) -> (Vec<Node>, Vec<Voter>, Vec<Crashes>) {
    let (mut nodes, mut voters, mut derived) = (Vec::new(), Vec::new(), Vec::new());
    for builder in builders(kind, 3) {
        let mut builder = builder.assume_synchronous(bounds(Duration::from_secs(2)));
        voters.push(builder.commit("deals", Commit::TwoPhase).unwrap());
        derived.push(builder.crashes_from_commit("derived").unwrap());
        nodes.push(builder.start().await.unwrap());
    }
    let all = voters.iter().map(|voter| voter.vote(1, Vote::Yes));
    for outcome in within(futures::future::join_all(all)).await {
        assert_eq!(outcome.unwrap(), Outcome::Commit);
    }
    (nodes, voters, derived)
}

#[tokio::test]
async fn in_two_phases_who_dies_before_its_vote_leads_to_abort_and_p_can_be_derived() {
    let mut builder = builders(Kind::Udp, 3).remove(0);
    let refused = builder.crashes_from_commit("derived");
    assert!(matches!(refused, Err(StartError::NeedsPerfect(_))));
    for kind in [Kind::Udp, Kind::Tcp] {
        let (mut nodes, voters, mut derived) = in_two_phases(kind).await;
        // p3 dies, and p1, which coordinates, learns of it.
        kill(nodes.remove(2)).await;
        let votes = voters[..2].iter().map(|voter| voter.vote(2, Vote::Yes));
        for outcome in within(futures::future::join_all(votes)).await {
            assert_eq!(outcome.unwrap(), Outcome::Abort, "{kind:?}");
        }
        for crashes in &mut derived[..2] {
            assert_eq!(within(crashes.next()).await, Some(Crash(p(3))));
        }
        // Then p1 dies, and p2, which has not been asked for its vote, need not wait for it.
        kill(nodes.remove(0)).await;
        let outcome = within(voters[1].vote(3, Vote::Yes)).await;
        assert_eq!(outcome.unwrap(), Outcome::Abort, "{kind:?}");
        assert_eq!(within(derived[1].next()).await, Some(Crash(p(1))));
        within(nodes.remove(0).shutdown()).await.unwrap();
    }
}
