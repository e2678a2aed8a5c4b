//! The table of the commands: what `COMMAND` tells of them, and how many arguments each takes.
use super::{answer::Answer, data::is};
use crate::doors::users::Rights;
use bytes::Bytes;

/// The facts about a command that Redis tells.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// How many words a request has, including the name. If negative, the absolute value is the least number
    /// of words.
    arity: i64,
    flags: &'static [&'static str],
    /// The positions of the first and the last key, and the step between keys; zeros for commands without
    /// keys.
    keys: [i64; 3],
    /// What a client needs in order to run it; some words of a request can [need more](Entry::needs).
    needs: Needs,
}

/// What a client needs in order to run a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Nothing: it is how a client says who it is, or good-bye.
    Nothing,
    /// To be a user, whatever his rights: it concerns the client's own connection.
    AnyUser,
    /// All of these rights.
    Rights(Rights),
}

const fn entry(
    name: &'static str,
    arity: i64,
    flags: &'static [&'static str],
    keys: [i64; 3],
    needs: Needs,
) -> Entry {
    Entry {
        name,
        arity,
        flags,
        keys,
        needs,
    }
}

const FREE: Needs = Needs::Nothing;
const USER: Needs = Needs::AnyUser;
const READS: Needs = Needs::Rights(Rights::READ);
const WRITES: Needs = Needs::Rights(Rights::WRITE);
/// It changes a key, and what it returns says what was there.
const BOTH: Needs = Needs::Rights(Rights::READ.and(Rights::WRITE));
const ADMIN: Needs = Needs::Rights(Rights::ADMIN);

const READ: &[&str] = &["readonly"];
const WRITE: &[&str] = &["write", "denyoom"];
const REMOVE: &[&str] = &["write"];
const BLOCKS: &[&str] = &["write", "blocking"];
const OWN: &[&str] = &["loading", "stale", "fast"];
const ONE: [i64; 3] = [1, 1, 1];
const ALL: [i64; 3] = [1, -1, 1];
const PAIRS: [i64; 3] = [1, -1, 2];
const NONE: [i64; 3] = [0, 0, 0];

/// All commands; the most frequent ones come first.
const COMMANDS: &[Entry] = &[
    entry("get", 2, READ, ONE, READS),
    entry("set", -3, WRITE, ONE, WRITES),
    entry("incr", 2, WRITE, ONE, BOTH),
    entry("mget", -2, READ, ALL, READS),
    entry("mset", -3, WRITE, PAIRS, WRITES),
    entry("del", -2, REMOVE, ALL, WRITES),
    entry("exists", -2, READ, ALL, READS),
    entry("ping", -1, OWN, NONE, USER),
    entry("append", 3, WRITE, ONE, WRITES),
    entry("decr", 2, WRITE, ONE, BOTH),
    entry("decrby", 3, WRITE, ONE, BOTH),
    entry("getdel", 2, REMOVE, ONE, BOTH),
    entry("getset", 3, WRITE, ONE, BOTH),
    entry("incrby", 3, WRITE, ONE, BOTH),
    entry("msetnx", -3, WRITE, PAIRS, WRITES),
    entry("setnx", 3, WRITE, ONE, WRITES),
    entry("strlen", 2, READ, ONE, READS),
    entry("dbsize", 1, READ, NONE, READS),
    entry("flushall", -1, REMOVE, NONE, ADMIN),
    entry("flushdb", -1, REMOVE, NONE, ADMIN),
    entry("acl", -2, OWN, NONE, USER),
    entry("auth", -2, OWN, NONE, FREE),
    entry("client", -2, OWN, NONE, USER),
    entry("command", -1, OWN, NONE, USER),
    entry("config", -2, OWN, NONE, USER),
    entry("echo", 2, OWN, NONE, USER),
    entry("hello", -1, OWN, NONE, FREE),
    entry("info", -1, OWN, NONE, READS),
    entry("quit", -1, OWN, NONE, FREE),
    entry("reset", 1, OWN, NONE, FREE),
    entry("select", 2, OWN, NONE, USER),
    entry("lock.acquire", -3, BLOCKS, ONE, WRITES),
    entry("lock.renew", 3, REMOVE, ONE, WRITES),
    entry("lock.release", 3, REMOVE, ONE, WRITES),
    entry("lock.holder", 2, READ, ONE, READS),
    entry("lock.get", 4, READ, ONE, READS),
    entry("lock.set", 5, WRITE, ONE, WRITES),
    entry("lock.del", 4, REMOVE, ONE, WRITES),
];

impl Entry {
    /// Whether a request may have so many words, including the name.
    pub fn takes(&self, words: usize) -> bool {
        let words = i64::try_from(words).unwrap_or(i64::MAX);
        words == self.arity || (self.arity < 0 && words >= -self.arity)
    }

    /// What a client needs for a request of this command with these arguments, and by what name it is told so.
    pub fn needs(&self, arguments: &[Bytes]) -> (Needs, &'static str) {
        match (self.name, arguments) {
            // It returns the value that was there.
            ("set", [_, _, options @ ..]) if options.iter().any(|it| is(it, "GET")) => {
                (BOTH, self.name)
            }
            // It shows the other clients.
            ("client", [what, ..]) if is(what, "LIST") => (ADMIN, "client|list"),
            _ => (self.needs, self.name),
        }
    }

    fn tell(&self) -> Answer {
        let [first, last, step] = self.keys.map(Answer::Integer);
        let flags = self.flags.iter().map(|flag| Answer::Simple(flag));
        Answer::Array(vec![
            Answer::bulk(self.name),
            Answer::Integer(self.arity),
            Answer::Set(flags.collect()),
            first,
            last,
            step,
            // These are the categories of access control, hints, key specifications, and subcommands.
            Answer::Set(Vec::new()),
            Answer::Array(Vec::new()),
            Answer::Array(Vec::new()),
            Answer::Array(Vec::new()),
        ])
    }
}

/// The command of this name, in capital letters or small ones.
pub fn find(name: &[u8]) -> Option<&'static Entry> {
    COMMANDS
        .iter()
        .find(|entry| entry.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Answers `COMMAND` with these arguments.
pub fn answer(arguments: &[Bytes]) -> Answer {
    let Some((what, names)) = arguments.split_first() else {
        return Answer::Array(COMMANDS.iter().map(Entry::tell).collect());
    };
    match (&what.to_ascii_uppercase()[..], names) {
        (b"COUNT", []) => Answer::Integer(i64::try_from(COMMANDS.len()).unwrap_or(i64::MAX)),
        (b"LIST", []) => {
            let names = COMMANDS.iter().map(|entry| Answer::bulk(entry.name));
            Answer::Array(names.collect())
        }
        (b"INFO", []) => answer(&[]),
        (b"INFO", names) => {
            let told = |name: &Bytes| find(name).map_or(Answer::Null, Entry::tell);
            Answer::Array(names.iter().map(told).collect())
        }
        // No command has documentation.
        (b"DOCS", _) => Answer::Map(Vec::new()),
        (b"COUNT", _) => wrong_number("command|count"),
        (b"LIST", _) => Answer::error("ERR COMMAND LIST takes no filter here"),
        _ => unknown_subcommand(what, "COMMAND"),
    }
}

/// The error for a request that has too many words, or too few.
pub fn wrong_number(name: &str) -> Answer {
    Answer::Error(format!(
        "ERR wrong number of arguments for '{name}' command"
    ))
}

/// The error for a subcommand that does not exist.
pub fn unknown_subcommand(word: &[u8], command: &str) -> Answer {
    let word = shown(word);
    Answer::Error(format!(
        "ERR unknown subcommand '{word}'. Try {command} HELP."
    ))
}

/// The part of a client's word that an error quotes.
pub fn shown(word: &[u8]) -> String {
    let word = String::from_utf8_lossy(&word[..word.len().min(128)]);
    word.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_listed_and_told() {
        let ask = |words: &[&'static str]| {
            let words: Vec<Bytes> = words.iter().map(|w| Bytes::from(*w)).collect();
            answer(&words)
        };
        let Answer::Array(all) = ask(&[]) else {
            panic!("no array");
        };
        assert_eq!(all.len(), COMMANDS.len());
        assert_eq!(
            ask(&["Count"]),
            Answer::Integer(all.len().try_into().unwrap())
        );
        assert_eq!(ask(&["info"]), Answer::Array(all));
        let Answer::Array(two) = ask(&["INFO", "GET", "nosuch"]) else {
            panic!("no array");
        };
        assert_eq!(two[1], Answer::Null);
        assert!(matches!(&two[0], Answer::Array(told) if told.len() == 10));
        assert!(matches!(ask(&["NOSUCH"]), Answer::Error(words) if words.contains("'NOSUCH'")));
        assert_eq!(ask(&["DOCS", "get"]), Answer::Map(Vec::new()));
    }

    /// Redis' own flags say which commands read and which write, so that the two columns judge each other.
    #[test]
    fn each_command_needs_what_its_flags_say() {
        for entry in COMMANDS {
            let has = |flag| entry.flags.contains(&flag);
            let covers =
                |right| matches!(entry.needs, Needs::Rights(needed) if needed.cover(right));
            let name = entry.name;
            assert!(!(has("readonly") && has("write")), "{name}");
            if has("readonly") {
                assert_eq!(entry.needs, READS, "{name}");
            } else if has("write") {
                assert!(covers(Rights::WRITE) || entry.needs == ADMIN, "{name}");
            } else {
                assert_eq!(entry.keys, NONE, "{name}");
                assert!(
                    matches!(entry.needs, FREE | USER) || name == "info",
                    "{name}"
                );
            }
        }
        let free = COMMANDS.iter().filter(|entry| entry.needs == FREE);
        let free: Vec<_> = free.map(|entry| entry.name).collect();
        assert_eq!(free, ["auth", "hello", "quit", "reset"]);
    }

    #[test]
    fn some_words_need_more() {
        let needs = |words: &[&'static str]| {
            let words: Vec<Bytes> = words.iter().map(|w| Bytes::from(*w)).collect();
            find(&words[0]).unwrap().needs(&words[1..]).0
        };
        assert_eq!(needs(&["SET", "k", "v", "NX"]), WRITES);
        assert_eq!(needs(&["SET", "k", "GET"]), WRITES);
        assert_eq!(needs(&["SET", "k", "v", "NX", "get"]), BOTH);
        assert_eq!(needs(&["CLIENT", "ID"]), USER);
        assert_eq!(needs(&["client", "list"]), ADMIN);
    }

    #[test]
    fn arity_is_exact_or_the_least() {
        let takes = |name: &str, words| find(name.as_bytes()).unwrap().takes(words);
        assert!(takes("GET", 2) && !takes("GET", 1) && !takes("get", 3));
        assert!(takes("SET", 3) && takes("set", 9) && !takes("set", 2));
        assert!(find(b"nosuch").is_none());
    }
}
