//! How many patterns there are, and what they let through.
use super::*;
use rand::SeedableRng;

#[test]
fn all_patterns_of_a_size_are_there_once() {
    for (n, f, rounds, expected) in [(3, 1, 1, 13), (3, 1, 2, 25), (4, 2, 2, 1601), (2, 0, 3, 1)] {
        let processes = Membership::of_size(n).unwrap();
        let patterns = Pattern::all_crashes(&processes, f, rounds);
        let different: BTreeSet<String> = patterns.iter().map(Pattern::to_string).collect();
        assert_eq!(
            (patterns.len(), different.len()),
            (expected, expected),
            "n = {n}, f = {f}"
        );
    }
}

#[test]
fn a_crash_lets_through_what_it_names_and_nothing_later() {
    let processes = Membership::of_size(3).unwrap();
    let [p, q, r] = [1, 2, 3].map(|round| processes.coordinator(round));
    let pattern = Pattern::failure_free().crash(p, 2, [q].into_iter().collect());
    assert!(pattern.arrives(1, p, r) && pattern.arrives(2, p, q) && !pattern.arrives(2, p, r));
    assert!(!pattern.arrives(3, p, q) && pattern.arrives(3, q, p));
    assert!(pattern.computes(p, 1) && !pattern.computes(p, 2) && pattern.sends(p, 2));
    assert_eq!(pattern.to_string(), "p1 crashes in round 2, reaching p2");
}

#[test]
fn only_messages_of_the_faulty_are_omitted_and_never_those_to_oneself() {
    let processes = Membership::of_size(4).unwrap();
    let mut rng = Random::seed_from_u64(1);
    for kind in [
        OmissionKind::Send,
        OmissionKind::Receive,
        OmissionKind::General,
    ] {
        let mut seen = 0;
        for _ in 0..200 {
            let pattern = Pattern::random_omissions(&processes, 2, 3, kind, &mut rng);
            seen += pattern.omissions.len();
            assert!(pattern.faulty().len() <= 2);
            for (_, from, to) in &pattern.omissions {
                let faulty = pattern.faulty();
                assert_ne!(from, to);
                match kind {
                    OmissionKind::Send => assert!(faulty.contains(*from)),
                    OmissionKind::Receive => assert!(faulty.contains(*to)),
                    OmissionKind::General => {
                        assert!(faulty.contains(*from) || faulty.contains(*to));
                    }
                }
            }
        }
        assert!(seen > 1000, "{kind:?}: {seen}");
    }
}
