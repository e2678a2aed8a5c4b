//! Lookups of peers that are known by name. Tasks of the user's runtime look the names up, and do so again
//! while the peers are silent.
//!
//! A peer is silent while no data flows between it and this process, or while it is suspected, or while it
//! says that it does not hear this process: it may have moved. Then its name is looked up at once, and
//! again after half a second, at growing intervals of up to [`SLOWEST`], until the peer is no longer
//! silent. A name that cannot be resolved is no error: it may be known later, and until then the known
//! address stays in use. If the name resolves to several addresses, the present one stays in use while it
//! is among them. If the peer is silent nonetheless, the next address is tried.
use super::{NodeStatus, sight::Sight, socket::Bound, status::ChannelState};
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

/// The time until the second lookup of a name.
const FIRST: Duration = Duration::from_millis(500);
/// The longest time between two lookups of a name. The time doubles with each lookup.
const SLOWEST: Duration = Duration::from_secs(5);

/// The function that finds the addresses of a name.
pub(super) type Resolver =
    Arc<dyn Fn(PeerName) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The resolver of the operating system.
pub(super) fn of_the_system() -> Resolver {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.host(), name.port())).await?;
            Ok(found.collect())
        })
    })
}

/// The addresses that a socket reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Family {
    /// Whether the socket's own address is an IPv4 address.
    older: bool,
    /// Whether the socket reaches addresses of its own IP version only.
    only: bool,
}

impl Family {
    /// The addresses that this socket reaches, which is bound to `address`. TCP dials from sockets of
    /// either IP version, and a UDP socket that is bound to an IPv6 address may reach both.
    pub fn of(socket: &Bound, address: SocketAddr) -> Self {
        Family {
            older: address.is_ipv4(),
            only: address.is_ipv4() && !socket.is_stream(),
        }
    }

    /// Whether the socket cannot reach this address.
    pub fn is_foreign(self, address: SocketAddr) -> bool {
        self.only && address.is_ipv6()
    }

    /// Those addresses at which a peer can be reached, the own IP version's first.
    fn usable(self, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let found = found.into_iter().map(crate::peers::canonical);
        let mut usable: Vec<_> = found
            .filter(|it| !is_nowhere(*it) && !self.is_foreign(*it))
            .collect();
        usable.sort_by_key(|it| it.is_ipv4() != self.older);
        usable
    }
}

/// Whether no process can be at this address.
pub(super) fn is_nowhere(address: SocketAddr) -> bool {
    address.ip().is_unspecified() || address.port() == 0
}

/// Chooses one of several addresses: the present one if it is among them; or, if `next` is set, the one
/// after it.
fn choose(found: &[SocketAddr], present: Option<SocketAddr>, next: bool) -> Option<SocketAddr> {
    let place = found.iter().position(|it| Some(*it) == present);
    match place {
        Some(place) => found.get((place + usize::from(next)) % found.len()),
        None => found.first(),
    }
    .copied()
}

/// Notes, on the protocol thread, the processes that say that they do not hear this process.
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

/// The state that the lookups of one node share, as do clones.
#[derive(Clone)]
pub(super) struct Lookups {
    pub resolver: Resolver,
    pub family: Family,
    pub addresses: Addresses,
    pub status: watch::Receiver<NodeStatus>,
    /// The processes that say that they do not hear this process.
    pub deaf: watch::Receiver<ProcessSet>,
    /// Weak, because a lookup may outlast the node for a while.
    pub sight: Weak<Sight>,
}

impl Lookups {
    /// Looks up those `peers` that are names, until the returned guard is dropped.
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

    /// Looks up one peer's name again and again while the peer is silent, until the node is gone.
    async fn follow(mut self, peer: ProcessId, name: PeerName) {
        // Each address is used for one more lookup before the next one is tried.
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

    /// Uses the addresses that a lookup has found. Returns whether the address in use stays the same; the
    /// next lookup then chooses another.
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
            // One of the two has moved, and its next lookup finds its new address; or the names are wrong.
            warn!(%peer, %name, %address, "it is where {other} is, or was");
        }
        if let Some(sight) = self.sight.upgrade() {
            sight.change(|now| now.upon_located(peer, address));
        }
    }

    fn is_silent(&self, peer: ProcessId) -> bool {
        self.deaf.borrow().contains(peer) || is_silent(&self.status.borrow(), peer)
    }

    /// Waits until a peer is silent. Fails when the node is gone.
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

/// Whether no data flows between a peer and this process, or the peer is suspected. A peer that is
/// suspected only because it is cut off from others is heard, and not silent.
fn is_silent(now: &NodeStatus, peer: ProcessId) -> bool {
    let is_reached = now.peers.get(peer.index()).is_some_and(|it| {
        matches!(
            it.channel,
            ChannelState::Connected { .. } | ChannelState::Ended { .. }
        )
    });
    !is_reached || now.suspected.without(now.cut_off).contains(peer)
}

#[cfg(test)]
mod tests;
