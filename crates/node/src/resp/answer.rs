//! The answers that a replica gives by itself, and how they are written in the two versions of the protocol.
//!
//! RESP3 has types that RESP2 does not have: in RESP2 a map is an array of alternating keys and values, a set
//! is an array, null is a null string, and a text is a string. Each answer has the type that Redis gives it.
use bytes::{Bytes, BytesMut};
use std::fmt::Write;

/// The version of the protocol that a client has chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// The version in which every connection begins.
    #[default]
    Resp2,
    /// The version after `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// Its number.
    pub fn number(self) -> i64 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }

    /// The encoding of null.
    pub fn null(self) -> &'static [u8] {
        match self {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        }
    }
}

/// A short reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A simple string, of a word or two.
    Simple(&'static str),
    /// An error, which says what was wrong.
    Error(String),
    /// A number.
    Integer(i64),
    /// A string.
    Bulk(Bytes),
    /// A text for people.
    Text(Bytes),
    /// Nothing.
    Null,
    /// Answers in this order.
    Array(Vec<Answer>),
    /// Answers in no particular order.
    Set(Vec<Answer>),
    /// Keys and values.
    Map(Vec<(Answer, Answer)>),
}

impl Answer {
    /// An error. It may quote what a client has sent; line ends in it are replaced.
    pub fn error(words: impl Into<String>) -> Self {
        Answer::Error(words.into())
    }

    /// A constant string.
    pub fn bulk(words: &'static str) -> Self {
        Answer::Bulk(Bytes::from_static(words.as_bytes()))
    }

    /// Writes the reply.
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        let three = protocol == Protocol::Resp3;
        match self {
            Answer::Simple(words) => line(out, '+', words),
            Answer::Error(words) => {
                let words = words.replace(['\r', '\n'], " ");
                line(out, '-', &words);
            }
            Answer::Integer(number) => head(out, ':', number),
            Answer::Bulk(string) => bulk(out, string),
            Answer::Text(text) if three => {
                head(out, '=', text.len() + 4);
                out.extend_from_slice(b"txt:");
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            Answer::Text(text) => bulk(out, text),
            Answer::Null => out.extend_from_slice(protocol.null()),
            Answer::Array(items) | Answer::Set(items) => {
                let set = three && matches!(self, Answer::Set(_));
                head(out, if set { '~' } else { '*' }, items.len());
                for item in items {
                    item.encode(protocol, out);
                }
            }
            Answer::Map(pairs) => {
                if three {
                    head(out, '%', pairs.len());
                } else {
                    head(out, '*', 2 * pairs.len());
                }
                for (key, value) in pairs {
                    key.encode(protocol, out);
                    value.encode(protocol, out);
                }
            }
        }
    }

    /// An upper bound of the reply's length in bytes, for both versions of the protocol.
    pub fn len(&self) -> usize {
        /// The longest head.
        const HEAD: usize = 24;
        HEAD + match self {
            Answer::Simple(words) => words.len(),
            Answer::Error(words) => words.len(),
            Answer::Integer(_) | Answer::Null => 0,
            Answer::Bulk(string) | Answer::Text(string) => string.len(),
            Answer::Array(items) | Answer::Set(items) => items.iter().map(Answer::len).sum(),
            Answer::Map(pairs) => pairs.iter().map(|(k, v)| k.len() + v.len()).sum(),
        }
    }
}

/// Writes the head of a reply: a kind, and a number or a length.
pub fn head(out: &mut BytesMut, kind: char, number: impl std::fmt::Display) {
    // Writing to a buffer in memory does not fail.
    let _ = write!(out, "{kind}{number}\r\n");
}

fn line(out: &mut BytesMut, kind: char, words: &str) {
    head(out, kind, words);
}

fn bulk(out: &mut BytesMut, string: &[u8]) {
    head(out, '$', string.len());
    out.extend_from_slice(string);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(answer: &Answer, protocol: Protocol) -> String {
        let mut out = BytesMut::new();
        answer.encode(protocol, &mut out);
        assert!(out.len() <= answer.len(), "{answer:?}");
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn types_are_those_of_the_version() {
        let b = Answer::bulk;
        for (answer, two, three) in [
            (Answer::Simple("OK"), "+OK\r\n", "+OK\r\n"),
            (
                Answer::error("ERR a\r\nb"),
                "-ERR a  b\r\n",
                "-ERR a  b\r\n",
            ),
            (Answer::Integer(-7), ":-7\r\n", ":-7\r\n"),
            (b("ab"), "$2\r\nab\r\n", "$2\r\nab\r\n"),
            (
                Answer::Text("ab".into()),
                "$2\r\nab\r\n",
                "=6\r\ntxt:ab\r\n",
            ),
            (Answer::Null, "$-1\r\n", "_\r\n"),
            (
                Answer::Array(vec![Answer::Null]),
                "*1\r\n$-1\r\n",
                "*1\r\n_\r\n",
            ),
            (
                Answer::Set(vec![b("")]),
                "*1\r\n$0\r\n\r\n",
                "~1\r\n$0\r\n\r\n",
            ),
            (
                Answer::Map(vec![(b("a"), Answer::Integer(1))]),
                "*2\r\n$1\r\na\r\n:1\r\n",
                "%1\r\n$1\r\na\r\n:1\r\n",
            ),
        ] {
            assert_eq!(written(&answer, Protocol::Resp2), two);
            assert_eq!(written(&answer, Protocol::Resp3), three);
        }
    }
}
