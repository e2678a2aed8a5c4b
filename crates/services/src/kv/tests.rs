use super::*;
use bytes::BytesMut;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn value(text: &str) -> Reply {
    Reply::Value(bytes(text))
}

fn payload(commands: &[Command]) -> Bytes {
    let mut out = BytesMut::new();
    for command in commands {
        command.encode(&mut out);
    }
    out.freeze()
}

#[test]
fn commands_answer_as_redis_does() {
    let mut store = Store::default();
    let k = || bytes("k");
    assert_eq!(store.apply(&Command::Get(k())), Reply::Nil);
    assert_eq!(store.apply(&Command::Set(k(), bytes("v"))), Reply::Ok);
    assert_eq!(store.apply(&Command::Get(k())), value("v"));
    assert_eq!(
        store.apply(&Command::Append(k(), bytes("w"))),
        Reply::Integer(2)
    );
    assert_eq!(store.apply(&Command::StrLen(k())), Reply::Integer(2));
    assert_eq!(
        store.apply(&Command::Exists(vec![k(), k(), bytes("x")])),
        Reply::Integer(2)
    );
    assert_eq!(
        store.apply(&Command::MGet(vec![k(), bytes("x")])),
        Reply::Values(vec![Some(bytes("vw")), None])
    );
    let pairs = vec![(bytes("a"), bytes("1")), (bytes("b"), bytes("2"))];
    assert_eq!(store.apply(&Command::MSet(pairs)), Reply::Ok);
    assert_eq!(store.apply(&Command::DbSize), Reply::Integer(3));
    assert_eq!(
        store.apply(&Command::Del(vec![k(), k()])),
        Reply::Integer(1)
    );
    assert_eq!(store.apply(&Command::FlushAll), Reply::Ok);
    assert!(store.is_empty());
}

#[test]
fn conditions_and_values_before_are_those_of_redis() {
    let mut store = Store::default();
    let set = |condition, wanted, new: &str| Command::SetIf {
        key: bytes("k"),
        value: bytes(new),
        condition,
        wanted,
    };
    for (command, reply, then) in [
        (
            set(SetCondition::Present, SetReply::Done, "a"),
            Reply::Nil,
            Reply::Nil,
        ),
        (
            set(SetCondition::Absent, SetReply::Done, "a"),
            Reply::Ok,
            value("a"),
        ),
        (
            set(SetCondition::Absent, SetReply::Done, "b"),
            Reply::Nil,
            value("a"),
        ),
        (
            set(SetCondition::Absent, SetReply::Before, "b"),
            value("a"),
            value("a"),
        ),
        (
            set(SetCondition::Present, SetReply::Before, "b"),
            value("a"),
            value("b"),
        ),
        (
            set(SetCondition::Always, SetReply::Before, "c"),
            value("b"),
            value("c"),
        ),
        (
            set(SetCondition::Absent, SetReply::Count, "d"),
            Reply::Integer(0),
            value("c"),
        ),
        (Command::GetDel(bytes("k")), value("c"), Reply::Nil),
        (Command::GetDel(bytes("k")), Reply::Nil, Reply::Nil),
        (
            set(SetCondition::Absent, SetReply::Before, "e"),
            Reply::Nil,
            value("e"),
        ),
        (
            Command::MSetNx(vec![(bytes("j"), bytes("1")), (bytes("k"), bytes("2"))]),
            Reply::Integer(0),
            value("e"),
        ),
        (
            Command::MSetNx(vec![(bytes("l"), bytes("1")), (bytes("l"), bytes("2"))]),
            Reply::Integer(1),
            value("e"),
        ),
    ] {
        assert_eq!(store.apply(&command), reply, "{command:?}");
        assert_eq!(store.apply(&Command::Get(bytes("k"))), then, "{command:?}");
    }
    assert_eq!(store.apply(&Command::Get(bytes("j"))), Reply::Nil);
    assert_eq!(store.apply(&Command::Get(bytes("l"))), value("2"));
}

/// Payloads of a version-1 replica still mean the same: new commands have new codes.
#[test]
fn the_codes_of_commands_stay() {
    let mut out = BytesMut::new();
    Command::Set(bytes("k"), bytes("v")).encode(&mut out);
    Command::MSet(vec![(bytes("k"), bytes("v"))]).encode(&mut out);
    Command::FlushAll.encode(&mut out);
    assert_eq!(&out[..], b"\x01\x02\x01k\x01v\x07\x02\x01k\x01v\x0a\x00");
    out.clear();
    Command::SetIf {
        key: bytes("k"),
        value: bytes("v"),
        condition: SetCondition::Present,
        wanted: SetReply::Before,
    }
    .encode(&mut out);
    assert_eq!(&out[..], b"\x0b\x03\x01k\x01v\x02\x02\x01");
    for unknown in [
        &b"\x0b\x03\x01k\x01v\x02\x03\x01"[..],
        b"\x0b\x03\x01k\x01v\x02\x02\x03",
        b"\x0b\x03\x01k\x01v\x01\x02",
        b"\x0d\x01\x01k",
        b"\x0e\x00",
    ] {
        let decoded = Command::decode_batch(Bytes::from_static(unknown));
        assert_eq!(decoded, Err(Undecodable), "{unknown:?}");
    }
}

#[test]
fn increments_refuse_what_is_no_integer_and_never_overflow() {
    let mut store = Store::default();
    let k = || bytes("k");
    assert_eq!(
        store.apply(&Command::IncrBy(k(), i64::MAX)),
        Reply::Integer(i64::MAX)
    );
    assert!(matches!(
        store.apply(&Command::IncrBy(k(), 1)),
        Reply::Error(_)
    ));
    assert_eq!(
        store.apply(&Command::IncrBy(k(), i64::MIN)),
        Reply::Integer(-1)
    );
    for text in [
        "",
        "+1",
        " 1",
        "01",
        "-0",
        "1.0",
        "9223372036854775808",
        "é",
    ] {
        store.apply(&Command::Set(k(), bytes(text)));
        assert_eq!(
            store.apply(&Command::IncrBy(k(), 1)),
            Reply::Error("ERR value is not an integer or out of range"),
            "{text:?}"
        );
        assert_eq!(store.apply(&Command::Get(k())), value(text));
    }
}

#[test]
fn what_would_grow_without_limit_is_refused() {
    let mut store = Store::default();
    let large = Bytes::from(vec![0; MAXIMUM_BYTES]);
    store.apply(&Command::Set(bytes("k"), large));
    assert!(matches!(
        store.apply(&Command::Append(bytes("k"), bytes("x"))),
        Reply::Error(_)
    ));
    assert!(matches!(
        store.apply(&Command::MGet(vec![bytes("k"); 9])),
        Reply::Error(_)
    ));
}

#[test]
fn replies_are_made_only_where_somebody_waits() {
    let (mut here, mut there) = (Service::default(), Service::default());
    let commands = payload(&[
        Command::Set(bytes("k"), bytes("v")),
        Command::Get(bytes("k")),
    ]);
    let replies = here.apply(commands.clone(), true).unwrap();
    assert_eq!(replies, [Reply::Ok, value("v")]);
    assert!(there.apply(commands, false).unwrap().is_empty());
    assert_eq!(here, there);
}

#[test]
fn an_undecodable_payload_changes_nothing() {
    let mut service = Service::default();
    let mut garbage = payload(&[Command::Set(bytes("k"), bytes("v"))]).to_vec();
    garbage.push(99);
    assert_eq!(service.apply(garbage.into(), true), Err(Undecodable));
    assert_eq!(service, Service::default());
}

#[test]
fn pairs_are_restored_in_their_order_only() {
    let mut store = Store::default();
    store.restore(b"a", b"1").unwrap();
    store.restore(b"b", b"2").unwrap();
    assert!(store.restore(b"b", b"3").is_err());
    assert!(store.restore(b"a", b"3").is_err());
    assert_eq!(store.apply(&Command::Get(bytes("b"))), value("2"));
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

/// One of few keys, so that commands often use the same key.
fn any_key() -> impl Strategy<Value = Bytes> {
    (0..4_u8).prop_map(|key| Bytes::from(vec![key]))
}

fn any_keys() -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(any_key(), 0..4)
}

fn any_value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        any_bytes(),
        any::<i64>().prop_map(|n| Bytes::from(n.to_string()))
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        any_key().prop_map(Command::Get),
        (any_key(), any_value()).prop_map(|(k, v)| Command::Set(k, v)),
        any_keys().prop_map(Command::Del),
        any_keys().prop_map(Command::Exists),
        (any_key(), any::<i64>()).prop_map(|(k, n)| Command::IncrBy(k, n)),
        (any_key(), any_value()).prop_map(|(k, v)| Command::Append(k, v)),
        any_key().prop_map(Command::StrLen),
        prop::collection::vec((any_key(), any_value()), 0..4).prop_map(Command::MSet),
        any_keys().prop_map(Command::MGet),
        Just(Command::DbSize),
        Just(Command::FlushAll),
        (any_key(), any_value(), any_condition(), any_reply()).prop_map(
            |(key, value, condition, wanted)| {
                Command::SetIf {
                    key,
                    value,
                    condition,
                    wanted,
                }
            }
        ),
        any_key().prop_map(Command::GetDel),
        prop::collection::vec((any_key(), any_value()), 0..4).prop_map(Command::MSetNx),
    ]
}

fn any_condition() -> impl Strategy<Value = SetCondition> {
    prop_oneof![
        Just(SetCondition::Always),
        Just(SetCondition::Absent),
        Just(SetCondition::Present)
    ]
}

fn any_reply() -> impl Strategy<Value = SetReply> {
    prop_oneof![
        Just(SetReply::Done),
        Just(SetReply::Before),
        Just(SetReply::Count)
    ]
}

type Model = BTreeMap<Bytes, Bytes>;

/// A model of the commands, implemented in the plainest way.
fn model_apply(model: &mut Model, command: &Command) -> Reply {
    let count = |number: usize| Reply::Integer(i64::try_from(number).unwrap());
    match command.clone() {
        Command::Get(k) => model.get(&k).cloned().map_or(Reply::Nil, Reply::Value),
        Command::Set(k, v) => {
            model.insert(k, v);
            Reply::Ok
        }
        Command::Del(keys) => count(
            keys.iter()
                .map(|k| usize::from(model.remove(k).is_some()))
                .sum(),
        ),
        Command::Exists(keys) => count(keys.iter().filter(|k| model.contains_key(*k)).count()),
        Command::IncrBy(k, n) => {
            let old = model
                .get(&k)
                .map_or(Some(0), |v| parse_integer(v).map(i128::from));
            let Some(new) = old.map(|old| old + i128::from(n)) else {
                return Reply::Error("ERR value is not an integer or out of range");
            };
            let Ok(new) = i64::try_from(new) else {
                return Reply::Error("ERR increment or decrement would overflow");
            };
            model.insert(k, Bytes::from(new.to_string()));
            Reply::Integer(new)
        }
        Command::Append(k, v) => {
            let old = model.get(&k).cloned().unwrap_or_default();
            let new: Bytes = [old, v].concat().into();
            let length = new.len();
            model.insert(k, new);
            count(length)
        }
        Command::StrLen(k) => count(model.get(&k).map_or(0, Bytes::len)),
        Command::MSet(pairs) => {
            model.extend(pairs);
            Reply::Ok
        }
        Command::MGet(keys) => Reply::Values(keys.iter().map(|k| model.get(k).cloned()).collect()),
        Command::DbSize => count(model.len()),
        Command::FlushAll => {
            model.clear();
            Reply::Ok
        }
        Command::SetIf {
            key,
            value,
            condition,
            wanted,
        } => {
            let before = model.get(&key).cloned();
            let done = condition == SetCondition::Always
                || (condition == SetCondition::Present) == before.is_some();
            if done {
                model.insert(key, value);
            }
            match wanted {
                SetReply::Before => before.map_or(Reply::Nil, Reply::Value),
                SetReply::Count => count(done.into()),
                SetReply::Done if done => Reply::Ok,
                SetReply::Done => Reply::Nil,
            }
        }
        Command::GetDel(k) => model.remove(&k).map_or(Reply::Nil, Reply::Value),
        Command::MSetNx(pairs) => {
            let done = !pairs.iter().any(|(key, _)| model.contains_key(key));
            if done {
                model.extend(pairs);
            }
            count(done.into())
        }
    }
}

proptest! {
    #[test]
    fn the_store_is_its_model(commands in prop::collection::vec(any_command(), 0..40)) {
        let (mut store, mut model) = (Store::default(), Model::new());
        for command in &commands {
            prop_assert_eq!(store.apply(command), model_apply(&mut model, command), "{:?}", command);
        }
    }

    #[test]
    fn a_batch_survives_the_wire(commands in prop::collection::vec(any_command(), 0..20)) {
        prop_assert_eq!(Command::decode_batch(payload(&commands)), Ok(commands));
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Service::default().apply(Bytes::from(bytes), true);
    }

    #[test]
    fn replicas_with_the_same_deliveries_are_equal(
        batches in prop::collection::vec(prop::collection::vec(any_command(), 0..5), 0..10),
        origins in prop::collection::vec(any::<bool>(), 10),
    ) {
        let (mut here, mut there) = (Service::default(), Service::default());
        for (batch, own) in batches.iter().zip(origins) {
            here.apply(payload(batch), own).unwrap();
            there.apply(payload(batch), !own).unwrap();
        }
        prop_assert_eq!(here, there);
    }
}
