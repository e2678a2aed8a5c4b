//! The few lines of HTTP that `quorate status` and the demo need.
use anyhow::{Context, Result, bail};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// The longest answer that is read.
const MAXIMUM: u64 = 16 * 1024 * 1024;

/// Asks `server` for something; gives the status code and the body.
pub fn ask(server: SocketAddr, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let patience = Duration::from_secs(5);
    let cannot = || format!("no answer from http://{server}{path}");
    let mut stream = TcpStream::connect_timeout(&server, patience).with_context(cannot)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {server}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .with_context(cannot)?;
    let mut answer = Vec::new();
    stream
        .take(MAXIMUM)
        .read_to_end(&mut answer)
        .with_context(cannot)?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("{}: that is no HTTP", cannot());
    };
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.with_context(cannot)?;
    Ok((code, body.to_owned()))
}

/// Gets a JSON document.
pub fn get_json(server: SocketAddr, path: &str) -> Result<serde_json::Value> {
    let (code, body) = ask(server, "GET", path, "")?;
    if code != 200 {
        bail!("http://{server}{path} answered {code}: {}", body.trim());
    }
    serde_json::from_str(&body).with_context(|| format!("http://{server}{path}: that is no JSON"))
}
