//! The table of the commands: what `COMMAND` tells of them, and how many arguments each takes.
use super::answer::Answer;
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
}

const fn entry(
    name: &'static str,
    arity: i64,
    flags: &'static [&'static str],
    keys: [i64; 3],
) -> Entry {
    Entry {
        name,
        arity,
        flags,
        keys,
    }
}

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
    entry("get", 2, READ, ONE),
    entry("set", -3, WRITE, ONE),
    entry("incr", 2, WRITE, ONE),
    entry("mget", -2, READ, ALL),
    entry("mset", -3, WRITE, PAIRS),
    entry("del", -2, REMOVE, ALL),
    entry("exists", -2, READ, ALL),
    entry("ping", -1, OWN, NONE),
    entry("append", 3, WRITE, ONE),
    entry("decr", 2, WRITE, ONE),
    entry("decrby", 3, WRITE, ONE),
    entry("getdel", 2, REMOVE, ONE),
    entry("getset", 3, WRITE, ONE),
    entry("incrby", 3, WRITE, ONE),
    entry("msetnx", -3, WRITE, PAIRS),
    entry("setnx", 3, WRITE, ONE),
    entry("strlen", 2, READ, ONE),
    entry("dbsize", 1, READ, NONE),
    entry("flushall", -1, REMOVE, NONE),
    entry("flushdb", -1, REMOVE, NONE),
    entry("auth", -2, OWN, NONE),
    entry("client", -2, OWN, NONE),
    entry("command", -1, OWN, NONE),
    entry("config", -2, OWN, NONE),
    entry("echo", 2, OWN, NONE),
    entry("hello", -1, OWN, NONE),
    entry("info", -1, OWN, NONE),
    entry("quit", -1, OWN, NONE),
    entry("reset", 1, OWN, NONE),
    entry("select", 2, OWN, NONE),
    entry("lock.acquire", -3, BLOCKS, ONE),
    entry("lock.renew", 3, REMOVE, ONE),
    entry("lock.release", 3, REMOVE, ONE),
    entry("lock.holder", 2, READ, ONE),
    entry("lock.get", 4, READ, ONE),
    entry("lock.set", 5, WRITE, ONE),
    entry("lock.del", 4, REMOVE, ONE),
];

impl Entry {
    /// Whether a request may have so many words, including the name.
    pub fn takes(&self, words: usize) -> bool {
        let words = i64::try_from(words).unwrap_or(i64::MAX);
        words == self.arity || (self.arity < 0 && words >= -self.arity)
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

    #[test]
    fn arity_is_exact_or_the_least() {
        let takes = |name: &str, words| find(name.as_bytes()).unwrap().takes(words);
        assert!(takes("GET", 2) && !takes("GET", 1) && !takes("get", 3));
        assert!(takes("SET", 3) && takes("set", 9) && !takes("set", 2));
        assert!(find(b"nosuch").is_none());
    }
}
