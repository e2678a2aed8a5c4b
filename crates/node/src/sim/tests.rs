use super::*;
use clap::Parser;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    sim: Sim,
}

impl Sim {
    fn subject(&self) -> Subject {
        match self.stack {
            Stack::Events(subject) => subject,
            Stack::Rounds(_) => panic!("it runs in rounds"),
        }
    }
}

/// The command, as a shell would split it.
fn sim(arguments: &str) -> Sim {
    let arguments = arguments.replace('\'', "");
    let words = std::iter::once("sim").chain(arguments.split_whitespace());
    Command::try_parse_from(words).unwrap().sim
}

#[test]
fn a_violation_is_an_error_and_a_sound_algorithm_is_not() {
    let ideal = "--layers ideal --seeds 0..200";
    assert!(sim(&format!("uniform --crash 1 {ideal}")).run().is_ok());
    assert!(sim(&format!("one-ack {ideal}")).run().is_err());
    assert!(
        sim(&format!("uniform --crash 2 {ideal}")).run().is_err(),
        "a majority must live"
    );
}

#[test]
fn a_mutant_by_a_published_rule_runs_and_says_its_erratum() {
    let sim = sim("views-erase-the-early --layers ideal --seeds 0..2000");
    let said = changed(sim.subject()).unwrap();
    assert!(
        said.contains("of views-by-consensus, to break VS4") && said.contains("published: D8-E4"),
        "{said}"
    );
    assert!(sim.run().is_err());
    assert_eq!(changed("uniform".parse().unwrap()), None);
}

#[test]
fn a_mutant_runs_under_the_faults_that_show_its_violation() {
    for (_, mutant) in algorithms::mutants() {
        let sim = sim(mutant.name);
        let scenario = sim.scenario(sim.subject()).unwrap();
        assert_eq!(scenario.faults, mutant.under, "{}", mutant.name);
    }
    let sim = sim("answering-at-once --crash 0 --crash-at any --storm");
    let faults = sim.scenario(sim.subject()).unwrap().faults;
    assert!(faults.storm && faults.crashes == 0);
}

#[test]
fn the_order_of_seeds_does_not_matter() {
    let sim = sim("total-order --crash 1 --layers ideal");
    let scenario = sim.scenario(sim.subject()).unwrap();
    let hash = || run_all(&scenario, &(0..20)).unwrap().hash;
    assert_eq!(hash(), hash());
}

#[test]
fn a_replay_is_the_same_run() {
    for given in [
        "broken-uniform --processes 5",
        "datagrams",
        "eager --crash 2 --crash-at output --requests 3 --layers ideal",
        "sliding-window --loss 0.25 --duplicate 0.125 --crash 1",
        "total-order --cuts 2 --pauses 1 --accurate --cut 1-p2@50..300 --cut 3>1@7..",
        "leader-driven --processes 4 --crash 1 --storm",
        "by-leader --restarts 1 --bandwidth 500000 --queue 32768 --slow 1",
        "uniform --late 1 --start 2@300 --slow 2",
        "eager --processes 5 --omission general --omitting 2 --omit-chance 0.25 --requests 2",
        "eager --processes 5 --omit-send 1>2#1 --omit-send 1>3#2 --omit-receive 1>3#1",
        "lazy --omission send --beyond",
        "increasing-timeout --offset --drift 0.125 --jumps 2",
        "exclude-on-timeout --drift 0.05",
        "uniform --failures ../../config/failures/crash-and-partition.toml",
        "by-quorums --quorums ../../config/quorums/figure-1.toml \
         --failures ../../config/failures/figure-1-f1.toml",
        "exclude-on-timeout --timing synchronous --start-within 20",
        "leader-driven --timing eventually-synchronous --delta 30 --gst 1500 --phi 3",
        "majority-ack --timing asynchronous --requests 2",
        "by-quorums --quorums ../../config/quorums/figure-1.toml",
        "by-quorums --quorums ../../config/quorums/five.toml --pattern f2 --requests 2",
    ] {
        let given = sim(given);
        let given = given.scenario(given.subject()).unwrap();
        for seed in [10, 13] {
            let command = given.command(seed);
            let replay = sim(command.trim_start_matches("quorate sim "));
            assert_eq!(replay.seeds, seed..seed + 1);
            assert!(replay.pictures.diagram);
            let expected = Scenario {
                layers: given.layers_of(seed),
                ..given.clone()
            };
            let replayed = replay.scenario(replay.subject()).unwrap();
            assert_eq!(replayed, expected, "{command}");
            let hash = |scenario: &Scenario| scenario.run(seed, false).unwrap().report.hash;
            assert_eq!(hash(&replayed), hash(&given), "{command}");
        }
    }
}

#[test]
fn under_each_pattern_of_a_file_operations_return_where_it_says() {
    let figure_1 = "--quorums ../../config/quorums/figure-1.toml --requests 2 --seeds 0..8";
    let page = include_str!("../../../../docs/quorums.md");
    for subject in algorithms::on_systems() {
        assert!(page.contains(&format!("`{subject}`")), "{subject}");
        sim(&format!("{subject} {figure_1}")).run().unwrap();
    }
    let refused = |arguments: &str| sim(arguments).run().unwrap_err().to_string();
    let other = refused(&format!("by-leader {figure_1}"));
    assert!(other.contains("does not run on a quorum system"), "{other}");
    let unknown = sim(&format!("by-quorums {figure_1} --pattern f5"));
    let unknown = format!("{:#}", unknown.run().unwrap_err());
    assert!(
        unknown.contains("no pattern `f5`: there are f1, f2, f3, f4"),
        "{unknown}"
    );
    let none = "by-quorums --quorums ../../config/quorums/figure-1-without-ab.toml";
    let none = format!("{:#}", sim(none).run().unwrap_err());
    assert!(none.contains("Impossible"), "{none}");
}

#[test]
fn senseless_arguments_are_refused() {
    for bad in ["", "1>2", "1>2@x..3", "12@1..2", "0>1@1..2"] {
        assert!(parse_cut(bad).is_err(), "{bad}");
    }
    assert!(parse_seeds("5..5").is_err());
    assert!(parse_moment("noon").is_err());
    assert!(parse_layers("none").is_err());
}

#[test]
fn what_is_outside_the_failure_models_of_an_entry_is_refused() {
    let refused = |arguments: &str| sim(arguments).run().unwrap_err().to_string();
    for (outside, says) in [
        ("all-ack --omission send", "not judged under send omission"),
        (
            "all-ack --omit-receive 1>2#1",
            "not judged under receive omission",
        ),
        (
            "exclude-on-timeout --jumps 1",
            "not judged under clock jumps",
        ),
        ("exclude-on-timeout --drift 0.5", "stands on bounds"),
        (
            "all-ack --timing synchronous --delta 1000",
            "stands on bounds",
        ),
        (
            "all-ack --timing asynchronous",
            "a system that is synchronous",
        ),
        (
            "majority-ack --omission send --crash 1",
            "at most 1 crashes",
        ),
        ("eager --omission send --omit-chance 1.5", "no probability"),
        ("eager --drift -0.5", "no drift"),
        ("eager --omit-send 1>4#1", "p1 … p3"),
        (
            "eager --timing synchronous --pauses 1",
            "no bandwidths, cuts, pauses",
        ),
        (
            "eager --timing asynchronous --gst 5",
            "no GST, in an asynchronous system",
        ),
    ] {
        let said = refused(outside);
        assert!(said.contains(says), "{outside}: {said}");
    }
    let beyond = refused("lazy --omission send --layers ideal --beyond");
    assert!(beyond.contains("seeds violate a property"), "{beyond}");
    // Within them, what is kept alone is checked.
    sim("lazy --omission send --seeds 0..20").run().unwrap();
}

#[test]
fn algorithms_of_rounds_run_too() {
    for good in [
        "floodset --processes 4 --crash 2 --seeds 0..500",
        "flood-set --processes 4 --crash 2 --exhaustive",
        "flood-set --processes 4 --crash 1 --omission general --seeds 0..500",
        "early-stopping --processes 5 --crash 3 --omission send --seeds 0..500",
        "terminating-in-rounds --crash 1 --exhaustive",
    ] {
        sim(good).run().unwrap();
    }
    for bad in [
        "floodset --processes 4 --crash 2 --rounds 2 --exhaustive",
        "flood-set-sends-again --processes 4 --crash 1 --omission send --seeds 0..5000",
        "one-round --crash 1 --exhaustive",
        "floodset --crash 3",
        "floodset --shiviz -",
        "floodset --loss 0.1",
        "floodset --cut 1>2@5..",
        "floodset --restarts 1",
        "eager --rounds 2",
        "floodset --omission send --omit-chance 0.5",
        "floodset --drift 0.1",
        "floodset --timing synchronous",
    ] {
        assert!(sim(bad).run().is_err(), "{bad}");
    }
}

#[test]
fn a_violation_in_rounds_can_be_replayed() {
    let mutant =
        sim("flood-set-sends-again --processes 4 --crash 1 --omission send --seeds 0..5000");
    let said = mutant.run().unwrap_err().to_string();
    assert!(said.contains("of 5000 runs violate"), "{said}");
}

/// The commands of the page, each with what it says behind them.
#[test]
fn the_page_of_failure_models_says_what_its_commands_show() {
    let page = include_str!("../../../../docs/failure-models.md");
    let commands = page.lines().filter_map(|l| l.strip_prefix("quorate sim "));
    let mut count = 0;
    for line in commands {
        let (command, says) = line.split_once('#').unwrap();
        let shown = sim(command).run().map_err(|error| error.to_string());
        let (says, command) = (says.trim(), command.trim());
        let says = says.trim_start_matches("within its bounds: ");
        match says.split_once(" falls in ") {
            Some((_, runs)) => {
                let runs = runs.trim_end_matches(" runs");
                let expected = format!("{runs} seeds violate a property");
                assert_eq!(shown, Err(expected), "{command}");
            }
            None if says.ends_with(" falls") => {
                let expected = "1 of 1 seeds violate a property".to_owned();
                assert_eq!(shown, Err(expected), "{command}");
            }
            None => {
                assert_eq!(says, "everything holds", "{command}");
                assert_eq!(shown, Ok(()), "{command}");
            }
        }
        count += 1;
    }
    assert!(count >= 10, "{count} commands");
}
