//! The keys of a node: the links are sealed with them.
use super::{Builder, Node, sight::Sight, socket::Bound};
use crate::{host::TokioHost, peers::Addresses, thread::Protocol};
use quorate_abstractions::{Subscribe, addressed::Path, fair_loss};
use quorate_core::{Addr, Host, Membership, ProcessId};
use quorate_links::perfect::{PerfectLinks, claimed_sender};
use quorate_sealed::{
    Agreed, Identity, Secret, Settings,
    layer::{self, Change, News},
    step::Strangeness,
};
use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::warn;
use zeroize::Zeroizing;

/// The version of what is sealed. It changes when links can no longer read each other.
const VERSION: u32 = 1;

/// The most identities of one seat: more are never needed while one is replaced by another.
const AT_MOST: usize = 2;

/// The least time between two warnings of the same kind about the same seat.
const AGAIN: Duration = Duration::from_mins(1);

/// Why keys cannot be used in this cluster. No variant shows a secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadKeys {
    /// The own secret belongs to none of the identities that are listed for this process.
    #[error("the identity of the own secret, {fingerprint}, is not listed for {me}")]
    NotOwn {
        me: ProcessId,
        /// The fingerprint of the secret's identity.
        fingerprint: String,
    },
    /// No identity is listed for a process.
    #[error("no identity is listed for {0}")]
    Missing(ProcessId),
    /// A process has more identities than are needed to replace one.
    #[error("{process} has {listed} identities: at most {AT_MOST}")]
    TooMany {
        process: ProcessId,
        /// How many are listed.
        listed: usize,
    },
    /// One identity is listed for two processes, so that each could speak for the other.
    #[error("{one} and {other} have the same identity")]
    Shared { one: ProcessId, other: ProcessId },
    /// An identity is listed for a process that is no member.
    #[error("{0} is no member, and has an identity")]
    NotMember(ProcessId),
    /// The node was started without keys, and gets none while it runs.
    #[error("the node was started without keys")]
    NotSealed,
}

/// What a builder is told.
pub(super) struct Keys {
    secret: Secret,
    identities: BTreeMap<ProcessId, Vec<Identity>>,
}

impl Keys {
    fn new(secret: Secret, listed: impl IntoIterator<Item = (ProcessId, Identity)>) -> Self {
        let mut identities: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (process, identity) in listed {
            let of = identities.entry(process).or_default();
            if !of.contains(&identity) {
                of.push(identity);
            }
        }
        Keys { secret, identities }
    }

    /// Whether all members can use them.
    pub(super) fn check(&self, me: ProcessId, processes: &Membership) -> Result<(), BadKeys> {
        let mut owners = BTreeMap::new();
        for (process, listed) in &self.identities {
            if !processes.contains(*process) {
                return Err(BadKeys::NotMember(*process));
            }
            if listed.len() > AT_MOST {
                let (process, listed) = (*process, listed.len());
                return Err(BadKeys::TooMany { process, listed });
            }
            for identity in listed {
                // One process can have the links of another one without having its signatures.
                let other = owners.insert(*identity.link_key(), *process);
                if let Some(one) = other.filter(|one| one != process) {
                    let other = *process;
                    return Err(BadKeys::Shared { one, other });
                }
            }
        }
        let is_listed = |p: &ProcessId| self.identities.contains_key(p);
        if let Some(missing) = processes.iter().find(|p| !is_listed(p)) {
            return Err(BadKeys::Missing(missing));
        }
        let own = self.secret.identity();
        if !self.identities[&me].contains(&own) {
            let fingerprint = own.fingerprint();
            return Err(BadKeys::NotOwn { me, fingerprint });
        }
        Ok(())
    }
}

/// Where a running node is given other keys. Clones belong to the same node; when it has stopped, they change nothing.
#[derive(Clone)]
pub struct KeyRing {
    me: ProcessId,
    processes: Membership,
    change: Addr<Change>,
}

crate::debug::opaque!(KeyRing);

/// Keys that a node can use, and does not use yet.
#[must_use = "the node uses them once they are taken up"]
pub struct PreparedKeys {
    keys: Keys,
    change: Addr<Change>,
}

crate::debug::opaque!(PreparedKeys);

impl KeyRing {
    /// Checks keys, without a change.
    ///
    /// # Errors
    /// When the keys are not usable.
    pub fn prepare(
        &self,
        secret: Secret,
        identities: impl IntoIterator<Item = (ProcessId, Identity)>,
    ) -> Result<PreparedKeys, BadKeys> {
        let keys = Keys::new(secret, identities);
        keys.check(self.me, &self.processes)?;
        let change = self.change.clone();
        Ok(PreparedKeys { keys, change })
    }
}

impl PreparedKeys {
    /// Lets the node use these keys, soon after the call. See [`Node::renew_keys`].
    pub fn take_up(self) {
        let Keys { secret, identities } = self.keys;
        // First the secret: who is dialled anew is to see the new one.
        self.change.send(Change::Secret(secret));
        for (process, identities) in identities {
            self.change.send(Change::Identities(process, identities));
        }
    }
}

/// Keys.
impl Builder {
    /// Seals the links: nobody but the members can speak for a member, or read what members send to each other.
    ///
    /// `secret` is this process's own; `identities` are those of all members, this one included, the same list on every
    /// process. A member can have two while one is replaced by the other: see [`Node::renew_keys`].
    ///
    /// Sealed and unsealed processes do not talk to each other. A datagram carries 30 bytes less. Default: not sealed, and
    /// only a loopback address can be bound (see [`insecure`](Builder::insecure)).
    ///
    /// # Example
    /// ```
    /// # use quorate_core::ProcessId;
    /// # use quorate_runtime::Node;
    /// use quorate_sealed::Secret;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let me = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let peers = vec![socket.local_addr()?];
    /// // From a file that only this process can read: `quorate keys new` writes one.
    /// # let text = Secret::new([1; 32]).to_text();
    /// let secret = Secret::parse(&text)?;
    /// // From the configuration, one line for each member.
    /// let identities = [(me, secret.identity())];
    /// let node = Node::builder(me, peers).socket(socket).sealed(secret, identities);
    /// let node = node.start().await?;
    /// # node.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn sealed(
        mut self,
        secret: Secret,
        identities: impl IntoIterator<Item = (ProcessId, Identity)>,
    ) -> Self {
        self.keys = Some(Keys::new(secret, identities));
        self
    }

    /// Joins the socket to the links, with the layer that seals in between.
    pub(super) fn attach_sealed(
        &self,
        keys: &Keys,
        socket: Bound,
        protocol: &mut Protocol,
        addresses: &Addresses,
        links: &PerfectLinks<TokioHost>,
        sight: &Arc<Sight>,
    ) -> io::Result<(Addr<fair_loss::Transmit>, KeyRing)> {
        let host = protocol.host().at("sealed");
        // The stack and the lanes are compared by the links, inside the session: so each process can say in which of them
        // its peer differs.
        let agreed = Agreed::new::<&str>(&self.link.cluster, VERSION, "", &[]);
        let secret = keys.secret.clone();
        let settings = Settings {
            entropy: Zeroizing::new(rand::random()),
            ..Settings::new(secret, agreed, keys.identities.clone(), claimed_sender)
        };
        let (edges, faults, peers) = (self.edges, &self.faults, addresses.clone());
        let mut refused = None;
        let edge = |up| {
            let attached = socket.attach_addressed(protocol, peers, edges, faults, up);
            attached.unwrap_or_else(|error| {
                refused = Some(error);
                Addr::nowhere()
            })
        };
        let (out, change, watch) = layer::spawn(&host, settings, edge, links.arrivals());
        if let Some(error) = refused {
            return Err(error);
        }
        tell_sessions(&watch, addresses.clone(), sight);
        let (me, processes) = (host.me(), *host.processes());
        Ok((
            out,
            KeyRing {
                me,
                processes,
                change,
            },
        ))
    }
}

/// Keys.
impl Node {
    /// Replaces the keys while the node runs. Sessions with identities that are still listed go on; those with others
    /// end, and begin anew with those that are. So all keys of a running cluster can be replaced: first every process lists
    /// the old and the new identity of each member, then every process takes its new secret, then all list the new
    /// identities alone. Nothing is lost meanwhile. Takes effect soon after the call.
    ///
    /// # Errors
    /// When the keys are not usable; then those in use stay, all of them.
    pub fn renew_keys(
        &self,
        secret: Secret,
        identities: impl IntoIterator<Item = (ProcessId, Identity)>,
    ) -> Result<(), BadKeys> {
        let ring = self.key_ring().ok_or(BadKeys::NotSealed)?;
        ring.prepare(secret, identities)?.take_up();
        Ok(())
    }

    /// Where the node is given other keys, also by those who do not own it; `None` if its links are not sealed.
    pub fn key_ring(&self) -> Option<&KeyRing> {
        self.keys.as_ref()
    }
}

/// Sessions go into the status, and who is refused into the log.
fn tell_sessions(watch: &Subscribe<News>, addresses: Addresses, sight: &Arc<Sight>) {
    let sight = sight.clone();
    let warned = std::sync::Mutex::new(BTreeMap::<(ProcessId, Strangeness), Instant>::new());
    watch.send(Addr::new(move |news| match news {
        News::Begun(peer, _, identity) => {
            sight.change(|now| now.upon_session(peer, identity.fingerprint()));
        }
        News::Ended(peer) => sight.change(|now| now.upon_session_ended(peer)),
        News::Moved(peer, path) => {
            let address = match path {
                Path::Address(address) => Some(address),
                Path::Listed => addresses.of(peer),
            };
            if let Some(address) = address {
                sight.change(|now| now.upon_located(peer, address));
            }
        }
        News::Stranger(peer, path, why) => {
            let mut warned = warned
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let now = Instant::now();
            let last = warned.insert((peer, why), now);
            if let Some(last) = last.filter(|last| now.duration_since(*last) < AGAIN) {
                warned.insert((peer, why), last);
                return;
            }
            sight.span().in_scope(|| warn_of_stranger(peer, path, why));
        }
    }));
}

fn warn_of_stranger(peer: ProcessId, path: Path, why: Strangeness) {
    let at = match path {
        Path::Listed => "its listed address".to_owned(),
        Path::Address(address) => address.to_string(),
    };
    match why {
        Strangeness::ForAnother => warn!(
            "somebody at {at} shakes hands as {peer} with an identity that this process does not have: its list is another, or old"
        ),
        Strangeness::OtherContext => warn!(
            "somebody at {at} shakes hands as {peer}, and belongs to another cluster or speaks another version"
        ),
        Strangeness::UnlistedIdentity => warn!(
            "somebody at {at} shakes hands as {peer}, with an identity that is not listed for {peer}"
        ),
        Strangeness::OtherIdentity => warn!(
            "{peer} at {at} has another secret than listed here, or lists another identity for this process"
        ),
    }
}
