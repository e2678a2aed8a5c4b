//! What clients ask for: from the arguments of a request to a command, or to an answer at once.
use super::scan::{Scan, Scanner};
use bytes::{Buf, Bytes, BytesMut};
use quorate_services::kv::Command;
use redis_protocol::resp2::{
    decode::decode_range,
    types::{BytesFrame, RangeFrame},
};

/// What a request comes to.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// A command for the total order.
    Command(Command),
    /// Nothing that needs the others: the answer is here.
    Answered(BytesFrame),
    /// INFO: answered with what this replica knows.
    Info,
    /// The client says good-bye.
    Quit,
    /// An empty request: no answer.
    Nothing,
}

/// Takes one request off the front of `buffer`; `None` while it is incomplete.
///
/// # Errors
/// When the bytes are no request: the words for the client, after which the connection is of no use.
pub fn take(buffer: &mut BytesMut, scanner: &mut Scanner) -> Result<Option<Request>, String> {
    match scanner.scan(buffer).map_err(|error| error.to_string())? {
        Scan::Incomplete => Ok(None),
        Scan::Array(length) => {
            let request = buffer.split_to(length).freeze();
            let arguments =
                arguments(&request).ok_or("ERR Protocol error: not an array of strings")?;
            Ok(Some(interpret(arguments)))
        }
        Scan::Line(length) => {
            let line = buffer.split_to(length).freeze();
            let words = line.split(u8::is_ascii_whitespace);
            let arguments: Vec<Bytes> = words
                .filter(|word| !word.is_empty())
                .map(|word| line.slice_ref(word))
                .collect();
            // A browser that was lured here: what follows is not the client's own words.
            let name = arguments.first().map(|name| name.to_ascii_uppercase());
            if name.is_some_and(|name| name == b"POST" || name == b"HOST:") {
                return Err("ERR Protocol error: this is not an HTTP server".into());
            }
            Ok(Some(interpret(arguments)))
        }
    }
}

/// The strings of a request that was found to be an array of strings. They share its buffer.
fn arguments(request: &Bytes) -> Option<Vec<Bytes>> {
    let (RangeFrame::Array(frames), _) = decode_range(request).ok()?? else {
        return Some(Vec::new());
    };
    let string = |frame| match frame {
        RangeFrame::BulkString((start, end)) => Some(request.slice(start..end)),
        _ => None,
    };
    frames.into_iter().map(string).collect()
}

/// An error as clients see it.
pub fn error(words: impl Into<String>) -> BytesFrame {
    BytesFrame::Error(words.into().into())
}

/// A simple string.
pub fn simple(words: &'static str) -> BytesFrame {
    BytesFrame::SimpleString(Bytes::from_static(words.as_bytes()))
}

fn bulk(words: &'static str) -> BytesFrame {
    BytesFrame::BulkString(Bytes::from_static(words.as_bytes()))
}

/// The wrong number of arguments.
struct Arity;

fn interpret(mut arguments: Vec<Bytes>) -> Request {
    if arguments.is_empty() {
        return Request::Nothing;
    }
    let name = String::from_utf8_lossy(&arguments.remove(0)).to_ascii_uppercase();
    let request = match name.as_str() {
        "PING" | "ECHO" | "SELECT" | "QUIT" | "COMMAND" | "CONFIG" | "CLIENT" | "HELLO"
        | "INFO" => session(&name, arguments),
        _ => data(&name, arguments)
            .map(|command| command.map_or_else(Request::Answered, Request::Command)),
    };
    request.unwrap_or_else(|Arity| {
        let name = name.to_ascii_lowercase();
        Request::Answered(error(format!(
            "ERR wrong number of arguments for '{name}' command"
        )))
    })
}

/// Requests about the connection or this replica.
fn session(name: &str, arguments: Vec<Bytes>) -> Result<Request, Arity> {
    let word = |index: usize| {
        let argument: Option<&Bytes> = arguments.get(index);
        argument.map(|word| word.to_ascii_uppercase())
    };
    let answer = match (name, arguments.as_slice()) {
        ("PING", []) => simple("PONG"),
        ("PING" | "ECHO", [message]) => BytesFrame::BulkString(message.clone()),
        ("SELECT", [database]) if &database[..] == b"0" => simple("OK"),
        ("SELECT", [_]) => error("ERR DB index is out of range"),
        ("QUIT", _) => return Ok(Request::Quit),
        ("INFO", _) => return Ok(Request::Info),
        ("COMMAND", _) if word(0).is_some_and(|word| word == b"COUNT") => BytesFrame::Integer(0),
        ("COMMAND", _) => BytesFrame::Array(Vec::new()),
        ("CONFIG", [_, names @ ..]) if word(0).is_some_and(|word| word == b"GET") => {
            BytesFrame::Array(names.iter().flat_map(setting).collect())
        }
        ("CONFIG", [_, ..]) => error("ERR only CONFIG GET is supported: see `quorate node --help`"),
        ("CLIENT", [_, ..]) => match word(0).as_deref() {
            Some(b"SETNAME" | b"SETINFO" | b"NO-EVICT" | b"NO-TOUCH") => simple("OK"),
            Some(b"GETNAME") => BytesFrame::Null,
            Some(b"ID") => BytesFrame::Integer(1),
            _ => error("ERR unsupported CLIENT subcommand"),
        },
        ("HELLO", [] | [_]) if word(0).is_none_or(|version| version == b"2") => hello(),
        ("HELLO", [_, ..]) => error("NOPROTO unsupported protocol version"),
        _ => return Err(Arity),
    };
    Ok(Request::Answered(answer))
}

fn hello() -> BytesFrame {
    BytesFrame::Array(vec![
        bulk("server"),
        bulk("quorate"),
        bulk("version"),
        bulk(env!("CARGO_PKG_VERSION")),
        bulk("proto"),
        BytesFrame::Integer(2),
    ])
}

/// The settings that `redis-benchmark` asks for: nothing is ever written to a disk.
fn setting(name: &Bytes) -> Vec<BytesFrame> {
    let value = match &name.to_ascii_lowercase()[..] {
        b"save" => "",
        b"appendonly" => "no",
        _ => return Vec::new(),
    };
    vec![BytesFrame::BulkString(name.clone()), bulk(value)]
}

/// Requests about keys.
fn data(name: &str, arguments: Vec<Bytes>) -> Result<Result<Command, BytesFrame>, Arity> {
    let count = arguments.len();
    let mut rest = arguments.into_iter();
    let mut next = || rest.next().ok_or(Arity);
    let command = match (name, count) {
        ("GET", 1) => Command::Get(next()?),
        ("SET", 2) => Command::Set(next()?, next()?),
        ("SET", 3..) => {
            return Ok(Err(error(
                "ERR SET takes a key and a value: options (EX, PX, NX, XX, GET, …) are not supported",
            )));
        }
        ("DEL", 1..) => Command::Del(rest.collect()),
        ("EXISTS", 1..) => Command::Exists(rest.collect()),
        ("INCR", 1) => Command::IncrBy(next()?, 1),
        ("DECR", 1) => Command::IncrBy(next()?, -1),
        ("INCRBY" | "DECRBY", 2) => {
            let (key, amount) = (next()?, next()?);
            let amount = std::str::from_utf8(&amount)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .and_then(|amount| match name {
                    "INCRBY" => Some(amount),
                    _ => amount.checked_neg(),
                });
            let Some(amount) = amount else {
                return Ok(Err(error("ERR value is not an integer or out of range")));
            };
            Command::IncrBy(key, amount)
        }
        ("APPEND", 2) => Command::Append(next()?, next()?),
        ("STRLEN", 1) => Command::StrLen(next()?),
        ("MSET", 2..) if count.is_multiple_of(2) => {
            let pairs = std::iter::from_fn(|| rest.next().zip(rest.next()));
            Command::MSet(pairs.collect())
        }
        ("MGET", 1..) => Command::MGet(rest.collect()),
        ("DBSIZE", 0) => Command::DbSize,
        ("FLUSHALL" | "FLUSHDB", 0) => Command::FlushAll,
        (
            "GET" | "SET" | "DEL" | "EXISTS" | "INCR" | "DECR" | "INCRBY" | "DECRBY" | "APPEND"
            | "STRLEN" | "MSET" | "MGET" | "DBSIZE" | "FLUSHALL" | "FLUSHDB",
            _,
        ) => return Err(Arity),
        _ => {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Ok(Err(error(format!("ERR unknown command '{shown}'"))));
        }
    };
    Ok(Ok(command))
}

/// Moves past what was taken; gives the memory of a large request back.
pub fn shrink(buffer: &mut BytesMut) {
    if !buffer.has_remaining() && buffer.capacity() > 1024 * 1024 {
        *buffer = BytesMut::new();
    }
}

#[cfg(test)]
mod tests;
