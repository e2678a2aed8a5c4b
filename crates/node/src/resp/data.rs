//! Requests about keys: turns the words of a request into a command of the store.
use super::{
    answer::Answer,
    table::{self, wrong_number},
};
use bytes::Bytes;
use quorate_services::kv::{Command, SetCondition, SetReply, parse_integer};

const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

/// The command of a request. Its name, in small letters, and its number of words have been checked. The error
/// is what the client is told.
pub fn command(name: &'static str, arguments: Vec<Bytes>) -> Result<Command, Answer> {
    let count = arguments.len();
    let mut rest = arguments.into_iter();
    let mut next = || rest.next().ok_or_else(|| wrong_number(name));
    Ok(match name {
        "get" => Command::Get(next()?),
        "set" => {
            let (key, value) = (next()?, next()?);
            set(key, value, rest)?
        }
        "setnx" => Command::SetIf {
            key: next()?,
            value: next()?,
            condition: SetCondition::Absent,
            wanted: SetReply::Count,
        },
        "getset" => Command::SetIf {
            key: next()?,
            value: next()?,
            condition: SetCondition::Always,
            wanted: SetReply::Before,
        },
        "getdel" => Command::GetDel(next()?),
        "del" => Command::Del(rest.collect()),
        "exists" => Command::Exists(rest.collect()),
        "incr" => Command::IncrBy(next()?, 1),
        "decr" => Command::IncrBy(next()?, -1),
        "incrby" => Command::IncrBy(next()?, integer(&next()?)?),
        "decrby" => {
            let (key, amount) = (next()?, integer(&next()?)?);
            let amount = amount.checked_neg();
            Command::IncrBy(
                key,
                amount.ok_or_else(|| Answer::error("ERR decrement would overflow"))?,
            )
        }
        "append" => Command::Append(next()?, next()?),
        "strlen" => Command::StrLen(next()?),
        "mset" | "msetnx" if !count.is_multiple_of(2) => return Err(wrong_number(name)),
        "mset" => Command::MSet(pairs(rest)),
        "msetnx" => Command::MSetNx(pairs(rest)),
        "mget" => Command::MGet(rest.collect()),
        "dbsize" => Command::DbSize,
        "flushall" | "flushdb" => {
            let how = rest.as_slice();
            let known = |how: &Bytes| ["SYNC", "ASYNC"].iter().any(|word| is(how, word));
            if how.len() > 1 || !how.iter().all(known) {
                return Err(Answer::error("ERR syntax error"));
            }
            Command::FlushAll
        }
        _ => return Err(unknown(name.as_bytes())),
    })
}

/// The error for a command that does not exist.
pub fn unknown(name: &[u8]) -> Answer {
    Answer::Error(format!("ERR unknown command '{}'", table::shown(name)))
}

/// Whether a word is this one, in capital letters or small ones.
pub fn is(word: &[u8], expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected.as_bytes())
}

/// The integer that a word spells, as strictly as Redis reads it.
pub fn integer(word: &[u8]) -> Result<i64, Answer> {
    parse_integer(word).ok_or_else(|| Answer::error(NOT_AN_INTEGER))
}

fn pairs(mut rest: impl Iterator<Item = Bytes>) -> Vec<(Bytes, Bytes)> {
    std::iter::from_fn(|| rest.next().zip(rest.next())).collect()
}

fn set(key: Bytes, value: Bytes, options: impl Iterator<Item = Bytes>) -> Result<Command, Answer> {
    let (mut condition, mut wanted) = (SetCondition::Always, SetReply::Done);
    for option in options {
        let is = |word| is(&option, word);
        if is("NX") && condition != SetCondition::Present {
            condition = SetCondition::Absent;
        } else if is("XX") && condition != SetCondition::Absent {
            condition = SetCondition::Present;
        } else if is("GET") {
            wanted = SetReply::Before;
        } else if ["EX", "PX", "EXAT", "PXAT", "KEEPTTL"].into_iter().any(is) {
            return Err(Answer::error(
                "ERR keys do not expire here: EX, PX, EXAT, PXAT and KEEPTTL are not supported",
            ));
        } else {
            return Err(Answer::error("ERR syntax error"));
        }
    }
    Ok(match (condition, wanted) {
        (SetCondition::Always, SetReply::Done) => Command::Set(key, value),
        _ => Command::SetIf {
            key,
            value,
            condition,
            wanted,
        },
    })
}
