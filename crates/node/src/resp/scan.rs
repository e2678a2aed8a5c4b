//! Finds where a request ends, before anything is parsed.
//!
//! The parser proper recurses into nested arrays and starts again from the front when a frame is incomplete.
//! What a client may send is flat: an array of bulk strings, or one line. So this scanner lets nothing else
//! through, enforces the limits before the bytes have even come, and remembers where it stopped: the cost is
//! linear, however few bytes come at a time.
use crate::doors::tls::FIRST_BYTE;
use quorate_services::kv::{MAXIMUM_ARGUMENTS, MAXIMUM_BYTES};

/// The longest request given as a line of text.
const MAXIMUM_LINE: usize = 64 * 1024;

/// The longest header line: a kind, a number, and the end of the line.
const MAXIMUM_HEADER: usize = 24;

/// What a request may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most words, and what is said of more.
    arguments: (usize, &'static str),
    /// The longest word, and what is said of a longer one.
    word: (usize, &'static str),
    /// The most bytes of all of it,
    bytes: usize,
    /// and of a request given as a line of text.
    line: usize,
}

impl Limits {
    /// Those of clients.
    pub const CLIENT: Limits = Limits {
        arguments: (MAXIMUM_ARGUMENTS, "invalid multibulk length"),
        word: (MAXIMUM_BYTES, "invalid bulk length"),
        bytes: MAXIMUM_BYTES,
        line: MAXIMUM_LINE,
    };

    /// Those of strangers, who have not shown a password. The first two are those of Redis.
    pub const STRANGER: Limits = Limits {
        arguments: (10, "unauthenticated multibulk length"),
        word: (16 * 1024, "unauthenticated bulk length"),
        bytes: 32 * 1024,
        line: 16 * 1024,
    };
}

/// What the bytes are that have come so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scan {
    /// The beginning of a request.
    Incomplete,
    /// A request of this length, as an array of bulk strings.
    Array(usize),
    /// A request of this length, as a line of text, its end included.
    Line(usize),
}

/// The bytes are no request, or one that passes the limits. The words are those of Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// The request breaks the protocol or a limit in this way.
    #[error("ERR Protocol error: {0}")]
    Words(&'static str),
    /// This character stands where a string should begin.
    #[error("ERR Protocol error: expected '$', got '{0}'")]
    NoString(char),
}

/// How far into the request the scanner has come.
#[derive(Default)]
pub struct Scanner {
    position: usize,
    /// Bulk strings still to come; `None` before the array's header.
    missing: Option<usize>,
}

impl Scanner {
    /// Scans the request at the front of `buffer`, which must begin with the bytes of the calls before. After
    /// a whole request the scanner is ready for the next.
    pub fn scan(&mut self, buffer: &[u8], limits: &Limits) -> Result<Scan, Malformed> {
        let scan = match buffer.first() {
            None => Scan::Incomplete,
            Some(b'*') => self.scan_array(buffer, limits)?,
            Some(&FIRST_BYTE) => return Err(Malformed::Words("this port does not speak TLS")),
            Some(_) => self.scan_line(buffer, limits)?,
        };
        if scan != Scan::Incomplete {
            *self = Scanner::default();
        }
        Ok(scan)
    }

    fn scan_array(&mut self, buffer: &[u8], limits: &Limits) -> Result<Scan, Malformed> {
        loop {
            match self.missing {
                Some(0) => return Ok(Scan::Array(self.position)),
                Some(missing) => {
                    let Some((length, next)) = header(buffer, self.position, b'$')? else {
                        return Ok(Scan::Incomplete);
                    };
                    let length = usize::try_from(length)
                        .map_err(|_| Malformed::Words("invalid bulk length"))?;
                    if length > limits.word.0 {
                        return Err(Malformed::Words(limits.word.1));
                    }
                    let end = next + length + 2;
                    if end > limits.bytes {
                        return Err(Malformed::Words("too big request"));
                    }
                    if end > buffer.len() {
                        return Ok(Scan::Incomplete);
                    }
                    if buffer[end - 2..end] != *b"\r\n" {
                        return Err(Malformed::Words("expected the end of a bulk string"));
                    }
                    self.position = end;
                    self.missing = Some(missing - 1);
                }
                None => {
                    let Some((count, next)) = header(buffer, 0, b'*')? else {
                        return Ok(Scan::Incomplete);
                    };
                    // An absent array, of length -1, is an empty one.
                    let count = usize::try_from(count).unwrap_or(0);
                    if count > limits.arguments.0 {
                        return Err(Malformed::Words(limits.arguments.1));
                    }
                    self.missing = Some(count);
                    self.position = next;
                }
            }
        }
    }

    fn scan_line(&mut self, buffer: &[u8], limits: &Limits) -> Result<Scan, Malformed> {
        if let Some(end) = buffer[self.position..].iter().position(|b| *b == b'\n') {
            return Ok(Scan::Line(self.position + end + 1));
        }
        self.position = buffer.len();
        if self.position > limits.line {
            return Err(Malformed::Words("too big inline request"));
        }
        Ok(Scan::Incomplete)
    }
}

/// The number in the header line at `position`, and where the line ends. `None`: the line is not complete.
fn header(buffer: &[u8], position: usize, kind: u8) -> Result<Option<(i64, usize)>, Malformed> {
    let line = &buffer[position..];
    if let Some(found) = line.first().filter(|found| **found != kind) {
        return Err(Malformed::NoString(char::from(*found)));
    }
    let line = &line[..line.len().min(MAXIMUM_HEADER)];
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        if line.len() == MAXIMUM_HEADER {
            return Err(Malformed::Words("too long a header"));
        }
        return Ok(None);
    };
    let number = std::str::from_utf8(&line[1..end])
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed::Words(if kind == b'$' {
            "invalid bulk length"
        } else {
            "invalid multibulk length"
        }))?;
    Ok(Some((number, position + end + 2)))
}

#[cfg(test)]
mod tests;
