//! Strangers who begin handshakes with the nodes, as many as one processor can send.
//!
//! They know the identities of the members, which are public, and have no secret of theirs: that is the most expensive
//! kind.
use crate::{Error, machine};
use bytes::Bytes;
use quorate_core::{Incarnation, ProcessId, Random, Time};
use quorate_sealed::{
    Agreed, Identity, Secret, Settings,
    peers::Peers,
    step::{Output, Step},
};
use rand::{RngExt, SeedableRng};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

/// How many different handshakes there are for each node.
const PREPARED: u64 = 256;

/// Where the handshakes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strangers {
    /// To a port of this machine at which nobody listens: what sending alone costs.
    AtAClosedPort,
    AtTheNodes,
}

/// A thread that sends until it is stopped.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Flood {
    /// Begins. `nodes` are the addresses of p1 … pn, and `identities` theirs.
    pub fn start(
        whither: Strangers,
        cluster: &str,
        nodes: &[SocketAddr],
        identities: &[(ProcessId, Identity)],
    ) -> Result<Self, Error> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let closed = UdpSocket::bind(any)?.local_addr()?;
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        let mut datagrams = Vec::new();
        for ((node, identity), address) in identities.iter().zip(nodes) {
            let seats: Vec<_> = identities.iter().map(|(p, _)| *p).collect();
            for handshake in handshakes(cluster, *node, *identity, &seats) {
                let to = match whither {
                    Strangers::AtAClosedPort => closed,
                    Strangers::AtTheNodes => *address,
                };
                datagrams.push((to, handshake));
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let run = move || {
            machine::pin(1);
            let mut sent = 0;
            while !stopped.load(Relaxed) {
                for (to, datagram) in &datagrams {
                    // A closed port is told of; that ends nothing.
                    sent += u64::from(socket.send_to(datagram, to).is_ok());
                }
            }
            sent
        };
        let thread = thread::Builder::new()
            .name("strangers".to_owned())
            .spawn(run)?;
        Ok(Flood {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends, and gives the number of datagrams that were sent.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Relaxed);
        let thread = self.thread.take();
        thread.and_then(|thread| thread.join().ok()).unwrap_or(0)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// First messages of handshakes with a node, each in the place of another member and of a start of its own.
fn handshakes(
    cluster: &str,
    node: ProcessId,
    identity: Identity,
    seats: &[ProcessId],
) -> Vec<Bytes> {
    let mut rng = Random::seed_from_u64(node.rank() as u64);
    let others: Vec<_> = seats.iter().filter(|p| **p != node).collect();
    let agreed = Agreed::new::<&str>(cluster, 1, "", &[]);
    let mut all = Vec::new();
    for (number, seat) in (0..PREPARED).zip(others.iter().cycle()) {
        let identities = [(node, vec![identity])].into();
        let settings = Settings::new(Secret::new(rng.random()), agreed, identities, |_| None);
        let mut peers = Peers::new(**seat, Incarnation(rng.random::<u64>() ^ number), settings);
        let (mut outputs, mut counts) = (Vec::new(), Vec::new());
        peers.begin(&mut Step {
            now: Time::ZERO,
            rng: &mut rng,
            outputs: &mut outputs,
            counts: &mut counts,
        });
        all.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Transmit { bytes, .. } => Some(bytes),
            _ => None,
        }));
    }
    all
}
