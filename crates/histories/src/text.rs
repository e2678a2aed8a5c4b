//! Recorded histories as text, for this and other checkers.
//!
//! Each line is an event, in the order in which events happened. Empty lines, and lines that begin with `#`,
//! are ignored:
//!
//! ```text
//! # time process event operation register value
//! 1 p1 invoke write "colour" "red"
//! 4 p2 invoke read "colour"
//! 7 p1 ok write "colour" "red" 1.1
//! 9 p2 ok read "colour" "red" 1.1
//! ```
//!
//! - *time*: a number that does not get smaller from line to line. Two events at the same time are
//!   concurrent.
//! - *process*: `p` and a number. A process has one operation at a time.
//! - *event*: `invoke`; `ok`, the operation has returned; `fail`, it has not taken effect and never will;
//!   `info`, it is unknown whether it has taken effect or still will. An operation without an end counts as
//!   one with `info`.
//! - *operation*: `read` or `write`.
//! - *register* and *value*: in double quotes, with `\"`, `\\` and `\xNN` for bytes that are not printable
//!   ASCII; a value may be `nil`, which is nothing. The value of a write is given at its invocation (it may
//!   be repeated), that of a read at its end.
//! - then, at an end, optionally the tag: timestamp, a dot, the rank of the writer.
//!
//! In terms of Knossos, the first line is `{:process 1, :type :invoke, :f :write, :value ["colour" "red"]}`:
//! types, functions and values are the same. For Porcupine, a process is a client, an `ok` and its invocation
//! are the two times of an operation, and an operation that ended with `info` returns after everything else.
use crate::history::{Action, History, Operation, Tag};
use std::{collections::BTreeMap, fmt::Write as _};

/// Register names and values: any bytes.
pub type Recorded = History<Vec<u8>, Vec<u8>>;

/// A line that is not of this format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Malformed {
    /// The number of the line, counted from 1.
    pub line: usize,
    /// The error.
    pub what: String,
}

/// Reads a recorded history.
///
/// # Errors
/// When a line is not of the format; the error names it.
pub fn parse(text: &str) -> Result<Recorded, Malformed> {
    let mut reader = Reader::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            let event = take_event(line);
            let read = event.and_then(|event| reader.read(event));
            read.map_err(|what| Malformed { line: number, what })?;
        }
    }
    Ok(reader.finish())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// A word in the place of a value.
#[derive(PartialEq, Eq)]
enum Value {
    /// There is no word.
    Absent,
    /// `nil`.
    Nil,
    /// A string.
    Bytes(Vec<u8>),
}

struct Event {
    time: u64,
    process: u64,
    kind: Kind,
    writes: bool,
    register: Vec<u8>,
    value: Value,
    tag: Option<Tag>,
}

fn take_event(line: &str) -> Result<Event, String> {
    let mut rest = line;
    let time = take_word(&mut rest);
    let time = time.parse().map_err(|_| format!("`{time}` is no time"))?;
    let process = take_word(&mut rest);
    let number = process.strip_prefix('p').and_then(|p| p.parse().ok());
    let process = number.ok_or_else(|| format!("`{process}` is no process"))?;
    let kind = match take_word(&mut rest) {
        "invoke" => Kind::Invoke,
        "ok" => Kind::Ok,
        "fail" => Kind::Fail,
        "info" => Kind::Info,
        other => return Err(format!("`{other}` is none of invoke, ok, fail and info")),
    };
    let writes = match take_word(&mut rest) {
        "read" => false,
        "write" => true,
        other => return Err(format!("`{other}` is neither read nor write")),
    };
    let register = take_string(&mut rest)?.ok_or("the register has no name")?;
    let text = rest.trim_start();
    let value = if text.starts_with('"') || text.starts_with("nil") {
        take_string(&mut rest)?.map_or(Value::Nil, Value::Bytes)
    } else {
        Value::Absent
    };
    let tag = match take_word(&mut rest) {
        "" => None,
        word => Some(tag(word).ok_or_else(|| format!("`{word}` is no tag"))?),
    };
    if !rest.trim().is_empty() {
        return Err(format!("`{}` is too much", rest.trim()));
    }
    Ok(Event {
        time,
        process,
        kind,
        writes,
        register,
        value,
        tag,
    })
}

fn tag(word: &str) -> Option<Tag> {
    let (timestamp, writer) = word.split_once('.')?;
    Some(Tag {
        timestamp: timestamp.parse().ok()?,
        writer: writer.parse().ok()?,
    })
}

fn take_word<'l>(rest: &mut &'l str) -> &'l str {
    let text = rest.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    *rest = after;
    word
}

/// A string in quotes; `None` for `nil`.
fn take_string(rest: &mut &str) -> Result<Option<Vec<u8>>, String> {
    let text = rest.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        return match take_word(rest) {
            "nil" => Ok(None),
            word => Err(format!("`{word}` is neither nil nor in quotes")),
        };
    };
    let mut bytes = Vec::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => {
                *rest = quoted.get(index + 1..).unwrap_or_default();
                return Ok(Some(bytes));
            }
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => bytes.push(escaped as u8),
                Some((at, 'x')) => {
                    let digits = quoted.get(at + 1..at + 3).unwrap_or_default();
                    let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    let digits = if is_hexadecimal { digits } else { "" };
                    let byte = u8::from_str_radix(digits, 16);
                    bytes.push(byte.map_err(|_| format!("`\\x{digits}` is no byte"))?);
                    characters.nth(1);
                }
                _ => return Err("a backslash comes before \", \\ or xNN".into()),
            },
            ' '..='~' => bytes.push(character as u8),
            other => return Err(format!("{other:?} has to be written as \\xNN")),
        }
    }
    Err("the quotes do not end".into())
}

/// An operation in flight.
struct Pending {
    register: Vec<u8>,
    writes: Option<Vec<u8>>,
    invoked: u64,
}

#[derive(Default)]
struct Reader {
    now: u64,
    pending: BTreeMap<u64, Pending>,
    history: Recorded,
}

impl Reader {
    fn read(&mut self, event: Event) -> Result<(), String> {
        if event.time < self.now {
            return Err(format!("the time {} is before {}", event.time, self.now));
        }
        self.now = event.time;
        let process = event.process;
        if event.kind == Kind::Invoke {
            if self.pending.contains_key(&process) {
                return Err(format!("p{process} has an operation in flight"));
            }
            let value = match event.value {
                Value::Bytes(value) if event.writes => Some(value),
                Value::Absent if !event.writes => None,
                _ => return Err("a write is invoked with its value, a read without".into()),
            };
            self.pending.insert(
                process,
                Pending {
                    register: event.register,
                    writes: value,
                    invoked: event.time,
                },
            );
            return Ok(());
        }
        let begun = self.pending.remove(&process);
        let begun = begun.ok_or_else(|| format!("p{process} has no operation in flight"))?;
        if begun.register != event.register || begun.writes.is_some() != event.writes {
            return Err(format!("p{process} has another operation in flight"));
        }
        let repeats = match &event.value {
            Value::Absent => true,
            Value::Nil => false,
            Value::Bytes(value) => begun.writes.as_ref() == Some(value),
        };
        if event.writes && !repeats {
            return Err(format!("p{process} writes another value"));
        }
        if event.kind == Kind::Ok && !event.writes && event.value == Value::Absent {
            return Err("a read ends with its value, or nil".into());
        }
        match event.kind {
            Kind::Ok => self.end(process, begun, Some(event)),
            Kind::Info => self.end(process, begun, None),
            Kind::Fail | Kind::Invoke => {}
        }
        Ok(())
    }

    fn end(&mut self, process: u64, begun: Pending, ok: Option<Event>) {
        let returned = ok.as_ref().map(|event| event.time);
        let tag = ok.as_ref().and_then(|event| event.tag);
        let action = match begun.writes {
            Some(value) => Action::Write(value),
            None => Action::Read(ok.and_then(|event| match event.value {
                Value::Bytes(value) => Some(value),
                Value::Absent | Value::Nil => None,
            })),
        };
        let operation = Operation {
            process,
            action,
            invoked: begun.invoked,
            returned,
            tag,
        };
        self.history.push(begun.register, operation);
    }

    fn finish(mut self) -> Recorded {
        for (process, begun) in std::mem::take(&mut self.pending) {
            self.end(process, begun, None);
        }
        self.history
    }
}

/// Writes a history. Of each process, an operation must have ended before the next begins. Operations after
/// one that never ends are attributed to another process.
pub fn write(history: &Recorded) -> String {
    let mut events = Vec::new();
    let mut following: BTreeMap<u64, Vec<(u64, Option<u64>)>> = BTreeMap::new();
    for (_, operations) in history.registers() {
        for o in operations {
            let of = following.entry(o.process).or_default();
            of.push((o.invoked, o.returned));
        }
    }
    let mut fresh = following.keys().last().map_or(1, |last| last + 1);
    // A process that has left an operation open continues under another name.
    let mut names: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for (process, mut operations) in following {
        operations.sort_unstable();
        let mut name = process;
        for (invoked, returned) in operations {
            names.insert((process, invoked), name);
            if returned.is_none() {
                name = fresh;
                fresh += 1;
            }
        }
    }
    for (register, operations) in history.registers() {
        for o in operations {
            let name = names.get(&(o.process, o.invoked)).copied();
            let name = name.unwrap_or(o.process);
            events.push((o.invoked, 1, name, line(register, o, name, true)));
            if let Some(end) = o.returned {
                events.push((end, 2, name, line(register, o, name, false)));
            }
        }
    }
    events.sort_by_key(|(time, order, name, _)| (*time, *order, *name));
    let lines = events.into_iter().map(|(_, _, _, line)| line);
    std::iter::once("# time process event operation register value\n".to_owned())
        .chain(lines)
        .collect()
}

fn line(register: &[u8], o: &Operation<Vec<u8>>, name: u64, begins: bool) -> String {
    let (time, event) = match o.returned {
        Some(end) if !begins => (end, "ok"),
        _ => (o.invoked, "invoke"),
    };
    let mut text = format!("{time} p{name} {event} ");
    let value = match &o.action {
        Action::Write(value) => {
            text += "write ";
            Some(Some(value))
        }
        Action::Read(value) => {
            text += "read ";
            (!begins).then_some(value.as_ref())
        }
    };
    quote(register, &mut text);
    match value {
        Some(Some(value)) => {
            text.push(' ');
            quote(value, &mut text);
        }
        Some(None) => text += " nil",
        None => {}
    }
    if let Some(Tag { timestamp, writer }) = o.tag.filter(|_| !begins) {
        let _ = write!(text, " {timestamp}.{writer}");
    }
    text.push('\n');
    text
}

fn quote(bytes: &[u8], text: &mut String) {
    text.push('"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b' '..=b'~' => text.push(char::from(*byte)),
            other => {
                let _ = write!(text, "\\x{other:02x}");
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests;
