use super::*;
use crate::kv::{Command, MAXIMUM_BYTES};
use item::{Head, Item};
use proptest::prelude::*;
use quorate_core::message::LAST_NUMBER;

fn p1() -> ProcessId {
    ProcessId::from_rank(1).unwrap()
}

fn set(key: &str, value: &str) -> Bytes {
    let mut payload = commands();
    let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Command::Set(copy(key), copy(value)).encode(&mut payload);
    payload.freeze()
}

#[test]
fn a_message_is_for_whom_it_says() {
    let mut machine = Machine::default();
    let answer = machine.deliver(p1(), set("k", "v"), true);
    assert_eq!(answer, Answer::Replies(vec![Reply::Ok]));
    let decided = Answer::Decision(ProposalResult::Decided(Bytes::from_static(b"a")));
    assert_eq!(machine.deliver(p1(), proposal(1, b"a"), true), decided);
    assert_eq!(machine.deliver(p1(), proposal(1, b"b"), true), decided);
    assert_eq!((machine.kv().applied(), machine.decisions().len()), (1, 1));
    assert_eq!(machine.log().delivered(), 3);
}

#[test]
fn an_undecodable_payload_is_logged_counted_and_changes_nothing() {
    let mut machine = Machine::default();
    let half = &set("k", "v")[..3];
    let payloads: [&[u8]; 4] = [b"", &[9], &[2], half];
    for payload in payloads {
        let payload = Bytes::copy_from_slice(payload);
        assert_eq!(machine.deliver(p1(), payload, true), Answer::Nothing);
    }
    assert_eq!((machine.undecodable(), machine.log().delivered()), (4, 4));
    assert!(machine.kv().store().is_empty() && machine.decisions().is_empty());
}

/// A machine that has some of everything in its state.
fn busy() -> Machine {
    let mut machine = Machine::default();
    machine.deliver(p1(), set("k", "v"), false);
    machine.deliver(p1(), proposal(7, b"a"), false);
    machine.deliver(p1(), Bytes::from_static(&[9]), false);
    machine
}

/// All chunks of a state.
fn chunks(machine: &Machine) -> Vec<Bytes> {
    let mut view = machine.view();
    let chunks = std::iter::from_fn(|| view.next_chunk()).collect();
    assert!(view.next_chunk().is_none());
    chunks
}

fn whole(machine: &Machine) -> Vec<u8> {
    chunks(machine).concat()
}

fn restored(chunks: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Machine, Undecodable> {
    let mut restoring = Restoring::default();
    for chunk in chunks {
        restoring.push(chunk.as_ref())?;
    }
    restoring.finish()
}

#[test]
fn who_takes_a_state_over_goes_on_like_who_gave_it() {
    let mut giver = busy();
    let mut taker = restored(chunks(&giver)).unwrap();
    assert_eq!(taker, giver);
    for payload in [set("k", "w"), proposal(7, b"b"), proposal(8, b"c")] {
        let there = giver.deliver(p1(), payload.clone(), true);
        assert_eq!(taker.deliver(p1(), payload, true), there);
    }
    assert_eq!(taker, giver);
    assert_eq!(whole(&taker), whole(&giver));
}

#[test]
fn a_view_is_the_state_at_its_point_whatever_comes_between_its_chunks() {
    let mut machine = Machine::default();
    let long = "v".repeat(3000);
    for number in 0..400 {
        machine.deliver(p1(), set(&format!("k{number}"), &long), false);
    }
    machine.deliver(p1(), proposal(7, b"a"), false);
    let (then, mut view) = (machine.clone(), machine.view());
    let mut seen = Vec::new();
    for number in 0.. {
        let Some(chunk) = view.next_chunk() else {
            break;
        };
        assert!(chunk.len() <= CHUNK);
        seen.push(chunk);
        machine.deliver(p1(), set(&format!("k{}", 399 - number), "new"), false);
        machine.deliver(p1(), set(&format!("new {number}"), "x"), false);
        machine.deliver(p1(), proposal(number, b"b"), false);
    }
    assert!(seen.len() > 4, "{}", seen.len());
    assert_eq!(restored(&seen), Ok(then));
    assert_ne!(restored(&seen), Ok(machine));
}

#[test]
fn a_value_longer_than_many_chunks_travels_in_them() {
    let mut machine = Machine::default();
    let long = "x".repeat(MAXIMUM_BYTES);
    machine.deliver(p1(), set("a", &long), false);
    machine.deliver(p1(), set(&long, "b"), false);
    let chunks = chunks(&machine);
    assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK));
    assert_eq!(chunks.len(), 2 * MAXIMUM_BYTES / CHUNK + 1);
    assert_eq!(restored(&chunks), Ok(machine));
}

#[test]
fn chunks_may_be_cut_anywhere() {
    let machine = busy();
    let whole = whole(&machine);
    for length in 1..whole.len() {
        assert_eq!(restored(whole.chunks(length)), Ok(machine.clone()));
    }
}

#[test]
fn what_claims_to_be_long_is_not_made_room_for() {
    let mut restoring = Restoring::default();
    let head = whole(&Machine::default());
    restoring.push(&head[..head.len() - 2]).unwrap();
    // A key that claims 16 MiB, of which nothing comes; then a value that is longer than any message.
    restoring.push(b"\x02\x80\x80\x80\x08").unwrap();
    assert!(restoring.waiting() < 100);
    restoring.push(&[0; 1000]).unwrap();
    assert!(restoring.waiting() < 3000);
    let mut restoring = Restoring::default();
    restoring.push(&head[..head.len() - 2]).unwrap();
    assert!(restoring.push(b"\x02\x01k\x81\x80\x80\x08").is_err());
}

#[test]
fn what_is_no_state_is_an_error() {
    let good = whole(&busy());
    for length in 0..good.len() {
        assert!(restored([&good[..length]]).is_err(), "{length}");
    }
    assert!(restored([&good[..], b"\x03\x05"]).is_err());
    let mut newer = good.clone();
    newer[1] += 1;
    assert!(restored([newer]).is_err());
}

/// The bytes of these parts, after the head of an empty state.
fn state_of(items: &[Item<'_>]) -> BytesMut {
    let mut out = BytesMut::from(&whole(&Machine::default())[..7]);
    for item in items {
        item.encode(&mut out);
    }
    Item::End(items.len() as u64 + 1).encode(&mut out);
    out
}

#[test]
fn parts_come_once_and_in_their_order() {
    let decision = |instance| Item::Decision {
        instance,
        value: b"d",
    };
    let pair = |key: &'static [u8]| Item::Pair { key, value: b"v" };
    let good = [decision(1), decision(2), pair(b"a"), pair(b"b")];
    assert!(restored([state_of(&good)]).is_ok());
    for place in 0..good.len() - 1 {
        let mut swapped = good;
        swapped.swap(place, place + 1);
        assert!(restored([state_of(&swapped)]).is_err(), "{place}");
        let mut twice = good;
        twice[place + 1] = twice[place];
        assert!(restored([state_of(&twice)]).is_err(), "{place}");
    }
    // One part is missing, or there is a second head.
    let mut short = BytesMut::from(&state_of(&good)[..]);
    short.truncate(short.len() - 1);
    short.extend_from_slice(&[3]);
    assert!(restored([short]).is_err());
    let head = state_of(&[]);
    assert!(restored([&head[..7], &state_of(&good)]).is_err());
}

#[test]
fn what_nobody_can_have_counted_is_no_state() {
    let state = |count: u64| {
        let head = Item::Head(Head {
            delivered: count,
            hash: u64::MAX,
            undecodable: count,
            applied: count,
            forgotten: 0,
        });
        let mut out = BytesMut::new();
        for item in [head, Item::End(1)] {
            item.encode(&mut out);
        }
        out
    };
    let mut machine = restored([state(LAST_NUMBER)]).unwrap();
    machine.deliver(p1(), Bytes::from_static(&[200]), true);
    assert_eq!(machine.log().delivered(), LAST_NUMBER + 1);
    assert!(restored([state(LAST_NUMBER + 1)]).is_err());
    assert!(restored([state(u64::MAX)]).is_err());
}

fn any_payload() -> impl Strategy<Value = Bytes> {
    let key = || (0..60_u32).prop_map(|key| format!("key {key}"));
    prop_oneof![
        4 => (key(), 0..30_000_usize).prop_map(|(k, length)| set(&k, &"v".repeat(length))),
        2 => key().prop_map(|key| {
            let mut payload = commands();
            Command::Del(vec![key.into()]).encode(&mut payload);
            payload.freeze()
        }),
        1 => (0..9_u64).prop_map(|instance| proposal(instance, b"d")),
        1 => Just(Bytes::from_static(&[9])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_view_restores_to_the_state_at_its_point(
        before in prop::collection::vec(any_payload(), 0..60),
        meanwhile in prop::collection::vec(any_payload(), 0..60),
    ) {
        let mut machine = Machine::default();
        for payload in before {
            machine.deliver(p1(), payload, false);
        }
        let (then, mut view) = (machine.clone(), machine.view());
        let mut restoring = Restoring::default();
        let mut seen = Vec::new();
        let mut meanwhile = meanwhile.into_iter();
        while let Some(chunk) = view.next_chunk() {
            restoring.push(&chunk).unwrap();
            seen.extend_from_slice(&chunk);
            for payload in meanwhile.by_ref().take(10) {
                machine.deliver(p1(), payload, false);
            }
        }
        let restored = restoring.finish().unwrap();
        prop_assert_eq!(&restored, &then);
        // A restored machine gives the same chunks as the original: states are compared by their chunks.
        prop_assert_eq!(whole(&restored), seen);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let bytes = Bytes::from(bytes);
        Machine::default().deliver(p1(), bytes.clone(), true);
        let head = whole(&Machine::default());
        let _ = restored([&bytes]);
        let _ = restored([&head[..7], &bytes]);
    }

    #[test]
    fn a_damaged_state_never_panics(
        place in any::<prop::sample::Index>(),
        bits in 1..=255_u8,
        cut in 1..50_usize,
    ) {
        let mut bytes = whole(&busy());
        let place = place.index(bytes.len());
        bytes[place] ^= bits;
        let _ = restored(bytes.chunks(cut));
    }
}
