//! The few lines of HTTP that the verbs and the demo need.
use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use zeroize::Zeroizing;

/// The longest answer that is read.
const MAXIMUM: u64 = 16 * 1024 * 1024;

/// How long an answer may take that the server gives without asking other processes.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A server, and what opens it.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    token: Option<Arc<Zeroizing<String>>>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Server {
            address,
            token: None,
            tls: None,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}

/// A connection, whatever carries it.
trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Server {
    /// The same, with a token and TLS.
    #[must_use]
    pub fn with(
        self,
        token: Option<Arc<Zeroizing<String>>>,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> Self {
        Server { token, tls, ..self }
    }

    /// Connects. Reading takes `limit` at most, if there is one.
    fn connect(&self, limit: Option<Duration>) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_read_timeout(limit)?;
        let Some((config, name)) = self.tls.clone() else {
            return Ok(Box::new(stream));
        };
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        body: &str,
        limit: Option<Duration>,
    ) -> io::Result<Box<dyn Stream>> {
        let mut stream = self.connect(limit)?;
        let (host, length) = (self.address, body.len());
        let mut head = Zeroizing::new(format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n"
        ));
        if let Some(token) = &self.token {
            head.push_str("Authorization: Bearer ");
            head.push_str(token);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        stream.flush()?;
        Ok(stream)
    }
}

/// Sends a request to `server`; returns the status code and the body.
pub fn ask(
    server: impl Into<Server>,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String)> {
    ask_within(server, method, path, body, TIMEOUT)
}

/// The same, with the time that the answer may take.
pub fn ask_within(
    server: impl Into<Server>,
    method: &str,
    path: &str,
    body: &str,
    limit: Duration,
) -> Result<(u16, String)> {
    let server = server.into();
    let cannot = || format!("no answer from {server}{path}");
    let stream = server
        .send(method, path, body, Some(limit))
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
    let code = status_code(head).with_context(cannot)?;
    Ok((code, body.to_owned()))
}

fn status_code(head: &str) -> Option<u16> {
    head.split(' ').nth(1)?.parse().ok()
}

/// Reads an answer that goes on without end, and calls `each` with every line as it comes. Returns an error
/// when the server ends the answer, or the error of `each`.
pub fn follow(
    server: impl Into<Server>,
    path: &str,
    mut each: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let server = server.into();
    let cannot = || format!("no answer from {server}{path}");
    let stream = server.send("GET", path, "", None).with_context(cannot)?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().with_context(cannot)?.with_context(cannot)?;
    let code = status_code(&first).with_context(cannot)?;
    if code != 200 {
        bail!("{server}{path} answered {code}");
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
pub fn get_json(server: impl Into<Server>, path: &str) -> Result<serde_json::Value> {
    let server = server.into();
    let (code, body) = ask(server.clone(), "GET", path, "")?;
    if code != 200 {
        bail!("{server}{path} answered {code}: {}", body.trim());
    }
    serde_json::from_str(&body).with_context(|| format!("{server}{path}: that is no JSON"))
}
