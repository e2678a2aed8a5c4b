//! The few lines of HTTP that the verbs and the demo need.
use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// The longest answer that is read.
const MAXIMUM: u64 = 16 * 1024 * 1024;

/// How long an answer may take that the server gives without asking other processes.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a request to `server`; returns the status code and the body.
pub fn ask(server: SocketAddr, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    ask_within(server, method, path, body, TIMEOUT)
}

/// The same, with the time that the answer may take.
pub fn ask_within(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    limit: Duration,
) -> Result<(u16, String)> {
    let cannot = || format!("no answer from http://{server}{path}");
    let stream = send(server, method, path, body).with_context(cannot)?;
    stream.set_read_timeout(Some(limit))?;
    let mut answer = Vec::new();
    stream
        .take(MAXIMUM)
        .read_to_end(&mut answer)
        .with_context(cannot)?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("{}: that is no HTTP", cannot());
    };
    let code = status_code(head).with_context(cannot)?;
    Ok((code, body.to_owned()))
}

fn status_code(head: &str) -> Option<u16> {
    head.split(' ').nth(1)?.parse().ok()
}

fn send(server: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {server}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    Ok(stream)
}

/// Reads an answer that goes on without end, and calls `each` with every line as it comes. Returns an error
/// when the server ends the answer, or the error of `each`.
pub fn follow(
    server: SocketAddr,
    path: &str,
    mut each: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let cannot = || format!("no answer from http://{server}{path}");
    let stream = send(server, "GET", path, "").with_context(cannot)?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().with_context(cannot)?.with_context(cannot)?;
    let code = status_code(&first).with_context(cannot)?;
    if code != 200 {
        bail!("http://{server}{path} answered {code}");
    }
    let mut in_body = false;
    for line in lines {
        let line = line.with_context(|| format!("{server} has ended"))?;
        if in_body {
            each(&line)?;
        } else {
            in_body = line.is_empty();
        }
    }
    bail!("{server} has ended")
}

/// Gets a JSON document.
pub fn get_json(server: SocketAddr, path: &str) -> Result<serde_json::Value> {
    let (code, body) = ask(server, "GET", path, "")?;
    if code != 200 {
        bail!("http://{server}{path} answered {code}: {}", body.trim());
    }
    serde_json::from_str(&body).with_context(|| format!("http://{server}{path}: that is no JSON"))
}
