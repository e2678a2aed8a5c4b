use super::*;
use quorate_runtime::node::GroupOrder;
use quorate_stacks::agreements::{Commit, Consensus};
use std::io::Write;

/// Loads the settings of the file `text` with the flags `settings`.
fn load(text: &str, settings: RawSettings) -> Result<NodeSettings> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let config = Some(file.path().to_owned());
    Source { config, settings }.load()
}

/// The one line of error that an operator reads for this file.
fn error(text: &str) -> String {
    let error = load(text, RawSettings::default()).unwrap_err();
    let line = format!("{error:#}");
    assert!(!line.contains('\n'), "{line}");
    line
}

const THREE: &str = "id = 2\npeers = ['a:1', 'b:1', 'c:1']\n";

#[test]
fn what_is_silent_has_a_default() {
    let settings = load(THREE, RawSettings::default()).unwrap();
    assert_eq!(settings.me.rank(), 2);
    assert_eq!(settings.transport, Transport::Udp);
    assert!(settings.client.ip().is_loopback());
    assert!(settings.admin.ip().is_loopback());
    assert!(!settings.faults);
}

#[test]
fn total_order_is_chosen_by_name() {
    let chosen = |name| {
        let text = format!("{THREE}[stack]\ntotal_order = '{name}'\n");
        load(&text, RawSettings::default()).map(|c| c.stack.order)
    };
    let silent = load(THREE, RawSettings::default()).unwrap();
    assert_eq!(silent.stack.order, GroupOrder::ByLeader);
    assert_eq!(chosen("by-consensus").unwrap(), GroupOrder::ByConsensus);
    for name in ["causal-waiting", "by-consensus-on-messages", "gossip"] {
        let error = format!("{:#}", chosen(name).unwrap_err());
        assert!(
            error.contains(name) && error.contains("by-leader"),
            "{error}"
        );
    }
}

#[test]
fn agreement_is_chosen_by_name() {
    let chosen = |table: &str| {
        let text = format!("{THREE}[stack]\n{table}\n");
        load(&text, RawSettings::default()).map(|c| c.stack)
    };
    let silent = chosen("").unwrap();
    assert_eq!(
        (silent.consensus, silent.commit, silent.synchrony),
        (Consensus::ByTotalOrder, Commit::TwoPhase, None)
    );
    let driven = chosen("consensus = 'leader-driven'").unwrap();
    assert_eq!(driven.consensus, Consensus::LeaderDriven);
    assert_ne!(driven, silent);
    let refused = |table| format!("{:#}", chosen(table).unwrap_err());
    let words = refused("consensus = 'raffle'");
    assert!(
        words.contains("`raffle`") && words.contains("rotating-coordinator"),
        "{words}"
    );
    let words = refused("commit = 'three-phase'");
    assert!(
        words.contains("`three-phase`") && words.contains("non-blocking"),
        "{words}"
    );
    let words = refused("assume = 'luck'");
    assert!(
        words.contains("`luck`") && words.contains("synchronous"),
        "{words}"
    );
    assert!(refused("losses = 1").contains("mean nothing without"));
}

#[test]
fn what_needs_a_synchronous_system_says_which_line_to_add() {
    for line in [
        "consensus = 'uniform-hierarchical'",
        "commit = 'non-blocking'",
    ] {
        let text = format!("{THREE}[stack]\n{line}\n");
        let words = error(&text);
        assert!(
            words.contains("add `assume = \"synchronous\"` to the table `[stack]`"),
            "{words}"
        );
        let text = format!("{text}assume = 'synchronous'\ndelay_ms = 400\nlosses = 1\n");
        let stack = load(&text, RawSettings::default()).unwrap().stack;
        assert!(stack.synchrony.is_some());
        assert!(stack.synchrony.is_some());
    }
}

#[test]
fn a_key_that_moved_says_where_to() {
    let line = error(&format!("{THREE}total_order = 'by-leader'\n"));
    assert!(
        line.contains(":3: `total_order` is in the table `[stack]` now"),
        "{line}"
    );
    let line = error(&format!("{THREE}[stack]\nordering = 'by-leader'\n"));
    assert!(line.contains(":4: unknown field `ordering`"), "{line}");
}

#[test]
fn flags_win_over_the_file() {
    let flags = RawSettings {
        id: Some(3),
        transport: Some(Transport::Tcp),
        ..RawSettings::default()
    };
    let settings = load(&format!("{THREE}cluster = 'file'\n"), flags).unwrap();
    assert_eq!(settings.me.rank(), 3);
    assert_eq!(settings.transport, Transport::Tcp);
    assert_eq!(settings.cluster, "file");
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let line = error(&format!("{THREE}\n# a comment\nheartbeat = 5\n"));
    assert!(line.contains(":5: unknown field `heartbeat`"), "{line}");
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_line() {
    let line = error("id = 1\npeers = 'a:1'\n");
    assert!(line.contains(":2: "), "{line}");
}

#[test]
fn mistakes_are_named() {
    for (text, words) in [
        ("id = 1\n", "`peers` is not set"),
        ("peers = ['a:1']\n", "`id` is not set"),
        ("id = 1\npeers = []\n", "1 to 128 processes, not 0"),
        ("id = 0\npeers = ['a:1']\n", "`id` is 0"),
        ("id = 2\npeers = ['a:1']\n", "the processes 1 to 1"),
        (
            "id = 1\npeers = ['a:1', 'b:1', 'a:1']\n",
            "processes 1 and 3 are both at a:1",
        ),
        ("id = 1\npeers = ['a']\n", "no HOST:PORT"),
        ("id = 1\npeers = ['a:0']\n", "no HOST:PORT"),
        ("id = 1\npeers = ['127.0.0.1:0']\n", "no HOST:PORT"),
        ("id = 1\npeers = ['a b:1']\n", "no HOST:PORT"),
        (
            "id = 1\npeers = ['a:1', 'A:1']\n",
            "processes 1 and 2 are both at A:1",
        ),
        ("id = 1\npeers = ['a:1']\nwindow = 0\n", "`window` is 0"),
        (
            "id = 1\npeers = ['a:1']\nsuspicion_ms = 60\n",
            "at least twice",
        ),
        (
            "id = 1\npeers = ['a:1']\nclient = '127.0.0.1:1'\nadmin = '127.0.0.1:1'\n",
            "both 127.0.0.1:1",
        ),
    ] {
        let line = error(text);
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn what_generalized_access_floods_must_fit_into_datagrams() {
    let quorums = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../config/quorums/five.toml"
    );
    let error_of = |settings: &str, access: &str| {
        let peers = "id = 1\npeers = ['a:1', 'b:1', 'c:1', 'd:1', 'e:1']\n";
        let registers = format!("[registers]\nquorums = '{quorums}'\naccess = '{access}'\n");
        let loaded = load(
            &format!("{peers}{settings}\n{registers}"),
            RawSettings::default(),
        );
        loaded.err().map(|error| format!("{error:#}"))
    };
    let words = "`datagram` is 1000, but `access = \"generalized\"` needs at least 1050";
    assert_eq!(
        error_of("datagram = 1000", "generalized").as_deref(),
        Some(words)
    );
    assert_eq!(error_of("datagram = 1050", "generalized"), None);
    let stream = "datagram = 1000\ntransport = 'tcp'";
    assert_eq!(error_of(stream, "generalized"), None);
}

#[test]
fn keys_are_said_together_and_once_for_each_process() {
    let folder = tempfile::tempdir().unwrap();
    let list = crate::keys::cluster::make(&folder.path().join("keys"), 3).unwrap();
    let path = folder.path().join("node.toml");
    let load = |text: &str| {
        std::fs::write(&path, format!("{THREE}{text}")).unwrap();
        let config = Some(path.clone());
        let settings = RawSettings::default();
        Source { config, settings }.load()
    };
    // Relative paths begin at the folder of the configuration file.
    let good = "secret = 'keys/p2/secret'\nidentities_file = 'keys/members/identities'\n";
    let keys = load(good).unwrap().keys.unwrap();
    let identities = std::fs::read_to_string(&list).unwrap();
    let lines: Vec<_> = identities.lines().collect();
    let expected: Vec<(usize, String)> = (1..).zip(lines.iter().map(ToString::to_string)).collect();
    let found = keys.identities.iter();
    let found: Vec<_> = found.map(|(p, it)| (p.rank(), it.to_string())).collect();
    assert_eq!(found, expected);
    assert_eq!(keys.read().unwrap().identity(), keys.identities[1].1);
    assert_eq!(load("").unwrap().keys, None);

    // The same beside `peers`, with a second identity and a comment.
    let array = format!(
        "secret = 'keys/p2/secret'\nidentities = ['{} {}', '{}', '{}']\n",
        lines[0], lines[1], lines[1], lines[2]
    );
    let seats = load(&array).unwrap().keys.unwrap().identities;
    let seats: Vec<_> = seats.iter().map(|(p, _)| p.rank()).collect();
    assert_eq!(seats, [1, 1, 2, 3]);
    let commented = format!("# p1\n\n{} # old\n{}\n{}\n", lines[0], lines[1], lines[2]);
    std::fs::write(&list, commented).unwrap();
    assert!(load(good).unwrap().keys.is_some());

    let refused = [
        ("secret = 'keys/p2/secret'\n", "no identities"),
        (
            "identities_file = 'keys/members/identities'\n",
            "no `secret`",
        ),
        (&format!("{good}identities = []\n"), "both set"),
        (
            "secret = 'keys/p2/secret'\nidentities = ['x']\n",
            "1 lines of identities",
        ),
        (
            "secret = 'keys/p2/secret'\nidentities = ['x', 'y', 'z']\n",
            "process 1",
        ),
        (
            &array.replacen(lines[2], "", 1),
            "process 3 has no identity",
        ),
        (
            "secret = 'keys/p2/secret'\nidentities_file = 'nowhere'\n",
            "nowhere",
        ),
    ];
    for (text, words) in refused {
        let error = load(text).unwrap_err();
        let line = format!("{error:#}");
        assert!(line.contains(words) && !line.contains('\n'), "{line}");
    }
    // Who has been given the secret of somebody else.
    let keys = load("secret = 'nowhere'\nidentities_file = 'keys/members/identities'\n");
    let error = keys.unwrap().keys.unwrap().read().unwrap_err();
    assert!(format!("{error:#}").contains("`secret`"), "{error:#}");
}
