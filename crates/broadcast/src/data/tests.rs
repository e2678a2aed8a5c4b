use super::*;
use quorate_core::Incarnation;
use quorate_sim::{Timed, World};

fn id(rank: usize, incarnation: u64, sequence: u64) -> MessageId {
    MessageId {
        origin: Origin {
            process: ProcessId::from_rank(rank).unwrap(),
            incarnation: Incarnation(incarnation),
        },
        sequence,
    }
}

#[test]
fn nobody_speaks_for_another() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let p1 = world.membership().coordinator(1);
    let mut numbering = Numbering::new(&world.host(p1));
    let delivered = WatermarkSet::default();
    let check = |numbering: &Numbering, id| numbering.check(id, &delivered);
    let impossible = Err("impossible identifier");
    assert_eq!(
        check(&numbering, id(1, 1, 1)),
        impossible,
        "this process has broadcast nothing"
    );
    assert_eq!(check(&numbering, id(4, 4, 1)), impossible, "outside Π");
    assert_eq!(check(&numbering, id(2, 2, 0)), impossible, "counted from 1");
    assert_eq!(check(&numbering, id(2, 2, 1)), Ok(()));
    assert_eq!(numbering.number(Bytes::new()).id, id(1, 1, 1));
    assert_eq!(check(&numbering, id(1, 1, 1)), Ok(()));
}

#[test]
fn nobody_makes_others_remember_without_bound() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let p1 = world.membership().coordinator(1);
    let numbering = Numbering::new(&world.host(p1));
    let mut delivered = WatermarkSet::default();
    let beyond = id(2, 2, WINDOW + 1);
    let refused = Err("identifier too far ahead");
    assert_eq!(numbering.check(beyond, &delivered), refused);
    delivered.insert(id(2, 2, 1));
    assert_eq!(numbering.check(beyond, &delivered), Ok(()));
    let last = id(2, 2, u64::MAX);
    assert_eq!(numbering.check(last, &delivered), refused);
}

#[test]
fn a_message_survives_the_wire() {
    let data = Data {
        id: id(2, u64::MAX, 9),
        payload: Bytes::from_static(b"m"),
    };
    assert_eq!(Data::decode(wire::encode(&data)), Ok(data));
    assert!(Data::decode(Bytes::from_static(&[1])).is_err());
}
