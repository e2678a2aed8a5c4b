use super::*;
use crate::{data::WINDOW, testing::*};
use quorate_abstractions::link::Links;
use quorate_core::{Incarnation, message::Origin};
use quorate_sim::{Timed, World};

const SUBJECT: ByAcknowledgements = ByAcknowledgements(|world, q, quorum| {
    let (host, lane) = (world.host(q).at("urb"), world.links(q).at("urb").lane());
    let (below, up) = (crate::best_effort::over(lane), world.application(q));
    match quorum {
        None => spawn(&host, below, up),
        Some(quorum) => spawn_mutant(&host, quorum, below, up),
    }
});

#[test]
fn urb1_to_4_hold_in_every_schedule_with_a_crash() {
    SUBJECT.assert_holds_in_every_schedule();
}

#[test]
fn urb1_to_4_hold_whoever_of_a_minority_crashes() {
    SUBJECT.assert_holds_whoever_crashes();
}

#[test]
fn urb4_uniform_agreement_wherever_the_sender_crashes() {
    SUBJECT.assert_holds_wherever_the_sender_crashes();
}

#[test]
fn urb4_is_broken_by_delivery_on_one_acknowledgement() {
    SUBJECT.assert_one_acknowledgement_is_too_few();
}

#[test]
fn costs_are_what_the_header_says() {
    for n in 3..=8_usize {
        let undisturbed = SUBJECT.run(n, None, None);
        undisturbed.assert_all_hold();
        let (n, messages) = (n as u64, undisturbed.counts.messages);
        assert_eq!(messages, n * (n - 1), "n = {n}");
    }
    SUBJECT.assert_costs_with_a_crash();
}

/// A message that cannot exist is counted, and uses no memory.
#[test]
fn what_cannot_be_is_refused_and_what_is_over_is_forgotten() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let mut algorithm = TextbookMajorityAck::new(&world.host(p(3)), 2);
    let mut ctx = quorate_core::Context::new("urb".into(), 1, quorate_core::Counters::default());
    let origin = Origin {
        process: p(1),
        incarnation: Incarnation(1),
    };
    let mut hears = |algorithm: &mut TextbookMajorityAck, from, sequence| {
        let id = MessageId { origin, sequence };
        let payload = Bytes::from_static(b"m");
        let message = Data { id, payload };
        let deliver = best_effort::Deliver { from, message };
        algorithm.upon(Event::BestEffort(deliver), &mut ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        effects
    };
    assert!(
        hears(&mut algorithm, p(1), WINDOW + 1).is_empty(),
        "too far ahead"
    );
    assert!(hears(&mut algorithm, p(1), 0).is_empty(), "no number");
    assert!(algorithm.pending.is_empty());
    let relayed = hears(&mut algorithm, p(1), 1);
    assert!(
        matches!(relayed[..], [Effect::BestEffort(_)]),
        "{relayed:?}"
    );
    let delivered = hears(&mut algorithm, p(2), 1);
    assert!(
        matches!(delivered[..], [Effect::Deliver(_)]),
        "{delivered:?}"
    );
    assert!(hears(&mut algorithm, p(3), 1).is_empty(), "it is delivered");
    assert!(algorithm.pending.is_empty());
    // One message stays away for good while its origin goes on: it is given up, and forgotten.
    hears(&mut algorithm, p(1), 2);
    assert_eq!(algorithm.pending.len(), 1);
    for sequence in 3..=WINDOW + 2 {
        hears(&mut algorithm, p(1), sequence);
        hears(&mut algorithm, p(2), sequence);
    }
    hears(&mut algorithm, p(1), WINDOW + 3);
    let pending: Vec<u64> = algorithm.pending.keys().map(|id| id.sequence).collect();
    assert_eq!(pending, [WINDOW + 3]);
}
