//! A request that is a line of text: words, which may be quoted as in Redis.
//!
//! Between double quotes `\n`, `\r`, `\t`, `\a`, `\b` and `\xHH` stand for bytes, and a backslash before any
//! other character stands for that character; between single quotes `\'` stands for a single quote. A closing
//! quote ends the word.
use bytes::{Bytes, BytesMut};

/// A quote is not closed, or a closing quote is followed by something other than a space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("ERR Protocol error: unbalanced quotes in request")]
pub struct Unbalanced;

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// The words of a line. Words without quotes share the line's buffer.
pub fn words(line: &Bytes) -> Result<Vec<Bytes>, Unbalanced> {
    let mut words = Vec::new();
    let mut rest = &line[..];
    loop {
        rest = &rest[rest.iter().take_while(|byte| is_space(**byte)).count()..];
        if rest.is_empty() {
            return Ok(words);
        }
        let plain = rest
            .iter()
            .take_while(|byte| !is_space(**byte) && !matches!(byte, b'"' | b'\''))
            .count();
        let ends = rest.get(plain).is_none_or(|byte| is_space(*byte));
        if ends {
            words.push(line.slice_ref(&rest[..plain]));
            rest = &rest[plain..];
        } else {
            let mut word = BytesMut::from(&rest[..plain]);
            rest = quoted(&rest[plain..], &mut word)?;
            words.push(word.freeze());
        }
    }
}

/// Appends the quoted text, with whose opening quote `text` begins, to `word`; returns the rest.
fn quoted<'t>(text: &'t [u8], word: &mut BytesMut) -> Result<&'t [u8], Unbalanced> {
    let (quote, mut rest) = text.split_first().ok_or(Unbalanced)?;
    loop {
        let (byte, length) = match (*quote, rest) {
            (_, []) => return Err(Unbalanced),
            (quote, [byte, rest @ ..]) if *byte == quote => {
                let ends = rest.first().is_none_or(|byte| is_space(*byte));
                return if ends { Ok(rest) } else { Err(Unbalanced) };
            }
            (b'"', [b'\\', b'x', high, low, ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (16 * digit(*high) + digit(*low), 4)
            }
            (b'"', [b'\\', escaped, ..]) => (meaning(*escaped), 2),
            (b'\'', [b'\\', b'\'', ..]) => (b'\'', 2),
            (_, [byte, ..]) => (*byte, 1),
        };
        word.extend_from_slice(&[byte]);
        rest = &rest[length..];
    }
}

fn digit(hexadecimal: u8) -> u8 {
    char::from(hexadecimal)
        .to_digit(16)
        .map_or(0, |digit| digit as u8)
}

fn meaning(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &'static [u8]) -> Option<Vec<Bytes>> {
        words(&Bytes::from_static(line)).ok()
    }

    #[test]
    fn quotes_are_those_of_redis() {
        for (line, expected) in [
            (&b"  GET\tk \r\n"[..], &[&b"GET"[..], b"k"][..]),
            (b"SET k \"a b\"\r\n", &[b"SET", b"k", b"a b"]),
            (b"'it\\'s' '\\n'", &[b"it's", b"\\n"]),
            (b"\"\\x00\\xfF\\n\\q\\\"\\\\\"", &[b"\x00\xff\nq\"\\"]),
            (b"\"\\xg0\"", &[b"xg0"]),
            (b"SET k \"\"", &[b"SET", b"k", b""]),
            (b"a\"b c\"", &[b"ab c"]),
            (b"\r\n", &[]),
        ] {
            assert_eq!(
                split(line),
                Some(expected.iter().map(|w| Bytes::from_static(w)).collect())
            );
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [
            &b"SET k \"v\r\n"[..],
            b"SET k 'v\r\n",
            b"SET k \"a\"b\r\n",
            b"SET k 'a''b'\r\n",
            b"k\"",
            b"\"\\\"",
            b"\"\\",
            b"'\\'",
        ] {
            assert_eq!(split(line), None, "{:?}", Bytes::from_static(line));
        }
    }

    #[test]
    fn no_line_panics() {
        const BYTES: [u8; 7] = *b"\"'\\xa \n";
        for length in 0..=6 {
            for number in 0..BYTES.len().pow(length) {
                let digit = |place| BYTES[number / BYTES.len().pow(place) % BYTES.len()];
                let line: Bytes = (0..length).map(digit).collect();
                let _ = words(&line);
            }
        }
    }
}
