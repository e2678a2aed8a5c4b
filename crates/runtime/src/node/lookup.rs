//! Where peers are that are known by name: looked up by tasks of the user's runtime, and again while they are
//! silent.
//!
//! A peer is silent while no data flows between it and this process, or it is suspected, or it says that it does
//! not hear this process: it may be elsewhere now. Its name is looked up at once then, and again after half a second,
//! ever more slowly up to [`SLOWEST`], until it is silent no longer. A name that leads nowhere is no error: it may
//! be known later, and until then an address that was known stays. Where it leads to several addresses, one stays
//! while it is among them, and the next has its turn if the peer is silent nonetheless.
use super::{NodeStatus, sight::Sight, snapshot::Way, socket::Bound};
use crate::peers::{Addresses, PeerAddress, PeerName};
use futures_core::future::BoxFuture;
use quorate_abstractions::heartbeat::Heard;
use quorate_core::{Addr, ProcessId, ProcessSet};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

/// After this a name is looked up for the second time,
const FIRST: Duration = Duration::from_millis(500);
/// and after twice as long each time, up to this.
const SLOWEST: Duration = Duration::from_secs(5);

/// What finds the addresses of a name.
pub(super) type Resolver =
    Arc<dyn Fn(PeerName) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The operating system's.
pub(super) fn of_the_system() -> Resolver {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.host(), name.port())).await?;
            Ok(found.collect())
        })
    })
}

/// Which addresses a socket reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Family {
    /// Whether its own address is one of the older family.
    older: bool,
    /// Whether it reaches that family only.
    only: bool,
}

impl Family {
    /// Those of this socket, which is bound to that address. TCP dials from sockets of either family, and a UDP
    /// socket of the newer one may reach both.
    pub fn of(socket: &Bound, address: SocketAddr) -> Self {
        Family {
            older: address.is_ipv4(),
            only: address.is_ipv4() && !socket.is_stream(),
        }
    }

    /// Whether an address is out of reach.
    pub fn is_foreign(self, address: SocketAddr) -> bool {
        self.only && address.is_ipv6()
    }

    /// Those of the addresses at which a peer can be talked to, the own family's first.
    fn usable(self, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let found = found.into_iter().map(crate::peers::canonical);
        let mut usable: Vec<_> = found
            .filter(|it| !is_nowhere(*it) && !self.is_foreign(*it))
            .collect();
        usable.sort_by_key(|it| it.is_ipv4() != self.older);
        usable
    }
}

/// Whether nobody can be at this address.
pub(super) fn is_nowhere(address: SocketAddr) -> bool {
    address.ip().is_unspecified() || address.port() == 0
}

/// One of several addresses: the present one if it is among them, or the one behind it if that one has had its
/// turn.
fn choose(found: &[SocketAddr], present: Option<SocketAddr>, next: bool) -> Option<SocketAddr> {
    let place = found.iter().position(|it| Some(*it) == present);
    match place {
        Some(place) => found.get((place + usize::from(next)) % found.len()),
        None => found.first(),
    }
    .copied()
}

/// Notes on the protocol thread who says that it does not hear this process.
pub(super) fn those_that_do_not_hear(me: ProcessId) -> (Addr<Heard>, watch::Receiver<ProcessSet>) {
    let (sender, deaf) = watch::channel(ProcessSet::EMPTY);
    let heard = Addr::new(move |Heard { from, beat }: Heard| {
        let is_deaf = beat.unheard.contains(me);
        sender.send_if_modified(|deaf| {
            if is_deaf {
                deaf.insert(from)
            } else {
                deaf.remove(from)
            }
        });
    });
    (heard, deaf)
}

/// What the look-ups of one node need. Clones share it.
#[derive(Clone)]
pub(super) struct Lookups {
    pub resolver: Resolver,
    pub family: Family,
    pub addresses: Addresses,
    pub status: watch::Receiver<NodeStatus>,
    /// Those that say that they do not hear this process.
    pub deaf: watch::Receiver<ProcessSet>,
    /// A look-up may outlast the node for a while.
    pub sight: Weak<Sight>,
}

impl Lookups {
    /// Looks up those of the `peers` that are names, until what is returned is dropped.
    pub fn start(&self, peers: &[PeerAddress]) -> DropGuard {
        let end = CancellationToken::new();
        let me = self.status.borrow().me;
        for (index, peer) in peers.iter().enumerate() {
            let process = ProcessId::from_rank(index + 1).filter(|p| *p != me);
            if let (Some(process), Some(name)) = (process, peer.name()) {
                let (lookups, name) = (self.clone(), name.clone());
                let end = end.clone();
                tokio::spawn(async move {
                    end.run_until_cancelled(lookups.follow(process, name)).await;
                });
            }
        }
        end.drop_guard()
    }

    /// Looks one peer's name up again and again while it is silent, until the node is gone.
    async fn follow(mut self, peer: ProcessId, name: PeerName) {
        // Each address is used for one look longer.
        let mut had_its_turn = false;
        let mut pause = FIRST;
        loop {
            let found = (self.resolver)(name.clone()).await;
            had_its_turn = self.upon_found(peer, &name, found, had_its_turn);
            sleep(pause).await;
            pause = (pause * 2).min(SLOWEST);
            if !self.is_silent(peer) {
                if self.until_silent(peer).await.is_err() {
                    return;
                }
                (had_its_turn, pause) = (false, FIRST);
            }
        }
    }

    /// Acts upon what a look-up has found. Says whether the address in use stays, and should do so for the last time.
    fn upon_found(
        &self,
        peer: ProcessId,
        name: &PeerName,
        found: io::Result<Vec<SocketAddr>>,
        had_its_turn: bool,
    ) -> bool {
        let found = found.map(|found| self.family.usable(found));
        let reason = match found {
            Ok(found) => {
                let present = self.addresses.of(peer);
                if let Some(address) = choose(&found, present, had_its_turn) {
                    self.locate(peer, name, address);
                    return present == Some(address);
                }
                "it has no address that the socket reaches".to_owned()
            }
            Err(error) => error.to_string(),
        };
        if let Some(sight) = self.sight.upgrade() {
            sight.change(|now| now.upon_not_located(peer, reason));
        }
        had_its_turn
    }

    fn locate(&self, peer: ProcessId, name: &PeerName, address: SocketAddr) {
        let other = self.addresses.at(address).filter(|other| *other != peer);
        if self.addresses.set(peer, address)
            && let Some(other) = other
        {
            // One of them has moved, and is found elsewhere next; or the names are wrong.
            warn!(%peer, %name, %address, "it is where {other} is, or was");
        }
        if let Some(sight) = self.sight.upgrade() {
            sight.change(|now| now.upon_located(peer, address));
        }
    }

    fn is_silent(&self, peer: ProcessId) -> bool {
        self.deaf.borrow().contains(peer) || is_silent(&self.status.borrow(), peer)
    }

    /// Waits until a peer is silent; fails when the node is gone.
    async fn until_silent(&mut self, peer: ProcessId) -> Result<(), watch::error::RecvError> {
        while !self.is_silent(peer) {
            tokio::select! {
                changed = self.status.changed() => changed?,
                changed = self.deaf.changed() => changed?,
            }
        }
        Ok(())
    }
}

/// Whether no data flows between a peer and this process, or it is suspected. Who is suspected since it is cut off
/// from others is heard.
fn is_silent(now: &NodeStatus, peer: ProcessId) -> bool {
    let is_reached = now
        .peers
        .get(peer.index())
        .is_some_and(|it| matches!(it.way, Way::Connected { .. } | Way::Ended { .. }));
    !is_reached || now.suspected.without(now.cut_off).contains(peer)
}

#[cfg(test)]
mod tests;
