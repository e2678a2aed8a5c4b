//! Clients' requests: turns the arguments of a request into a command, or into an answer at once.
use super::{
    answer::Answer,
    client::Client,
    data::{self, integer, is},
    inline,
    locks::{self, LockRequest},
    scan::{Scan, Scanner},
    table::{self, wrong_number},
};
use bytes::{Buf, Bytes, BytesMut};
use quorate_services::kv::Command;
use redis_protocol::resp2::{decode::decode_range, types::RangeFrame};

/// What a request is.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// A command for the total order.
    Command(Command),
    /// A request that this replica answers by itself, with this answer.
    Answered(Answer),
    /// About a lock: it takes its turn alone.
    Lock(LockRequest),
    /// INFO: answered with what this replica knows.
    Info,
    /// The client says good-bye.
    Quit,
    /// An empty request: no answer.
    Nothing,
}

/// Takes one request of a client off the front of `buffer`; `None` while it is incomplete.
///
/// # Errors
/// When the bytes are no request. The error is what the client is told, after which the connection must be
/// closed.
pub fn take(
    buffer: &mut BytesMut,
    scanner: &mut Scanner,
    client: &mut Client,
) -> Result<Option<Request>, String> {
    match scanner
        .scan(buffer, client.limits())
        .map_err(|error| error.to_string())?
    {
        Scan::Incomplete => Ok(None),
        Scan::Array(length) => {
            let request = buffer.split_to(length).freeze();
            let arguments =
                arguments(&request).ok_or("ERR Protocol error: not an array of strings")?;
            Ok(Some(interpret(arguments, client)))
        }
        Scan::Line(length) => {
            let line = buffer.split_to(length).freeze();
            let arguments = inline::words(&line).map_err(|error| error.to_string())?;
            // A web page may have made a browser connect here: what follows are not the client's own words.
            let browser = |name: &Bytes| is(name, "POST") || is(name, "HOST:");
            if arguments.first().is_some_and(browser) {
                return Err("ERR Protocol error: this is not an HTTP server".into());
            }
            Ok(Some(interpret(arguments, client)))
        }
    }
}

/// The strings of a request that is known to be an array of strings. They share its buffer.
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

/// Interprets the words of a request.
pub fn interpret(mut words: Vec<Bytes>, client: &mut Client) -> Request {
    let Some(name) = words.first() else {
        return Request::Nothing;
    };
    let Some(entry) = table::find(name) else {
        return Request::Answered(data::unknown(name));
    };
    if !entry.takes(words.len()) {
        return Request::Answered(wrong_number(entry.name));
    }
    words.remove(0);
    let (needs, told) = entry.needs(&words);
    if let Err(refused) = client.access.may(needs, told) {
        return Request::Answered(refused);
    }
    Request::Answered(match (entry.name, words.as_slice()) {
        ("quit", _) => return Request::Quit,
        ("info", _) => return Request::Info,
        ("ping", []) => Answer::Simple("PONG"),
        ("ping" | "echo", [message]) => Answer::Bulk(message.clone()),
        ("ping", _) => wrong_number(entry.name),
        ("select", [database]) => select(database),
        ("command", arguments) => table::answer(arguments),
        ("config", [what, names @ ..]) => settings(what, names),
        ("acl", arguments) => client.access_control(arguments),
        ("auth", arguments) => client.authenticate(arguments),
        ("client", arguments) => client.client(arguments),
        ("hello", arguments) => client.hello(arguments),
        ("reset", _) => client.reset(),
        (name, _) if name.starts_with("lock.") => match locks::request(name, words) {
            Ok(request) => return Request::Lock(request),
            Err(answer) => answer,
        },
        _ => match data::command(entry.name, words) {
            Ok(command) => return Request::Command(command),
            Err(answer) => answer,
        },
    })
}

fn select(database: &[u8]) -> Answer {
    match integer(database) {
        Ok(0) => Answer::Simple("OK"),
        Ok(_) => Answer::error("ERR DB index is out of range"),
        Err(answer) => answer,
    }
}

/// Answers `CONFIG` with these arguments: it knows the settings that `redis-benchmark` asks for. Nothing is
/// ever written to a disk.
fn settings(what: &Bytes, names: &[Bytes]) -> Answer {
    const SETTINGS: [(&str, &str); 3] = [("save", ""), ("appendonly", "no"), ("databases", "1")];
    if !is(what, "GET") {
        return Answer::error("ERR only CONFIG GET is supported: see `quorate node --help`");
    }
    if names.is_empty() {
        return wrong_number("config|get");
    }
    let asked = |setting| names.iter().any(|name| is(name, setting) || is(name, "*"));
    let told = SETTINGS.into_iter().filter(|(name, _)| asked(name));
    let told = told.map(|(name, value)| (Answer::bulk(name), Answer::bulk(value)));
    Answer::Map(told.collect())
}

/// Frees the memory of the requests that were taken off the buffer, if it is large.
pub fn shrink(buffer: &mut BytesMut) {
    if !buffer.has_remaining() && buffer.capacity() > 1024 * 1024 {
        *buffer = BytesMut::new();
    }
}

#[cfg(test)]
mod tests;
