use super::*;
use proptest::{collection, prelude::*};
use std::fmt::Debug;

fn joined<L: Lattice>(one: &L, other: &L) -> L {
    let mut joined = one.clone();
    joined.join(other);
    joined
}

/// Checks the laws of a lattice with three of its values.
fn keeps_the_laws<L: Lattice + Debug>(a: &L, b: &L, c: &L) {
    let ab = joined(a, b);
    assert_eq!(ab, joined(b, a), "commutative");
    assert_eq!(joined(&ab, c), joined(a, &joined(b, c)), "associative");
    assert_eq!(joined(a, a), *a, "idempotent");
    assert_eq!(joined(a, &L::default()), *a, "⊥ is the least");
    for (one, other) in [(a, b), (b, c), (a, a), (a, &ab), (&ab, a)] {
        let by_join = joined(one, other) == *other;
        assert_eq!(one.is_at_most(other), by_join, "{one:?} ≤ {other:?}");
    }
    assert!(a.is_at_most(a) && a.is_at_most(&ab) && b.is_at_most(&ab));
    assert!(
        !(a.is_at_most(b) && b.is_at_most(a)) || a == b,
        "antisymmetric"
    );
    let abc = joined(&ab, c);
    assert!(ab.is_at_most(&abc) && a.is_at_most(&abc), "transitive");
    assert!(
        !(a.is_at_most(c) && b.is_at_most(c)) || ab.is_at_most(c),
        "least"
    );
    assert_eq!(L::decode(encode(a)).as_ref(), Ok(a), "the wire");
}

fn union() -> impl Strategy<Value = Union<u8>> {
    collection::btree_set(0..6_u8, 0..5).prop_map(Union)
}

fn maxima() -> impl Strategy<Value = Maxima<u8, u16>> {
    collection::btree_map(0..4_u8, 0..4_u16, 0..4).prop_map(Maxima)
}

fn last_writer() -> impl Strategy<Value = LastWriter<u8, String>> {
    let written = (0..3_u64, 1..=3_usize, "[ab]").prop_map(|(timestamp, rank, value)| Written {
        timestamp,
        writer: ProcessId::from_rank(rank).unwrap(),
        value,
    });
    collection::btree_map(0..3_u8, written, 0..4).prop_map(LastWriter)
}

fn four_point() -> impl Strategy<Value = FourPoint> {
    prop_oneof![
        Just(FourPoint::Bottom),
        Just(FourPoint::Left),
        Just(FourPoint::Right),
        Just(FourPoint::Top),
    ]
}

proptest! {
    #[test]
    fn sets_are_a_lattice(a in union(), b in union(), c in union()) {
        keeps_the_laws(&a, &b, &c);
    }

    #[test]
    fn maps_of_maxima_are_a_lattice(a in maxima(), b in maxima(), c in maxima()) {
        keeps_the_laws(&a, &b, &c);
    }

    #[test]
    fn last_writer_maps_are_a_lattice(a in last_writer(), b in last_writer(), c in last_writer()) {
        keeps_the_laws(&a, &b, &c);
    }

    #[test]
    fn bits_are_a_lattice(a in 0..16_u64, b in 0..16_u64, c in 0..16_u64) {
        keeps_the_laws(&Bits(a), &Bits(b), &Bits(c));
        prop_assert_eq!(Bits::joined(a, b), joined(&Bits(a), &Bits(b)).digest());
    }

    #[test]
    fn packed_maxima_are_a_lattice(a: [u8; 8], b: [u8; 8], c: [u8; 8]) {
        let [a, b, c] = [a, b, c].map(PackedMaxima);
        keeps_the_laws(&a, &b, &c);
        let digest = PackedMaxima::joined(a.digest(), b.digest());
        prop_assert_eq!(digest, joined(&a, &b).digest());
    }

    #[test]
    fn four_points_are_a_lattice(a in four_point(), b in four_point(), c in four_point()) {
        keeps_the_laws(&a, &b, &c);
        let digest = Bits::joined(a.digest(), b.digest());
        prop_assert_eq!(digest, joined(&a, &b).digest());
    }

    #[test]
    fn garbage_never_panics(bytes in collection::vec(any::<u8>(), 0..100)) {
        let bytes = Bytes::from(bytes);
        let _ = Union::<String>::decode(bytes.clone());
        let _ = Maxima::<u64, String>::decode(bytes.clone());
        let _ = LastWriter::<String, Vec<u8>>::decode(bytes.clone());
        let _ = FourPoint::decode(bytes);
    }
}

#[test]
fn the_last_write_of_a_key_counts() {
    let [p1, p2] = [1, 2].map(|rank| ProcessId::from_rank(rank).unwrap());
    let [mut one, mut other]: [LastWriter<u8, u8>; 2] = Default::default();
    one.write(p1, 0, 1);
    other.write(p2, 0, 2);
    other.join(&one);
    assert_eq!(other.get(&0), Some(&2));
    one.join(&other);
    one.write(p1, 0, 3);
    other.join(&one);
    assert_eq!(other.get(&0), Some(&3));
}
