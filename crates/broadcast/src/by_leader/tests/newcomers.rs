//! Replacements and newcomers, driven by hand.
use super::*;
use quorate_abstractions::{
    link::{Adopt, Status},
    reconfigurable::{Chunks, Restore, View},
};
use quorate_core::Incarnation;

/// p3, whose links may report that others come back, or that it has come back itself.
fn reconfigurable() -> Alone {
    let mut p3 = Alone::new();
    p3.algorithm.joining = Joining::unknown();
    p3.algorithm.user = User::Rejoins;
    p3
}

fn member() -> Alone {
    let mut p3 = reconfigurable();
    p3.upon(Event::Status(Status::Admitted));
    p3
}

/// A later incarnation of the process of this rank.
fn later(rank: usize) -> Origin {
    Origin {
        process: p(rank),
        incarnation: Incarnation(90 + rank as u64),
    }
}

fn in_epoch(epoch: u64, message: ballots::Message<Cut>) -> Message {
    Message::Ballots { epoch, message }
}

fn decided(instance: u64, cut: &[(Origin, u64)]) -> ballots::Message<Cut> {
    ballots::Message::Decided {
        instance,
        value: Cut(cut.iter().copied().collect()),
    }
}

fn delivered(effects: &[Effect]) -> usize {
    let deliver = |effect: &&Effect| matches!(effect, Effect::Indicate(Indication::Deliver(_)));
    effects.iter().filter(deliver).count()
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
        seat: p(1),
        incarnation: later(1).incarnation,
        number: 1,
    };
    assert!(
        effects
            .iter()
            .any(|e| matches!(e, Effect::Adopt(a) if *a == adopt))
    );
    // What is left of the first epoch has no effect any more; the second one begins at 2.
    assert_eq!(delivered(&p3.hears(2, of_first(beyond.clone()))), 0);
    assert_eq!(delivered(&p3.hears(2, in_epoch(1, beyond))), 1);
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
fn messages_of_a_epoch_that_has_not_begun_wait_for_it() {
    let mut p3 = member();
    p3.hears(2, data(2, 1));
    let next = in_epoch(1, decided(2, &[(origin(2), 1)]));
    assert_eq!(delivered(&p3.hears(2, next)), 0);
    let effects = p3.hears(1, of_first(decided(1, &[(later(1), 0)])));
    assert_eq!(delivered(&effects), 1);
}

#[test]
fn a_process_that_is_replaced_does_nothing_more() {
    let mut p3 = member();
    let mut effects = p3.hears(1, of_first(decided(1, &[(later(3), 0)])));
    effects.retain(|effect| matches!(effect, Effect::Indicate(Indication::Deliver(_))));
    assert!(effects.is_empty());
    p3.upon(Event::Request(Request::Broadcast(Broadcast {
        payload: payload(1),
    })));
    p3.upon(Event::Leader(Trust(p(3))));
    p3.algorithm.upon_idle(&mut p3.ctx);
    assert!(p3.hears(2, in_epoch(1, decided(2, &[]))).is_empty());
}

/// p3 as a process that comes back: the links have told it so, and have adopted it.
fn newcomer() -> (Alone, Vec<(To, Message)>) {
    let mut p3 = reconfigurable();
    let (by, known) = (p(1), Incarnation(1));
    p3.upon(Event::Status(Status::Newcomer { by, known }));
    p3.upon(Event::Request(Request::Broadcast(Broadcast {
        payload: payload(7),
    })));
    let asked = p3.upon(Event::Status(Status::Admitted));
    (p3, sent(asked))
}

fn transfer(start: &message::Start) -> transfer::Transfer {
    transfer::Transfer {
        epoch: start.epoch,
        applied: start.applied,
        number: 1,
    }
}

/// A state that begins at `start`: its head, this many chunks, and its end.
fn chunks(start: &message::Start, chunks: usize) -> Vec<StateMessage> {
    let mut head = bytes::BytesMut::new();
    wire::put_head(start, &mut head);
    let state = b"the state of the user";
    let mut all = vec![head.freeze()];
    all.extend(
        state
            .chunks(state.len().div_ceil(chunks))
            .map(Bytes::from_static),
    );
    all.push(Bytes::new());
    let (transfer, end) = (transfer(start), all.len() - 1);
    let mut digest = 0;
    let mut chunk = |(number, bytes): (usize, Bytes)| {
        digest = transfer::digest_on(digest, &bytes);
        StateMessage::Chunk {
            transfer,
            number: number as u64,
            last: number == end,
            digest,
            bytes,
        }
    };
    all.into_iter().enumerate().map(&mut chunk).collect()
}

fn start_of(newcomers: Vec<(Origin, u64)>) -> message::Start {
    message::Start {
        epoch: 2,
        leader: p(2),
        applied: 5,
        newcomers,
        streams: vec![(origin(1), 4, 40)],
    }
}

/// The state that p1 answers with, which has applied 5 instances.
fn answer(newcomers: Vec<(Origin, u64)>, number: usize) -> Vec<StateMessage> {
    chunks(&start_of(newcomers), number)
}

impl Alone {
    fn takes(&mut self, from: usize, message: StateMessage) -> Vec<Effect> {
        let from = p(from);
        self.upon(Event::State(link::Deliver { from, message }))
    }

    fn takes_all(&mut self, from: usize, messages: Vec<StateMessage>) -> Vec<Effect> {
        let messages = messages.into_iter();
        messages.flat_map(|m| self.takes(from, m)).collect()
    }
}

/// The parts of a state that the user is given.
fn restored(effects: &[Effect]) -> Vec<Restore> {
    let restore = effects.iter().filter_map(|effect| match effect {
        Effect::Indicate(Indication::Restore(restore)) => Some(restore.clone()),
        _ => None,
    });
    restore.collect()
}

fn is_whole(effects: &[Effect]) -> bool {
    restored(effects).contains(&Restore::Whole)
}

/// The chunks that are sent.
fn transferred(effects: Vec<Effect>) -> Vec<(To, StateMessage)> {
    let sent = effects.into_iter().filter_map(|effect| match effect {
        Effect::State(link::SendRequest { to, message }) => Some((to, message)),
        _ => None,
    });
    sent.collect()
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
    let early = in_epoch(2, decided(6, &[(origin(1), 5)]));
    assert!(p3.hears(2, early).is_empty());
    p3.upon(Event::AskToJoin);
    let all = answer(vec![(own, 1)], 3);
    assert!(restored(&p3.takes(1, all[1].clone())).is_empty());
    let effects = p3.takes(1, all[0].clone());
    assert_eq!(
        restored(&effects).len(),
        2,
        "the beginning and what overtook it"
    );
    assert!(
        restored(&p3.takes(1, all[1].clone())).is_empty(),
        "a chunk counts once"
    );
    assert!(restored(&p3.takes(1, all[4].clone())).is_empty());
    p3.takes(1, all[2].clone());
    assert!(!p3.algorithm.joining.takes_part(), "not all of it is here");
    let effects = p3.takes(1, all[3].clone());
    let last = [
        Restore::Chunk(Bytes::from_static(b"he user")),
        Restore::Whole,
    ];
    assert_eq!(restored(&effects), last);
    let lacks = |(_, message): &(To, Message)| matches!(message, Message::Lacks { .. });
    assert!(
        sent(effects).iter().any(lacks),
        "what was sent before is asked for"
    );
    let effects = p3.hears(1, data(1, 5));
    let [Effect::Indicate(Indication::Deliver(deliver))] = &effects[..] else {
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
        let start = start_of(newcomers);
        let effects = p3.takes_all(1, chunks(&start, 1));
        assert!(restored(&effects).is_empty());
        let transfer = transfer(&start);
        let enough = (To::One(p(1)), StateMessage::Enough { transfer });
        assert!(transferred(effects).contains(&enough));
        p3.upon(Event::AskToJoin);
        p3.upon(Event::AskToJoin);
    }
    assert!(!p3.algorithm.joining.takes_part());
    assert!(is_whole(&p3.takes_all(1, answer(vec![(own, 1)], 1))));
    assert!(p3.algorithm.joining.takes_part());
}

/// p3 with a newcomer that was put in its seat and wants p3's state.
fn giving() -> (Alone, u64) {
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
    let [Effect::Indicate(Indication::StateWanted { transfer })] = wanted[..] else {
        panic!("{wanted:?}");
    };
    (p3, transfer)
}

#[test]
fn a_member_gives_its_state_to_those_that_were_put_in_their_seats() {
    let (mut p3, transfer) = giving();
    let state = Bytes::from(vec![7; 5 << 20]);
    let view = View::of_bytes(state.clone());
    let mut in_flight = transferred(p3.upon(Event::Request(Request::State { transfer, view })));
    let view = View::of_bytes(state.clone());
    assert!(
        p3.upon(Event::Request(Request::State { transfer, view }))
            .is_empty(),
        "once"
    );
    let (mut p1, _) = newcomer();
    p1.algorithm.me = later(1);
    p1.upon(Event::AskToJoin);
    p1.algorithm.joining = {
        let mut joining = Joining::unknown();
        joining.note_newcomer_asking(p(3));
        joining
    };
    let mut length = 0;
    while !in_flight.is_empty() {
        let bytes = in_flight.iter().map(|(_, chunk)| match chunk {
            StateMessage::Chunk { bytes, .. } => bytes.len(),
            StateMessage::Took { .. } | StateMessage::Enough { .. } => panic!("{chunk:?}"),
        });
        assert!(
            bytes.sum::<usize>() <= (1 << 20) + (256 << 10),
            "so much is in flight"
        );
        let mut acknowledged = Vec::new();
        for (to, chunk) in in_flight {
            assert_eq!(to, To::One(p(1)));
            let effects = p1.takes(3, chunk);
            for restore in restored(&effects) {
                if let Restore::Chunk(chunk) = restore {
                    length += chunk.len();
                }
            }
            acknowledged.extend(transferred(effects));
        }
        in_flight = Vec::new();
        for (_, took) in acknowledged {
            in_flight.extend(transferred(p3.takes(1, took)));
        }
    }
    assert_eq!(length, state.len());
    assert!(p1.algorithm.joining.takes_part());
    assert_eq!(
        (p1.algorithm.sequence.applied(), p1.algorithm.epoch.number()),
        (1, 1)
    );
    assert!(!p3.algorithm.state_sender.is_busy());
    // What comes after the state is kept for as long as its receiver asks for it.
    assert!(p3.algorithm.batches.keeps_more());
    p3.upon(Event::TransferTimeout);
    let lacks = Message::Lacks {
        request: 1,
        held: Cut::default(),
        decided: None,
        again: false,
    };
    p3.hears(1, lacks);
    p3.upon(Event::TransferTimeout);
    assert!(p3.algorithm.batches.keeps_more());
    p3.upon(Event::TransferTimeout);
    assert!(!p3.algorithm.batches.keeps_more());
}

#[test]
fn one_that_two_states_have_reached_too_late_has_the_others_slowed_until_one_is_in() {
    for (late, slows) in [(1, false), (2, true)] {
        let mut p3 = member();
        p3.hears(2, in_epoch(2, decided(6, &[])));
        for _ in 0..late {
            p3.algorithm.missing.upon_state();
        }
        let others = To::Some([p(1), p(2)].into_iter().collect());
        let slower = (others, Message::Slower);
        p3.upon(Event::StillBehind);
        let first = sent(p3.upon(Event::StillBehind));
        assert_eq!(first.contains(&slower), slows, "{late} late: {first:?}");
        // While a state is coming, it is not asked for again, but the others are asked again to be slower.
        p3.algorithm.joining.note_move();
        let then = sent(p3.upon(Event::StillBehind));
        assert_eq!(then.contains(&slower), slows, "{late} late: {then:?}");
        assert!(!then.contains(&(To::One(p(1)), join_of(&p3))));
    }
}

/// A view that says when it is dropped.
struct Held {
    _pinned: std::sync::Arc<()>,
}

impl Chunks for Held {
    fn next_chunk(&mut self) -> Option<Bytes> {
        Some(Bytes::from(vec![7; 1 << 20]))
    }
}

#[test]
fn a_state_that_nobody_takes_is_given_up() {
    let end = |p3: &mut Alone, way: usize| match way {
        0 => {
            p3.upon(Event::TransferTimeout);
            p3.upon(Event::TransferTimeout);
        }
        1 => _ = p3.upon(Event::Status(Status::Begun { peer: p(1) })),
        2 => _ = p3.upon(Event::Status(Status::Gap { peer: p(1) })),
        _ => {
            let transfer = transfer::Transfer {
                epoch: 1,
                applied: 1,
                number: 1,
            };
            p3.takes(1, StateMessage::Enough { transfer });
        }
    };
    for way in 0..4 {
        let (mut p3, transfer) = giving();
        let pinned = std::sync::Arc::new(());
        let view = View::new(Held {
            _pinned: pinned.clone(),
        });
        assert_eq!(
            transferred(p3.upon(Event::Request(Request::State { transfer, view }))).len(),
            2
        );
        let join = Message::Join {
            incarnation: origin(2).incarnation,
            is_newcomer: false,
        };
        assert!(
            p3.hears(2, join.clone()).is_empty(),
            "one state at a time is on its way"
        );
        assert_eq!(std::sync::Arc::strong_count(&pinned), 2);
        end(&mut p3, way);
        assert_eq!(std::sync::Arc::strong_count(&pinned), 1, "{way}");
        assert_eq!(p3.hears(2, join).len(), 1, "another is given it");
    }
}

/// A state whose second chunk is longer than allowed.
struct Spoiled(u8);

impl Chunks for Spoiled {
    fn next_chunk(&mut self) -> Option<Bytes> {
        self.0 += 1;
        let longest = reconfigurable::LONGEST_CHUNK;
        let length = if self.0 == 2 { longest + 1 } else { 1 };
        (self.0 < 4).then(|| Bytes::from(vec![0; length]))
    }
}

#[test]
fn a_state_with_a_chunk_that_is_too_long_is_not_given() {
    let (mut p3, transfer) = giving();
    let view = View::new(Spoiled(0));
    for (_, chunk) in transferred(p3.upon(Event::Request(Request::State { transfer, view }))) {
        let StateMessage::Chunk { last, .. } = chunk else {
            panic!("{chunk:?}");
        };
        assert!(!last, "it is not whole");
    }
    assert!(!p3.algorithm.state_sender.is_busy());
}

#[test]
fn chunks_of_two_states_do_not_mix() {
    let (mut p3, _) = newcomer();
    let own = p3.algorithm.me;
    p3.upon(Event::AskToJoin);
    p3.upon(Event::AskToJoin);
    let all = answer(vec![(own, 1)], 3);
    p3.takes(1, all[0].clone());
    let of = |applied, digest_: Option<u64>| {
        let StateMessage::Chunk {
            mut transfer,
            number,
            last,
            digest,
            bytes,
        } = all[1].clone()
        else {
            panic!();
        };
        transfer.applied = applied;
        StateMessage::Chunk {
            transfer,
            number,
            last,
            digest: digest_.unwrap_or(digest),
            bytes,
        }
    };
    assert!(restored(&p3.takes(2, of(5, None))).is_empty(), "of another");
    assert!(
        restored(&p3.takes(1, of(6, None))).is_empty(),
        "of a later one"
    );
    let damaged = p3.takes(1, of(5, Some(9)));
    assert_eq!(restored(&damaged), [Restore::Abandoned]);
}

/// So much of later epochs has come that it is dropped, and a state is needed instead. The process is a
/// member all the while.
#[test]
fn a_member_far_behind_takes_a_state_and_forgets_no_promise() {
    let mut p3 = member();
    let prepare = |round| ballots::Message::Prepare {
        ballot: ballot(round, 2),
        from: 1,
    };
    p3.hears(2, of_first(prepare(7)));
    let ahead = in_epoch(1, decided(2, &[]));
    for _ in 0..=1 << 18 {
        p3.hears(2, ahead.clone());
    }
    assert!(p3.algorithm.joining.takes_part());
    let refused = sent(p3.hears(2, of_first(prepare(6))));
    let promised = ballot(7, 2);
    let nack = of_first(ballots::Message::Nack { promised });
    assert_eq!(refused, [(To::One(p(2)), nack)]);
    let asked = sent(p3.upon(Event::StillBehind));
    assert_eq!(asked, [(To::One(p(1)), join_of(&p3))]);
    let effects = p3.takes_all(1, answer(vec![(later(1), 1)], 1));
    assert!(is_whole(&effects));
    let asked = sent(effects);
    let again = asked
        .iter()
        .filter(|(_, m)| matches!(m, Message::Lacks { again: true, .. }));
    assert_eq!(again.count(), 2, "what was dropped is to be said again");
}

/// Takes all timers that run, and returns how many of them are timers for progress.
fn take_waits(p3: &mut Alone) -> usize {
    let timers: Vec<_> = p3.ctx.take_alarms().map(|alarm| alarm.id).collect();
    let on = timers.into_iter().filter_map(|id| p3.ctx.take_due(id));
    on.filter(|event| matches!(event, Event::StillBehind))
        .count()
}

/// With two timers, each would cancel the state request that the other made. Seen in a run: a member that had
/// taken one state before took no other, and asked two processes for one again and again.
#[test]
fn after_a_state_there_is_one_wait_for_getting_any_further() {
    let mut p3 = member();
    p3.hears(2, in_epoch(2, decided(6, &[])));
    assert_eq!(take_waits(&mut p3), 1);
    let asked = sent(p3.upon(Event::StillBehind));
    assert_eq!(asked, [(To::One(p(1)), join_of(&p3))]);
    // It is still behind, and waits again, when the state comes.
    assert!(is_whole(&p3.takes_all(1, answer(vec![(later(1), 1)], 1))));
    p3.hears(2, in_epoch(3, decided(7, &[])));
    assert_eq!(take_waits(&mut p3), 1);
}

fn of(origin: Origin, sequence: u64) -> Message {
    let Message::Data { batch, .. } = data(1, sequence) else {
        panic!();
    };
    let id = MessageId { origin, sequence };
    Message::Data { id, batch }
}

/// The origin need not keep the batch, and the others forget the oldest.
#[test]
fn what_comes_before_the_state_waits_for_it() {
    let (mut p3, _) = newcomer();
    let own = p3.algorithm.me;
    p3.hears(1, data(1, 4));
    p3.hears(1, data(1, 5));
    p3.hears(2, in_epoch(2, decided(6, &[(origin(1), 5)])));
    let effects = p3.takes_all(1, answer(vec![(own, 1)], 1));
    assert_eq!(delivered(&effects), 1);
}

/// The origin has the state already, from a process that was faster.
#[test]
fn what_comes_of_an_origin_that_is_not_in_its_seat_yet_waits_for_that() {
    let mut p3 = member();
    p3.hears(1, of_first(decided(1, &[(later(1), 0)])));
    let next = Origin {
        incarnation: Incarnation(191),
        ..later(1)
    };
    p3.hears(1, of(next, 1));
    p3.hears(2, in_epoch(1, decided(2, &[(next, 0)])));
    let effects = p3.hears(2, in_epoch(2, decided(3, &[(next, 1)])));
    assert_eq!(delivered(&effects), 1);
}

fn join_of(p3: &Alone) -> Message {
    Message::Join {
        incarnation: p3.algorithm.me.incarnation,
        is_newcomer: false,
    }
}

/// The process that would have told the decision has crashed, and p1 came later, with the state.
#[test]
fn a_member_that_gets_no_further_takes_the_state_and_is_bound_by_what_it_promised() {
    let mut p3 = member();
    p3.hears(2, of_first(decided(1, &[(later(2), 0)])));
    p3.hears(1, in_epoch(1, decided(2, &[(later(1), 0)])));
    let ballot = |round| ballots::Ballot {
        round,
        leader: p(2),
    };
    let prepare = |round, from| ballots::Message::Prepare {
        ballot: ballot(round),
        from,
    };
    p3.hears(2, in_epoch(2, prepare(7, 6)));
    let asked = sent(p3.upon(Event::StillBehind));
    assert!(
        matches!(&asked[..], [(To::One(to), Message::Lacks { decided: Some(2), .. })] if *to == p(1)),
        "{asked:?}"
    );
    let short = Message::Found {
        request: 1,
        part: (0, 1),
        more: false,
        short: true,
        found: None,
    };
    p3.hears(1, short);
    let asked = sent(p3.upon(Event::StillBehind));
    assert_eq!(asked, [(To::One(p(1)), join_of(&p3))]);
    let newcomers = vec![(later(1), 1), (later(2), 1)];
    let state = answer(newcomers, 1);
    let effects = p3.takes_all(1, state.clone());
    assert!(is_whole(&effects));
    assert_eq!(p3.algorithm.sequence.applied(), 5);
    let refused = sent(p3.hears(2, in_epoch(2, prepare(6, 6))));
    let nack = ballots::Message::Nack {
        promised: ballot(7),
    };
    assert_eq!(refused, [(To::One(p(2)), in_epoch(2, nack))]);
    assert!(
        restored(&p3.takes_all(1, state)).is_empty(),
        "it needs it no more"
    );
    assert!(p3.upon(Event::StillBehind).is_empty());
    p3.hears(1, of(later(1), 1));
    let next = in_epoch(2, decided(6, &[(later(1), 1)]));
    assert_eq!(delivered(&p3.hears(2, next)), 1);
}

#[test]
fn a_member_that_hears_only_of_later_epochs_takes_their_state() {
    let mut p3 = member();
    p3.hears(2, in_epoch(2, decided(6, &[])));
    assert_eq!(
        sent(p3.upon(Event::StillBehind)),
        [(To::One(p(1)), join_of(&p3))]
    );
    p3.takes_all(1, answer(vec![(later(1), 1)], 1));
    assert_eq!(p3.algorithm.epoch.number(), 2);
    assert_eq!(p3.algorithm.sequence.applied(), 6, "what waited is heard");
}

/// One process knew another incarnation, which never took part.
#[test]
fn a_user_that_keeps_nothing_is_told_where_each_origin_goes_on() {
    for (user, skips) in [(User::Stateless, 1), (User::GivesState, 0)] {
        let mut p3 = Alone::new();
        p3.algorithm.user = user;
        p3.hears(2, in_epoch(2, decided(6, &[(origin(1), 5)])));
        assert_eq!(
            sent(p3.upon(Event::StillBehind)),
            [(To::One(p(1)), join_of(&p3))]
        );
        let effects = p3.takes_all(1, answer(Vec::new(), 1));
        let skip = |effect: &&Effect| {
            matches!(effect, Effect::Indicate(Indication::Deliver(Deliver { origin: of, first: 41, payloads }))
                if *of == origin(1) && payloads.is_empty())
        };
        assert_eq!(effects.iter().filter(skip).count(), skips, "{user:?}");
        assert_eq!(delivered(&effects), skips, "{user:?}");
        let effects = p3.hears(1, data(1, 5));
        let first = effects.iter().find_map(|effect| match effect {
            Effect::Indicate(Indication::Deliver(deliver)) => Some(deliver.first),
            _ => None,
        });
        assert_eq!(first, Some(41), "{user:?}");
    }
}

#[test]
fn a_member_that_is_put_in_its_own_seat_begins_the_epoch_like_everybody() {
    let mut p3 = member();
    let own = p3.algorithm.me;
    p3.hears(1, of_first(decided(1, &[(own, 0)])));
    assert_eq!(p3.algorithm.epoch.number(), 1);
    p3.hears(2, data(2, 1));
    let next = in_epoch(1, decided(2, &[(origin(2), 1)]));
    assert_eq!(delivered(&p3.hears(1, next)), 1);
}

#[test]
fn a_state_on_its_way_is_not_asked_for_again() {
    let (mut p3, _) = newcomer();
    let own = p3.algorithm.me;
    let all = answer(vec![(own, 1)], 3);
    p3.takes(1, all[0].clone());
    assert!(sent(p3.upon(Event::AskToJoin)).is_empty());
    let effects = p3.upon(Event::AskToJoin);
    assert_eq!(restored(&effects), [Restore::Abandoned], "it has stopped");
    assert_eq!(sent(effects).len(), 1);
}

#[test]
fn numbers_that_are_too_high_are_refused() {
    let (mut p3, _) = newcomer();
    let own = p3.algorithm.me;
    let high = 1 << 49;
    let start = start_of(vec![(own, 1)]);
    let starts = [
        message::Start {
            epoch: u64::MAX,
            ..start.clone()
        },
        message::Start {
            applied: high,
            ..start.clone()
        },
        message::Start {
            newcomers: vec![(own, high)],
            ..start.clone()
        },
        message::Start {
            streams: vec![(origin(1), high, 1)],
            ..start.clone()
        },
        message::Start {
            streams: vec![(origin(1), 1, high)],
            ..start.clone()
        },
    ];
    for start in starts {
        assert!(restored(&p3.takes_all(1, chunks(&start, 1))).is_empty());
        assert!(!p3.algorithm.joining.takes_part());
        p3.upon(Event::AskToJoin);
        p3.upon(Event::AskToJoin);
    }
    assert!(is_whole(&p3.takes_all(1, chunks(&start, 1))));
    let mut p3 = member();
    p3.hears(
        1,
        Message::Stable {
            epoch: 0,
            held: Cut::default(),
            decided: u64::MAX,
        },
    );
}
