//! Replacements and newcomers, driven by hand.
use super::*;
use quorate_abstractions::{
    link::{Adopt, Status},
    reconfigurable::{Restore, View},
};
use quorate_core::Incarnation;

/// p3, which its links may tell that others come back, or itself.
fn reconfigurable() -> Alone {
    let mut p3 = Alone::new();
    p3.algorithm.joining = Joining::unknown();
    p3
}

fn member() -> Alone {
    let mut p3 = reconfigurable();
    p3.upon(Event::Status(Status::Admitted));
    p3
}

/// An incarnation that came later.
fn later(rank: usize) -> Origin {
    Origin {
        process: p(rank),
        incarnation: Incarnation(90 + rank as u64),
    }
}

fn in_configuration(configuration: u64, message: ballots::Message<Cut>) -> Message {
    Message::Ballots {
        configuration,
        message,
    }
}

fn decided(instance: u64, cut: &[(Origin, u64)]) -> ballots::Message<Cut> {
    ballots::Message::Decided {
        instance,
        value: Cut(cut.iter().copied().collect()),
    }
}

fn delivered(effects: &[Effect]) -> usize {
    let deliver = |effect: &&Effect| matches!(effect, Effect::Deliver(_));
    effects.iter().filter(deliver).count()
}

fn sent(effects: Vec<Effect>) -> Vec<(To, Message)> {
    let sent = effects.into_iter().filter_map(|effect| match effect {
        Effect::Link(link::Send { to, message }) => Some((to, message)),
        _ => None,
    });
    sent.collect()
}

#[test]
fn what_was_decided_after_a_replacement_is_void() {
    let mut p3 = member();
    p3.hears(2, data(2, 1));
    let beyond = decided(2, &[(origin(2), 1)]);
    assert_eq!(delivered(&p3.hears(1, of_first(beyond.clone()))), 0);
    let effects = p3.hears(1, of_first(decided(1, &[(later(1), 0)])));
    assert_eq!(delivered(&effects), 0, "instance 2 is over without effect");
    let adopt = Adopt {
        slot: p(1),
        incarnation: later(1).incarnation,
        number: 1,
    };
    assert!(
        effects
            .iter()
            .any(|e| matches!(e, Effect::Adopt(a) if *a == adopt))
    );
    // What is left of the first configuration says nothing any more; the second one begins at 2.
    assert_eq!(delivered(&p3.hears(2, of_first(beyond.clone()))), 0);
    assert_eq!(delivered(&p3.hears(2, in_configuration(1, beyond))), 1);
}

#[test]
fn who_begins_anew_first_tells_the_others_what_they_may_lack() {
    let mut p3 = member();
    let effects = p3.hears(1, of_first(decided(1, &[(later(1), 0)])));
    let told = sent(effects);
    let value = Cut([(later(1), 0)].into());
    let expected = of_first(ballots::Message::Decided { instance: 1, value });
    assert!(told.contains(&(To::One(p(2)), expected.clone())));
    assert!(
        !told.contains(&(To::One(p(1)), expected)),
        "that one is gone"
    );
}

#[test]
fn messages_of_a_configuration_that_has_not_begun_wait_for_it() {
    let mut p3 = member();
    p3.hears(2, data(2, 1));
    let next = in_configuration(1, decided(2, &[(origin(2), 1)]));
    assert_eq!(delivered(&p3.hears(2, next)), 0);
    let effects = p3.hears(1, of_first(decided(1, &[(later(1), 0)])));
    assert_eq!(delivered(&effects), 1);
}

#[test]
fn a_process_that_is_replaced_does_nothing_more() {
    let mut p3 = member();
    let mut effects = p3.hears(1, of_first(decided(1, &[(later(3), 0)])));
    effects.retain(|effect| matches!(effect, Effect::Deliver(_)));
    assert!(effects.is_empty());
    p3.upon(Event::Broadcast(Broadcast {
        payload: payload(1),
    }));
    p3.upon(Event::Leader(Trust(p(3))));
    p3.algorithm.upon_idle(&mut p3.ctx);
    assert!(p3.hears(2, in_configuration(1, decided(2, &[]))).is_empty());
}

/// p3 as one who comes back: told so, and adopted.
fn newcomer() -> (Alone, Vec<(To, Message)>) {
    let mut p3 = reconfigurable();
    let (by, known) = (p(1), Incarnation(1));
    p3.upon(Event::Status(Status::Newcomer { by, known }));
    p3.upon(Event::Broadcast(Broadcast {
        payload: payload(7),
    }));
    let asked = p3.upon(Event::Status(Status::Admitted));
    (p3, sent(asked))
}

/// The answer of p1, which has applied 5 instances, in so many pieces.
fn answer(newcomers: Vec<(Origin, u64)>, pieces: usize) -> Vec<Message> {
    let start = message::Start {
        configuration: 2,
        leader: p(2),
        applied: 5,
        newcomers,
        streams: vec![(origin(1), 4, 40)],
    };
    let mut whole = bytes::BytesMut::new();
    wire::put_head(&start, &mut whole);
    whole.extend_from_slice(b"the state of the user");
    let size = whole.len().div_ceil(pieces);
    let pieces: Vec<_> = whole.chunks(size).map(Bytes::copy_from_slice).collect();
    let parts = pieces.len() as u64;
    let piece = |(part, piece)| Message::State {
        ticket: 1,
        part,
        parts,
        piece,
    };
    (0..).zip(pieces).map(piece).collect()
}

#[test]
fn a_newcomer_asks_one_after_the_other_and_begins_where_the_state_ends() {
    let (mut p3, asked) = newcomer();
    let own = p3.algorithm.me;
    let join = Message::Join {
        incarnation: own.incarnation,
        is_newcomer: true,
    };
    assert_eq!(asked, [(To::One(p(1)), join.clone())]);
    assert_eq!(sent(p3.upon(Event::AskToJoin)), [(To::One(p(2)), join)]);
    let early = in_configuration(2, decided(6, &[(origin(1), 5)]));
    assert!(p3.hears(2, early).is_empty());
    let mut pieces = answer(vec![(own, 1)], 3);
    pieces.reverse();
    for piece in &pieces[..2] {
        assert!(
            p3.hears(1, piece.clone()).is_empty(),
            "not all of it is here"
        );
    }
    assert!(
        p3.hears(1, pieces[0].clone()).is_empty(),
        "a piece counts once"
    );
    let effects = p3.hears(1, pieces[2].clone());
    let state = effects.iter().find_map(|effect| match effect {
        Effect::Indicate(Indication::Restore(Restore::Chunk(state))) => Some(state.clone()),
        _ => None,
    });
    assert_eq!(state.unwrap(), "the state of the user");
    let lacks = |(_, message): &(To, Message)| matches!(message, Message::Lacks { .. });
    assert!(
        sent(effects).iter().any(lacks),
        "what was sent before is asked for"
    );
    let effects = p3.hears(1, data(1, 5));
    let [Effect::Deliver(deliver)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((deliver.first, deliver.origin), (41, origin(1)));
    assert!(p3.upon(Event::AskToJoin).is_empty(), "it has its state");
}

#[test]
fn a_state_in_which_it_has_no_place_is_refused() {
    let (mut p3, _) = newcomer();
    let own = p3.algorithm.me;
    let other = Origin {
        process: own.process,
        ..later(3)
    };
    for newcomers in [vec![], vec![(other, 1)], vec![(own, 1), (later(7), 1)]] {
        for piece in answer(newcomers, 1) {
            assert!(p3.hears(1, piece).is_empty());
        }
    }
    for (part, parts) in [(0, 0), (2, 2), (0, u64::MAX)] {
        let piece = Bytes::from_static(b"\xff");
        let state = Message::State {
            ticket: 1,
            part,
            parts,
            piece,
        };
        assert!(p3.hears(1, state).is_empty());
    }
    assert!(!p3.algorithm.joining.takes_part());
    for piece in answer(vec![(own, 1)], 1) {
        assert!(!p3.hears(1, piece).is_empty());
    }
    assert!(p3.algorithm.joining.takes_part());
}

#[test]
fn a_member_gives_its_state_to_those_that_were_put_in_their_slots() {
    let mut p3 = member();
    let join = |is_newcomer| Message::Join {
        incarnation: later(1).incarnation,
        is_newcomer,
    };
    assert!(
        p3.hears(1, join(true)).is_empty(),
        "nobody has put it there yet"
    );
    p3.hears(2, of_first(decided(1, &[(later(1), 0)])));
    let wanted = p3.hears(1, join(true));
    let [Effect::Indicate(Indication::StateWanted { ticket })] = &wanted[..] else {
        panic!("{wanted:?}");
    };
    let state = Bytes::from(vec![7; 1 << 20]);
    let ticket = *ticket;
    let answer = p3.upon(Event::State {
        ticket,
        view: View::of_bytes(state.clone()),
    });
    let pieces = sent(answer);
    assert_eq!(pieces.len(), 3, "a mebibyte and its head, in halves");
    assert!(pieces.iter().all(|(to, _)| *to == To::One(p(1))));
    let view = View::of_bytes(state);
    assert!(p3.upon(Event::State { ticket, view }).is_empty(), "once");
    let (mut p1, _) = newcomer();
    p1.algorithm.me = later(1);
    for (_, piece) in pieces {
        p1.hears(3, piece);
    }
    assert!(p1.algorithm.joining.takes_part());
    assert_eq!(
        (p1.algorithm.sequence.applied(), p1.algorithm.epoch.number()),
        (1, 1)
    );
}

/// So much of later configurations has come that it is dropped: there must be a state instead.
#[test]
fn a_member_far_behind_takes_the_state_of_a_later_configuration_only() {
    let mut p3 = member();
    let ahead = in_configuration(1, decided(2, &[]));
    let mut asked = Vec::new();
    while asked.is_empty() {
        asked = sent(p3.hears(2, ahead.clone()));
    }
    let join = Message::Join {
        incarnation: p3.algorithm.me.incarnation,
        is_newcomer: false,
    };
    assert_eq!(asked, [(To::One(p(1)), join)]);
    p3.algorithm.joining.begin_no_earlier_than(3);
    for piece in answer(vec![(later(1), 1)], 1) {
        assert!(
            p3.hears(1, piece).is_empty(),
            "it may have voted in this one"
        );
    }
    p3.algorithm.joining.begin_no_earlier_than(1);
    for piece in answer(vec![(later(1), 1)], 1) {
        assert!(!p3.hears(1, piece).is_empty());
    }
    assert!(p3.algorithm.joining.takes_part());
}

fn of(origin: Origin, sequence: u64) -> Message {
    let Message::Data { batch, .. } = data(1, sequence) else {
        panic!();
    };
    let id = MessageId { origin, sequence };
    Message::Data { id, batch }
}

/// Its origin need not keep it, and the others forget the oldest.
#[test]
fn what_comes_before_the_state_waits_for_it() {
    let (mut p3, _) = newcomer();
    let own = p3.algorithm.me;
    p3.hears(1, data(1, 4));
    p3.hears(1, data(1, 5));
    p3.hears(2, in_configuration(2, decided(6, &[(origin(1), 5)])));
    let effects = p3.hears(1, answer(vec![(own, 1)], 1).remove(0));
    assert_eq!(delivered(&effects), 1);
}

/// Its origin has the state already, from one who was faster.
#[test]
fn what_comes_of_an_origin_that_is_not_in_its_slot_yet_waits_for_that() {
    let mut p3 = member();
    p3.hears(1, of_first(decided(1, &[(later(1), 0)])));
    let next = Origin {
        incarnation: Incarnation(191),
        ..later(1)
    };
    p3.hears(1, of(next, 1));
    p3.hears(2, in_configuration(1, decided(2, &[(next, 0)])));
    let effects = p3.hears(2, in_configuration(2, decided(3, &[(next, 1)])));
    assert_eq!(delivered(&effects), 1);
}

fn join_of(p3: &Alone) -> Message {
    Message::Join {
        incarnation: p3.algorithm.me.incarnation,
        is_newcomer: false,
    }
}

/// Who was to tell it has crashed, and p1 came later, with the state.
#[test]
fn a_member_that_gets_no_further_takes_the_state_and_is_bound_by_what_it_promised() {
    let mut p3 = member();
    p3.hears(2, of_first(decided(1, &[(later(2), 0)])));
    p3.hears(1, in_configuration(1, decided(2, &[(later(1), 0)])));
    let ballot = |round| ballots::Ballot {
        round,
        leader: p(2),
    };
    let prepare = |round, from| ballots::Message::Prepare {
        ballot: ballot(round),
        from,
    };
    p3.hears(2, in_configuration(2, prepare(7, 6)));
    let asked = sent(p3.upon(Event::Behind));
    assert_eq!(asked, [(To::One(p(1)), join_of(&p3))]);
    let newcomers = vec![(later(1), 1), (later(2), 1)];
    let state = answer(newcomers, 1).remove(0);
    let effects = p3.hears(1, state.clone());
    let restored = |effects: &[Effect]| {
        let whole = |e: &Effect| matches!(e, Effect::Indicate(Indication::Restore(Restore::Whole)));
        effects.iter().any(whole)
    };
    assert!(restored(&effects));
    assert_eq!(p3.algorithm.sequence.applied(), 5);
    let refused = sent(p3.hears(2, in_configuration(2, prepare(6, 6))));
    let refusal = ballots::Message::Refuse {
        promised: ballot(7),
    };
    assert_eq!(refused, [(To::One(p(2)), in_configuration(2, refusal))]);
    assert!(!restored(&p3.hears(1, state)), "it needs it no more");
    assert!(p3.upon(Event::Behind).is_empty());
    p3.hears(1, of(later(1), 1));
    let next = in_configuration(2, decided(6, &[(later(1), 1)]));
    assert_eq!(delivered(&p3.hears(2, next)), 1);
}

#[test]
fn a_member_that_hears_only_of_later_configurations_takes_their_state() {
    let mut p3 = member();
    p3.hears(2, in_configuration(2, decided(6, &[])));
    assert_eq!(
        sent(p3.upon(Event::Behind)),
        [(To::One(p(1)), join_of(&p3))]
    );
    p3.hears(1, answer(vec![(later(1), 1)], 1).remove(0));
    assert_eq!(p3.algorithm.epoch.number(), 2);
    assert_eq!(p3.algorithm.sequence.applied(), 6, "what waited is heard");
}

/// One process knew another incarnation, which never took part.
#[test]
fn a_member_that_is_put_in_its_own_slot_begins_the_configuration_like_everybody() {
    let mut p3 = member();
    let own = p3.algorithm.me;
    p3.hears(1, of_first(decided(1, &[(own, 0)])));
    assert_eq!(p3.algorithm.epoch.number(), 1);
    p3.hears(2, data(2, 1));
    let next = in_configuration(1, decided(2, &[(origin(2), 1)]));
    assert_eq!(delivered(&p3.hears(1, next)), 1);
}

#[test]
fn a_state_on_its_way_is_not_asked_for_again() {
    let (mut p3, _) = newcomer();
    let own = p3.algorithm.me;
    let pieces = answer(vec![(own, 1)], 3);
    p3.hears(1, pieces[0].clone());
    assert!(sent(p3.upon(Event::AskToJoin)).is_empty());
    assert_eq!(sent(p3.upon(Event::AskToJoin)).len(), 1, "it has stopped");
}

#[test]
fn counts_that_are_too_high_are_refused() {
    let (mut p3, _) = newcomer();
    let own = p3.algorithm.me;
    let starts = [(u64::MAX, 1), (1, u64::MAX)];
    for (applied, ordered) in starts {
        let start = message::Start {
            configuration: 2,
            leader: p(2),
            applied,
            newcomers: vec![(own, 1)],
            streams: vec![(origin(1), ordered, 1)],
        };
        let mut piece = bytes::BytesMut::new();
        wire::put_head(&start, &mut piece);
        let piece = piece.freeze();
        p3.hears(
            1,
            Message::State {
                ticket: 1,
                part: 0,
                parts: 1,
                piece,
            },
        );
        assert!(!p3.algorithm.joining.takes_part());
    }
    let mut p3 = member();
    p3.hears(
        1,
        Message::Stable {
            configuration: 0,
            held: Cut::default(),
            decided: u64::MAX,
        },
    );
}
