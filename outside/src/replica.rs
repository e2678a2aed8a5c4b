//! A replica that is a process of its own: it is started, told something line by line, and killed.
use crate::{Fallible, LIMIT};
use quorate::prelude::*;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{self, Child, Command, Stdio};
use std::{env, sync::mpsc, thread};

/// Addresses on loopback. While a replica is down nobody else is given its port: they lie below those that
/// systems choose from.
pub fn addresses(n: usize) -> Vec<SocketAddr> {
    let first = 20_000 + (process::id() % 1_000) as u16 * 10;
    let all = (first..).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let free = all.filter(|address| UdpSocket::bind(address).is_ok());
    free.take(n).collect()
}

/// The process of a replica, and what it says.
pub struct Replica(Child, mpsc::Receiver<String>);

impl Replica {
    /// Starts this program once more, to be that one of the replicas.
    pub fn start(rank: usize, addresses: &[SocketAddr]) -> Fallible<Self> {
        let mut command = Command::new(env::current_exe()?);
        let addresses = addresses.iter().map(SocketAddr::to_string);
        command.arg(rank.to_string()).args(addresses);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or("the output is piped")?;
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let (tell, said) = mpsc::channel();
        thread::spawn(move || lines.try_for_each(|line| tell.send(line)));
        Ok(Replica(child, said))
    }

    /// Tells it something, and waits for what it says to that.
    pub fn ask(&mut self, what: &str) -> Fallible<String> {
        let stdin = self.0.stdin.as_mut().ok_or("the input is piped")?;
        writeln!(stdin, "{what}")?;
        Ok(self.1.recv_timeout(LIMIT)?)
    }

    /// Kills it, wherever it is: SIGKILL.
    pub fn kill(&mut self) -> Fallible {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

/// Which replica this process was started to be, of which; none: it is the one that starts them.
pub fn role() -> Fallible<Option<(ProcessId, Vec<SocketAddr>)>> {
    let mut arguments = env::args().skip(1);
    let Some(rank) = arguments.next() else {
        return Ok(None);
    };
    let me = ProcessId::from_rank(rank.parse()?).ok_or("a rank is 1 to 128")?;
    let peers = arguments.map(|address| address.parse());
    Ok(Some((me, peers.collect::<Result<_, _>>()?)))
}
