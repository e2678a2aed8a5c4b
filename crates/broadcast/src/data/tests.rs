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
    let check = |numbering: &Numbering, id| numbering.check(id, &mut WatermarkSet::default());
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
    assert_eq!(numbering.check(beyond, &mut delivered), refused);
    delivered.insert(id(2, 2, 1));
    assert_eq!(numbering.check(beyond, &mut delivered), Ok(()));
    let last = id(2, 2, u64::MAX);
    assert_eq!(numbering.check(last, &mut delivered), refused);
}

#[test]
fn behind_a_message_that_never_comes_an_origin_is_heard_for_ever() {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let p1 = world.membership().coordinator(1);
    let numbering = Numbering::new(&world.host(p1));
    let mut delivered = WatermarkSet::default();
    for sequence in (1..=3 * WINDOW).filter(|sequence| *sequence != 7 && *sequence != 9) {
        let id = id(2, 2, sequence);
        assert_eq!(numbering.check(id, &mut delivered), Ok(()), "{sequence}");
        assert!(delivered.insert(id));
    }
    assert_eq!(
        (delivered.low(id(2, 2, 1).origin), delivered.gaps()),
        (3 * WINDOW, 0)
    );
    assert!(!delivered.insert(id(2, 2, 7)), "it is too late");
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
