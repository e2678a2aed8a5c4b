//! Every algorithm of rounds holds what its entry says, and every mutant breaks what its entry says.
use super::*;

fn scenario(name: &str, (n, f): (usize, usize), failures: Failures) -> Scenario {
    Scenario {
        subject: name.parse().unwrap(),
        processes: Membership::of_size(n).unwrap(),
        f,
        rounds: None,
        failures,
    }
}

fn tags(judged: &Judged) -> Vec<&'static str> {
    judged.broken.iter().map(|broken| broken.property).collect()
}

#[test]
fn what_is_said_of_each_algorithm_holds_under_every_pattern() {
    for entry in &ENTRIES {
        let sizes: &[(usize, usize)] = match entry.name {
            "one-round" => &[(3, 0), (4, 0)],
            _ => &[(3, 1), (4, 2)],
        };
        for size in sizes {
            let (runs, first) = scenario(entry.name, *size, Failures::Crashes).exhaust();
            assert!(runs >= 8, "{}", entry.name);
            assert!(first.is_none(), "{}: {}", entry.name, first.unwrap().grid);
        }
    }
}

#[test]
fn each_mutant_breaks_the_property_that_is_said() {
    for entry in &ENTRIES {
        for mutant in entry.mutants {
            let found = scenario(mutant.name, (4, 2), mutant.under).hunt(5_000);
            let broken = found.map(|(_, judged)| tags(&judged)).unwrap_or_default();
            let breaks = mutant.breaks;
            assert!(broken.contains(&breaks), "{}: {broken:?}", mutant.name);
        }
    }
}

#[test]
fn one_round_is_not_enough_for_a_crash() {
    let (_, first) = scenario("one-round", (3, 1), Failures::Crashes).exhaust();
    assert_eq!(tags(&first.unwrap()), ["C2"]);
}

#[test]
fn fewer_rounds_than_f_plus_one_break_agreement() {
    let less = Scenario {
        rounds: Some(2),
        ..scenario("floodset", (4, 2), Failures::Crashes)
    };
    let (_, first) = less.exhaust();
    assert_eq!(tags(&first.unwrap()), ["C2"]);
}

#[test]
fn a_seed_is_a_run() {
    let scenario = scenario("early-stopping", (5, 2), Failures::Crashes);
    let texts = || (0..50).map(|seed| scenario.run(seed).grid.to_string());
    assert!(texts().eq(texts()));
    assert_ne!(texts().next(), texts().nth(1));
}

#[test]
fn names_are_found_and_others_are_not() {
    for name in [
        "floodset",
        "flood-set",
        "flood-set-sends-again",
        "one-round",
    ] {
        assert!(name.parse::<Subject>().is_ok(), "{name}");
    }
    assert!("eager".parse::<Subject>().is_err());
}
