use super::*;
use crate::{file, system::Flaw, system::Pattern};
use quorate_core::{Membership, ProcessId};
use rand::{RngExt, SeedableRng};

type Draw = quorate_core::Random;

fn shipped(name: &str) -> FailProneSystem {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/../../config/quorums/{name}.toml");
    file::parse(&std::fs::read_to_string(path).unwrap())
        .unwrap()
        .system
}

fn exists(answer: Answer) -> Witness {
    match answer {
        Answer::Exists(witness) => witness,
        other => panic!("{other:?}"),
    }
}

fn named(system: &FailProneSystem, sets: impl IntoIterator<Item = ProcessSet>) -> Vec<String> {
    sets.into_iter().map(|set| system.named(set)).collect()
}

#[test]
fn figure_1_has_the_solution_of_the_paper_and_no_other() {
    let system = shipped("figure-1");
    let witness = exists(decide(&system, Kind::Generalized, BUDGET));
    assert_eq!(witness.is_unique, Some(true));
    let writes = witness.choices.iter().map(|choice| choice.write);
    assert_eq!(
        named(&system, writes),
        ["{a, b}", "{b, c}", "{c, d}", "{a, d}"]
    );
    let largest = witness.choices.iter().map(|choice| choice.read);
    assert_eq!(
        named(&system, largest),
        ["{a, b, c}", "{b, c, d}", "{a, c, d}", "{a, b, d}"]
    );
    let reads = witness.reads.iter().copied();
    assert_eq!(
        named(&system, reads),
        ["{a, c}", "{b, d}", "{a, c}", "{b, d}"]
    );
    let guaranteed = system.verify(&witness.quorums()).unwrap();
    assert_eq!(
        named(&system, guaranteed),
        ["{a, b}", "{b, c}", "{c, d}", "{a, d}"]
    );
}

#[test]
fn figure_1_has_no_quorums_that_are_strongly_connected_with_each_other() {
    let system = shipped("figure-1");
    let answer = decide(&system, Kind::StronglyConnected, BUDGET);
    assert!(matches!(answer, Answer::Impossible(_)), "{answer:?}");
}

#[test]
fn figure_1_with_one_more_channel_failure_has_none() {
    // All four patterns are needed: in each of the three systems, any three of them agree.
    for name in ["without-ab", "without-ba", "without-ca"] {
        let system = shipped(&format!("figure-1-{name}"));
        let Answer::Impossible(certificate) = decide(&system, Kind::Generalized, BUDGET) else {
            panic!("{name}");
        };
        assert_eq!(certificate.patterns, [0, 1, 2, 3], "{name}");
        for left_out in 0..4 {
            let mut fewer = system.clone();
            fewer.patterns.remove(left_out);
            exists(decide(&fewer, Kind::Generalized, BUDGET));
        }
    }
}

#[test]
fn five_processes_have_the_like_and_the_classical_ones_are_verified() {
    let five = shipped("five");
    let witness = exists(decide(&five, Kind::Generalized, BUDGET));
    let writes = witness.choices.iter().map(|choice| choice.write);
    assert_eq!(
        named(&five, writes),
        ["{p1, p2}", "{p2, p3}", "{p3, p4}", "{p4, p5}", "{p1, p5}"]
    );
    let reads = witness.reads.iter().copied();
    assert!(named(&five, reads).contains(&"{p1, p3, p4}".to_owned()));
    assert!(five.verify(&witness.quorums()).is_ok());
    for name in ["majorities-5", "grid-3x3", "weighted"] {
        let root = env!("CARGO_MANIFEST_DIR");
        let path = format!("{root}/../../config/quorums/{name}.toml");
        let described = file::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        let verified = described.system.verify(&described.quorums.unwrap());
        assert!(verified.is_ok(), "{name}: {verified:?}");
        let found = exists(decide(&described.system, Kind::Generalized, BUDGET));
        assert!(described.system.verify(&found.quorums()).is_ok(), "{name}");
    }
}

#[test]
fn quorums_that_do_not_meet_or_are_not_available_are_named() {
    let system = shipped("majorities-5");
    let quorums = |reads, writes| Quorums {
        reads: Family::AtLeast(reads),
        writes: Family::AtLeast(writes),
    };
    assert!(matches!(
        system.verify(&quorums(2, 3)),
        Err(Flaw::Disjoint { .. })
    ));
    assert!(matches!(
        system.verify(&quorums(4, 3)),
        Err(Flaw::Unavailable { .. })
    ));
    let weighted = Quorums {
        reads: Family::Weighted {
            weights: vec![3, 1, 1, 1, 1],
            at_least: 4,
        },
        writes: Family::Weighted {
            weights: vec![3, 1, 1, 1, 1],
            at_least: 3,
        },
    };
    assert!(matches!(
        system.verify(&weighted),
        Err(Flaw::Disjoint { .. })
    ));
}

#[test]
fn where_all_may_crash_there_is_nothing() {
    let mut system = shipped("figure-1");
    system.patterns[2].crash = system.processes.set();
    let certificate = Certificate { patterns: vec![2] };
    assert_eq!(
        decide(&system, Kind::Generalized, BUDGET),
        Answer::Impossible(certificate)
    );
}

fn random_system(draw: &mut Draw, n: usize, patterns: usize) -> FailProneSystem {
    let crash = [0.1, 0.25][draw.random_range(0..2)];
    let fails = [0.2, 0.5, 0.8][draw.random_range(0..3)];
    random_system_of(draw, n, patterns, crash, fails)
}

/// Each process may crash with the first probability, and each channel may fail with the second.
fn random_system_of(
    draw: &mut Draw,
    n: usize,
    patterns: usize,
    crash: f64,
    fails: f64,
) -> FailProneSystem {
    let processes = Membership::of_size(n).unwrap();
    let pattern = |draw: &mut Draw, index: usize| {
        let mut subset = |chance: f64| -> ProcessSet {
            processes
                .iter()
                .filter(|_| draw.random_bool(chance))
                .collect()
        };
        let crash = subset(crash);
        let disconnect = processes.iter().map(|p| {
            let others = processes.others(p).without(crash);
            if crash.contains(p) {
                ProcessSet::EMPTY
            } else {
                subset(fails).intersection(others)
            }
        });
        Pattern {
            name: format!("f{index}"),
            crash,
            disconnect: disconnect.collect(),
        }
    };
    FailProneSystem {
        processes,
        names: (1..=n).map(|rank| format!("p{rank}")).collect(),
        patterns: (0..patterns).map(|index| pattern(draw, index)).collect(),
    }
}

/// Decides from the definitions alone: takes all pairs of a write and a read quorum of each pattern, keeps
/// those that lie within no others, and tries all choices of one pair per pattern.
fn by_force(system: &FailProneSystem) -> bool {
    let n = system.processes.n();
    let pairs = |pattern: &Pattern| -> Vec<(u32, u32)> {
        let alive = |p: usize| !pattern.crash.contains(ProcessId::from_rank(p + 1).unwrap());
        let mut path = vec![vec![false; n]; n];
        for (p, row) in path.iter_mut().enumerate() {
            for (q, edge) in row.iter_mut().enumerate() {
                let to = ProcessId::from_rank(q + 1).unwrap();
                *edge = alive(p) && alive(q) && (p == q || !pattern.disconnect[p].contains(to));
            }
        }
        for via in 0..n {
            for p in 0..n {
                for q in 0..n {
                    path[p][q] |= path[p][via] && path[via][q];
                }
            }
        }
        let members = |set: u32| (0..n).filter(move |p| set >> p & 1 == 1);
        let lead = |from: u32, to: u32| members(from).all(|p| members(to).all(|q| path[p][q]));
        let mut found: Vec<(u32, u32)> = Vec::new();
        for write in (1..1_u32 << n).rev().filter(|write| lead(*write, *write)) {
            for read in (1..1_u32 << n).rev().filter(|read| lead(*read, write)) {
                let is_within = |(w, r): &(u32, u32)| write & !w == 0 && read & !r == 0;
                if !found.iter().any(is_within) {
                    found.push((write, read));
                }
            }
        }
        found
    };
    let all: Vec<_> = system.patterns.iter().map(pairs).collect();
    choose(&all, &mut Vec::new())
}

/// Extends the chosen pairs by one of each remaining pattern that agrees with them.
fn choose(all: &[Vec<(u32, u32)>], chosen: &mut Vec<(u32, u32)>) -> bool {
    let Some(pairs) = all.get(chosen.len()) else {
        return true;
    };
    pairs.iter().any(|(write, read)| {
        let meets = chosen.iter().all(|(w, r)| write & r != 0 && w & read != 0);
        if !meets || write & read == 0 {
            return false;
        }
        chosen.push((*write, *read));
        let found = choose(all, chosen);
        chosen.pop();
        found
    })
}

#[test]
fn the_decision_is_that_of_brute_force() {
    let mut draw = Draw::seed_from_u64(5);
    let mut counts = [0; 2];
    for _ in 0..10_000 {
        let (n, patterns) = (draw.random_range(1..=5), draw.random_range(1..=5));
        let system = random_system(&mut draw, n, patterns);
        let expected = by_force(&system);
        counts[usize::from(expected)] += 1;
        match decide(&system, Kind::Generalized, BUDGET) {
            Answer::Exists(witness) => {
                assert!(expected, "{system:?}");
                let guaranteed = system.verify(&witness.quorums()).unwrap();
                let writes: Vec<_> = witness.choices.iter().map(|c| c.write).collect();
                assert_eq!(guaranteed, writes, "{system:?}");
            }
            Answer::Impossible(certificate) => {
                assert!(!expected, "{system:?}");
                let kept = certificate
                    .patterns
                    .iter()
                    .map(|i| system.patterns[*i].clone());
                let core = FailProneSystem {
                    patterns: kept.collect(),
                    ..system.clone()
                };
                assert!(!by_force(&core), "{certificate:?} of {system:?}");
            }
            Answer::Unknown => panic!("{system:?}"),
        }
    }
    assert!(counts[0] > 1000 && counts[1] > 1000, "{counts:?}");
}

/// 31 processes and 200 patterns, from those in which nearly nothing fails to those in which little stays; in
/// between, each pattern leaves several components, and no two contradict each other.
#[test]
fn a_large_system_is_decided_or_the_budget_is_said_to_be_spent() {
    let mut draw = Draw::seed_from_u64(31);
    let mut counts = [0; 3];
    for fails in [0.2, 0.5, 0.8, 0.86, 0.9, 0.92, 0.93, 0.94, 0.95, 0.97] {
        let system = random_system_of(&mut draw, 31, 200, 0.1, fails);
        let answer = decide(&system, Kind::Generalized, BUDGET);
        let what = match &answer {
            Answer::Exists(witness) => {
                assert!(system.verify(&witness.quorums()).is_ok());
                0
            }
            Answer::Impossible(certificate) => {
                let kept = certificate
                    .patterns
                    .iter()
                    .map(|i| system.patterns[*i].clone());
                let core = FailProneSystem {
                    patterns: kept.collect(),
                    ..system.clone()
                };
                let again = decide(&core, Kind::Generalized, BUDGET);
                assert!(!matches!(again, Answer::Exists(_)));
                1
            }
            Answer::Unknown => 2,
        };
        counts[what] += 1;
    }
    assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
    assert_eq!(
        decide(&formula(&mut draw, 30, 120).0, Kind::Generalized, 3),
        Answer::Unknown
    );
}

/// Thousands of patterns that leave one component each need no search.
#[test]
fn any_two_of_a_hundred_and_twenty_eight_may_crash() {
    let described = file::parse("processes = 128\ncrashes = 2\n").unwrap();
    let witness = exists(decide(&described.system, Kind::Generalized, 0));
    assert_eq!(witness.is_unique, Some(true));
    assert!(
        witness
            .choices
            .iter()
            .all(|choice| choice.write.len() == 126)
    );
    assert_eq!(witness.choices.len(), 128 * 127 / 2);
}

/// A formula of clauses of three literals as a fail-prone system: a clause is a pattern with one component
/// per literal, and two literals of different clauses that do not contradict each other have a process in
/// common. There is room for few clauses only.
fn formula(draw: &mut Draw, variables: i32, clauses: usize) -> (FailProneSystem, Vec<[i32; 3]>) {
    let literal = |draw: &mut Draw| {
        let variable = draw.random_range(1..=variables);
        if draw.random_bool(0.5) {
            variable
        } else {
            -variable
        }
    };
    let clauses: Vec<[i32; 3]> = (0..clauses.min(6))
        .map(|_| std::array::from_fn(|_| literal(draw)))
        .collect();
    let places: Vec<(usize, usize)> = (0..clauses.len())
        .flat_map(|clause| (0..3).map(move |place| (clause, place)))
        .collect();
    let mut members = vec![ProcessSet::EMPTY; places.len()];
    let mut next = 0;
    for (one, (clause, place)) in places.iter().enumerate() {
        for (other, (clause_2, place_2)) in places.iter().enumerate().skip(one + 1) {
            let contradict = clauses[*clause][*place] == -clauses[*clause_2][*place_2];
            if clause == clause_2 || contradict || next == 128 {
                continue;
            }
            next += 1;
            let shared = ProcessId::from_rank(next).unwrap();
            members[one].insert(shared);
            members[other].insert(shared);
        }
    }
    let processes = Membership::of_size(next.max(1)).unwrap();
    let pattern = |clause: usize| {
        let blocks = &members[3 * clause..3 * clause + 3];
        let alive = blocks
            .iter()
            .fold(ProcessSet::EMPTY, |all, block| all.union(*block));
        let fails = |p: ProcessId| {
            let own = blocks.iter().find(|block| block.contains(p));
            own.map_or(ProcessSet::EMPTY, |own| alive.without(*own))
        };
        Pattern {
            name: format!("clause {clause}"),
            crash: processes.set().without(alive),
            disconnect: processes.iter().map(fails).collect(),
        }
    };
    let system = FailProneSystem {
        processes,
        names: processes.iter().map(|p| p.to_string()).collect(),
        patterns: (0..clauses.len()).map(pattern).collect(),
    };
    (system, clauses)
}

fn is_satisfiable(variables: usize, clauses: &[[i32; 3]]) -> bool {
    (0..1_u32 << variables).any(|values| {
        let holds = |literal: &i32| {
            let value = values >> (literal.unsigned_abs() - 1) & 1 == 1;
            value == (*literal > 0)
        };
        clauses.iter().all(|clause| clause.iter().any(holds))
    })
}

#[test]
fn formulas_are_satisfiable_exactly_where_their_systems_have_quorums() {
    let mut draw = Draw::seed_from_u64(3);
    let mut counts = [0; 2];
    for _ in 0..400 {
        // Few variables, so that some formulas contradict themselves, and as many clauses as there is room
        // for.
        let (system, clauses) = formula(&mut draw, 1 + counts[1] % 2, 5);
        let variables = 2;
        let expected = is_satisfiable(variables, &clauses);
        counts[usize::from(expected)] += 1;
        let answer = decide(&system, Kind::Generalized, BUDGET);
        assert_eq!(matches!(answer, Answer::Exists(_)), expected, "{clauses:?}");
    }
    assert!(counts[0] > 10 && counts[1] > 10, "{counts:?}");
}

#[test]
fn two_satisfiability_and_the_search_agree() {
    let mut draw = Draw::seed_from_u64(2);
    let mut counts = [0; 2];
    for _ in 0..3000 {
        let system = random_system(&mut draw, 4, 4);
        let domains: Vec<_> = system.residuals().iter().map(Residual::choices).collect();
        if domains
            .iter()
            .any(|domain| domain.is_empty() || domain.len() > 2)
        {
            continue;
        }
        let agreement = Agreement::of(&domains);
        let quick = two_satisfiability::solve(&agreement);
        let found = Search::new(&agreement, &mut BUDGET.clone()).run();
        assert_eq!(
            quick.is_some(),
            matches!(found, Found::Solution(_)),
            "{system:?}"
        );
        if let Some(solution) = &quick {
            for (one, a) in solution.iter().enumerate() {
                for (other, b) in solution.iter().enumerate().filter(|(o, _)| *o != one) {
                    assert!(agree(domains[one][*a], domains[other][*b]));
                }
            }
        }
        counts[usize::from(quick.is_some())] += 1;
    }
    assert!(counts[0] > 20 && counts[1] > 20, "{counts:?}");
}
