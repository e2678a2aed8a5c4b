use super::*;
use crate::testing::p;

fn at(rank: usize, n: usize) -> Ballots<u64> {
    Ballots::new(p(rank), Membership::of_size(n).unwrap())
}

fn ballot(round: u64, leader: usize) -> Ballot {
    let leader = p(leader);
    Ballot { round, leader }
}

fn acceptance(instance: u64, ballot: Ballot, value: u64) -> Acceptance<u64> {
    Acceptance {
        instance,
        ballot,
        value,
    }
}

fn accept(instance: u64, ballot: Ballot, value: u64) -> Message<u64> {
    Message::Accept {
        acceptance: acceptance(instance, ballot, value),
        decided: 0,
    }
}

fn promise(ballot: Ballot, decided: u64, accepted: Option<Acceptance<u64>>) -> Message<u64> {
    Message::Promise {
        ballot,
        saying: 1,
        decided,
        part: 0,
        parts: 1,
        accepted,
    }
}

/// The messages that it sends, without the receivers.
fn said(ballots: &mut Ballots<u64>) -> Vec<Message<u64>> {
    let outgoing = ballots.take_outgoing().into_iter();
    outgoing.map(|(_, message)| message).collect()
}

#[test]
fn whoever_has_promised_refuses_lower_ballots_in_every_instance() {
    let mut p3 = at(3, 3);
    let prepare = Message::Prepare {
        ballot: ballot(2, 2),
        from: 1,
    };
    assert_eq!(p3.upon(p(2), prepare), None);
    assert!(matches!(said(&mut p3)[..], [Message::Promise { .. }]));
    for instance in [1, 9] {
        assert_eq!(p3.upon(p(1), accept(instance, ballot(1, 1), 7)), None);
        let promised = ballot(2, 2);
        assert_eq!(said(&mut p3), [Message::Nack { promised }]);
    }
    assert!(p3.take_decisions().is_empty());
}

#[test]
fn a_leader_takes_the_value_of_the_highest_ballot_and_fills_the_gaps() {
    let mut p5 = at(5, 5);
    p5.campaign();
    let own = ballot(2, 5);
    p5.upon(p(5), promise(own, 0, None));
    let old = acceptance(1, ballot(1, 1), 10);
    p5.upon(p(2), promise(own, 0, Some(old)));
    assert_eq!(p5.elected(|_| true), None, "two of five are no majority");
    let of_two = |part, accepted| Message::Promise {
        ballot: own,
        saying: 1,
        decided: 0,
        part,
        parts: 2,
        accepted: Some(accepted),
    };
    for _ in 0..2 {
        p5.upon(p(3), of_two(0, acceptance(1, ballot(1, 4), 20)));
        assert_eq!(p5.elected(|_| true), None, "half a promise is none");
    }
    p5.upon(p(3), of_two(1, acceptance(3, ballot(1, 1), 30)));
    let obliged: Vec<_> = p5.elected(|_| true).unwrap().into_iter().collect();
    assert_eq!(obliged, [(1, 20), (3, 30)]);
    said(&mut p5);
    let obliged = obliged.into_iter().collect();
    p5.lead(&obliged, Some(&0));
    let values: Vec<_> = p5
        .accepted
        .values()
        .map(|a| (a.instance, a.value))
        .collect();
    assert_eq!(values, [(1, 20), (2, 0), (3, 30)]);
    assert_eq!(p5.next_instance(), Some(4));
    assert!(p5.is_used(2) && !p5.is_used(4));
}

#[test]
fn a_promise_of_one_who_has_decided_more_counts_once_the_leader_knows_it() {
    let mut p3 = at(3, 3);
    p3.campaign();
    let own = ballot(2, 3);
    p3.upon(p(3), promise(own, 0, None));
    p3.upon(p(2), promise(own, 1, None));
    assert_eq!(
        p3.elected(|_| true),
        None,
        "instance 1 is decided, and not known here"
    );
    let (instance, value) = (1, 7);
    p3.upon(p(2), Message::Decided { instance, value });
    assert_eq!(p3.take_decisions(), [(1, 7)]);
    assert_eq!(p3.elected(|_| true).map(|obliged| obliged.len()), Some(0));
    p3.lead(&BTreeMap::new(), None);
    assert_eq!(p3.next_instance(), Some(2));
}

#[test]
fn what_is_decided_beyond_a_gap_is_promised_like_what_is_accepted() {
    let mut p2 = at(2, 3);
    let (instance, value) = (2, 7);
    p2.upon(p(1), Message::Decided { instance, value });
    let prepare = Message::Prepare {
        ballot: ballot(2, 3),
        from: 1,
    };
    p2.upon(p(3), prepare);
    let promised = said(&mut p2);
    let reported = promised.iter().any(|message| {
        matches!(message, Message::Promise { accepted: Some(a), decided: 0, .. }
            if (a.instance, a.value) == (2, 7))
    });
    assert!(reported, "{promised:?}");
}

#[test]
fn a_majority_of_one_ballot_decides_and_votes_of_several_ballots_do_not_add_up() {
    let mut p5 = at(5, 5);
    let accepted = |ballot| Message::Accepted {
        acceptance: acceptance(1, ballot, 7),
        decided: 0,
    };
    p5.upon(p(1), accepted(ballot(1, 1)));
    p5.upon(p(2), accepted(ballot(1, 1)));
    p5.upon(p(3), accepted(ballot(2, 3)));
    assert!(p5.take_decisions().is_empty());
    p5.upon(p(4), accepted(ballot(1, 1)));
    assert_eq!(p5.take_decisions(), [(1, 7)]);
    p5.upon(p(3), accepted(ballot(1, 1)));
    assert!(p5.take_decisions().is_empty(), "once");
}

#[test]
fn a_leader_that_learns_of_a_higher_ballot_stops() {
    let mut p1 = at(1, 3);
    assert!(p1.leads());
    let promised = ballot(4, 2);
    p1.upon(p(3), Message::Nack { promised });
    assert!(!p1.leads() && !p1.campaigns());
    p1.propose(1, 7);
    assert!(said(&mut p1).is_empty());
    p1.campaign();
    let prepared = said(&mut p1);
    assert!(
        matches!(prepared[..], [Message::Prepare { ballot, .. }] if ballot > promised),
        "{prepared:?}"
    );
}

#[test]
fn nobody_speaks_in_another_s_name_and_nothing_lies_too_far_ahead() {
    let mut p3 = at(3, 3);
    assert!(p3.upon(p(2), accept(1, ballot(1, 1), 7)).is_some());
    let prepare = Message::Prepare {
        ballot: ballot(9, 1),
        from: 1,
    };
    assert!(p3.upon(p(2), prepare).is_some());
    assert!(p3.upon(p(1), accept(1 << 40, ballot(1, 1), 7)).is_some());
    assert!(said(&mut p3).is_empty());
}

/// Decides this many instances with p2, while p3 is silent.
fn decide_without_p3(p1: &mut Ballots<u64>, instances: u64) {
    for instance in 1..=instances {
        p1.propose(instance, instance);
        let accepted = Message::Accepted {
            acceptance: acceptance(instance, ballot(1, 1), instance),
            decided: instance - 1,
        };
        p1.upon(p(2), accepted);
        assert_eq!(p1.take_decisions(), [(instance, instance)]);
        assert!(p1.remembered() <= KEPT + 2, "{}", p1.remembered());
    }
}

fn decisions_told(p1: &mut Ballots<u64>, to: To) -> usize {
    let told = p1.take_outgoing().into_iter();
    let told = told.filter(|(whom, m)| *whom == to && matches!(m, Message::Decided { .. }));
    told.count()
}

#[test]
fn a_process_that_is_gone_does_not_make_the_others_remember() {
    let mut p1 = at(1, 3);
    decide_without_p3(&mut p1, 20_000);
    let to_p3 = To::Some([p(3)].into_iter().collect());
    assert_eq!(
        decisions_told(&mut p1, to_p3),
        20_000 - KEPT,
        "the link to p3 owes it what is forgotten"
    );
}

#[test]
fn where_who_is_behind_takes_a_state_nobody_is_sent_what_is_dropped() {
    let mut p1 = at(1, 3).dropping();
    decide_without_p3(&mut p1, 20_000);
    let to_p3 = To::Some([p(3)].into_iter().collect());
    assert_eq!(decisions_told(&mut p1, to_p3), 0);
    assert!(!p1.keeps_beyond(0) && p1.keeps_beyond(20_000 - KEPT as u64));
    p1.resume(p(3));
    assert_eq!(decisions_told(&mut p1, To::One(p(3))), KEPT);
    let mut p3 = at(3, 3);
    let (instance, value) = (19_000, 19_000);
    p3.upon(p(1), Message::Decided { instance, value });
    assert!(p3.is_behind(), "it knows that something is missing");
}

#[test]
fn a_promise_that_nobody_can_vouch_for_is_left_out_of_the_majority() {
    let mut p3 = at(3, 5);
    p3.campaign();
    let own = ballot(2, 3);
    p3.upon(p(3), promise(own, 0, None));
    p3.upon(p(2), promise(own, 0, Some(acceptance(1, ballot(1, 1), 7))));
    p3.upon(p(4), promise(own, 0, None));
    let reported: Vec<_> = p3.reported().copied().collect();
    assert_eq!(reported, [7]);
    assert_eq!(p3.elected(|value| *value != 7), None);
    p3.upon(p(5), promise(own, 0, None));
    assert_eq!(p3.elected(|value| *value != 7), Some(BTreeMap::new()));
    assert_eq!(p3.elected(|_| true), Some([(1, 7)].into()));
}

/// Otherwise it might accept in a lower ballot, and so hide what it has accepted in its own: the others elect
/// it before its own request arrives.
#[test]
fn a_candidate_refuses_lower_ballots_before_its_own_request_arrives() {
    let mut p2 = at(2, 5);
    p2.campaign();
    said(&mut p2);
    assert_eq!(p2.upon(p(1), accept(1, ballot(1, 1), 7)), None);
    let promised = ballot(2, 2);
    assert_eq!(said(&mut p2), [Message::Nack { promised }]);
}

#[test]
fn no_number_of_a_promise_is_too_high() {
    let mut p3 = at(3, 3);
    p3.campaign();
    let own = ballot(2, 3);
    p3.upon(p(3), promise(own, 0, None));
    let far = acceptance(u64::MAX, ballot(1, 1), 7);
    assert!(p3.upon(p(2), promise(own, 0, Some(far))).is_some());
    assert_eq!(
        p3.elected(|_| true),
        None,
        "a promise without its value is none"
    );
    p3.upon(p(1), promise(own, u64::MAX, None));
    let mut p3 = at(3, 5);
    p3.campaign();
    for (rank, decided) in [(1, u64::MAX), (2, 0), (3, 0), (4, 0), (5, u64::MAX)] {
        if let Some(obliged) = p3.elected(|_| true) {
            p3.lead(&obliged, Some(&0));
        }
        p3.upon(p(rank), promise(own, decided, None));
    }
    assert!(p3.leads());
}

#[test]
fn what_is_skipped_is_decided_and_what_was_promised_and_accepted_above_stays() {
    let of = |instance, value| Acceptance {
        instance,
        ballot: Ballot {
            round: 1,
            leader: p(1),
        },
        value,
    };
    let accept = |instance, value| Message::Accept {
        acceptance: of(instance, value),
        decided: 0,
    };
    let mut ballots = Ballots::new(p(2), Membership::of_size(5).unwrap());
    assert!(!ballots.is_behind());
    for instance in [2, 5] {
        assert_eq!(ballots.upon(p(1), accept(instance, 7_u64)), None);
    }
    assert!(!ballots.is_behind());
    for instance in [3, 6] {
        ballots.upon(p(1), Message::Decided { instance, value: 8 });
    }
    let ballot = Ballot {
        round: 4,
        leader: p(3),
    };
    ballots.upon(p(3), Message::Prepare { ballot, from: 5 });
    assert!(ballots.is_behind(), "p3 has decided 4 instances");
    ballots.take_outgoing();
    ballots.skip_to(4);
    assert_eq!(
        (ballots.low(), ballots.is_behind()),
        (4, true),
        "6 is decided"
    );
    assert!(ballots.is_decided(6) && !ballots.is_decided(5));
    let left: Vec<_> = ballots.take_decisions();
    assert_eq!(left, [(6, 8)]);
    let ballot = Ballot { round: 5, ..ballot };
    ballots.upon(p(3), Message::Prepare { ballot, from: 5 });
    let parts = ballots.take_outgoing();
    let reported = |instance| {
        let mut parts = parts.iter();
        parts.any(|(_, m)| {
            matches!(m, Message::Promise { accepted: Some(a), decided: 4, .. } if a.instance == instance)
        })
    };
    assert!(reported(5) && !reported(2));
    ballots.upon(p(1), accept(7, 9));
    let promised = Message::Nack { promised: ballot };
    assert_eq!(ballots.take_outgoing(), [(To::One(p(1)), promised)]);
}

#[test]
fn numbers_from_which_nobody_counts_to_the_end_are_refused() {
    let mut p3 = at(3, 3);
    let far = MOST + 1;
    let (high, low) = (ballot(far, 1), ballot(1, 1));
    let accepted = |instance, ballot, decided| Message::Accepted {
        acceptance: acceptance(instance, ballot, 7),
        decided,
    };
    let messages = [
        Message::Prepare {
            ballot: high,
            from: 1,
        },
        Message::Prepare {
            ballot: low,
            from: far,
        },
        Message::Nack { promised: high },
        promise(low, far, None),
        promise(low, 0, Some(acceptance(1, high, 7))),
        accept(1, high, 7),
        accepted(far, low, 0),
        accepted(1, high, 0),
        accepted(1, low, far),
    ];
    for message in messages {
        assert_eq!(p3.upon(p(1), message), Some("number too high"));
    }
    p3.campaign();
    assert!(said(&mut p3).len() == 1 && !p3.is_behind());
}

mod streams;
