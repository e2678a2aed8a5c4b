//! Where the peers are: at addresses that stay, or wherever their names lead.
use futures_util::task::AtomicWaker;
use quorate_core::{ProcessId, process::MAXIMUM_PROCESSES};
use std::{
    fmt,
    net::SocketAddr,
    str::FromStr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::Context,
};

/// The address of a process, as the cluster's list of peers has it.
///
/// # Example
/// ```
/// use quorate_runtime::PeerAddress;
///
/// let fixed: PeerAddress = "10.0.0.1:7100".parse()?;
/// let named: PeerAddress = "replica2:7100".parse()?;
/// assert!(matches!(fixed, PeerAddress::At(_)));
/// assert!(matches!(named, PeerAddress::Named(_)));
/// assert_eq!(named.to_string(), "replica2:7100");
/// # Ok::<(), quorate_runtime::peers::BadPeerAddress>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PeerAddress {
    /// Always at this address.
    At(SocketAddr),
    /// At the address to which this name resolves at the time.
    Named(PeerName),
}

/// The name of a host, and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerName {
    host: String,
    port: u16,
}

/// The text is neither an address with a port nor a name with a port.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no HOST:PORT")]
pub struct BadPeerAddress(String);

impl PeerName {
    /// The host's name, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl PeerAddress {
    /// The address, if this is not a name.
    pub fn fixed(&self) -> Option<SocketAddr> {
        match self {
            PeerAddress::At(address) => Some(*address),
            PeerAddress::Named(_) => None,
        }
    }

    /// The name, if this is not an address.
    pub fn name(&self) -> Option<&PeerName> {
        match self {
            PeerAddress::At(_) => None,
            PeerAddress::Named(name) => Some(name),
        }
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        PeerAddress::At(address)
    }
}

impl From<PeerName> for PeerAddress {
    fn from(name: PeerName) -> Self {
        PeerAddress::Named(name)
    }
}

impl FromStr for PeerName {
    type Err = BadPeerAddress;

    fn from_str(text: &str) -> Result<Self, BadPeerAddress> {
        let bad = || BadPeerAddress(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port > 0);
        let is_part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(is_part_of_name) {
            return Err(bad());
        }
        Ok(PeerName {
            host: host.to_lowercase(),
            port: port.ok_or_else(bad)?,
        })
    }
}

impl FromStr for PeerAddress {
    type Err = BadPeerAddress;

    fn from_str(text: &str) -> Result<Self, BadPeerAddress> {
        match text.parse() {
            Ok(address) => Ok(PeerAddress::At(address)),
            Err(_) => text.parse().map(PeerAddress::Named),
        }
    }
}

impl TryFrom<&str> for PeerAddress {
    type Error = BadPeerAddress;

    fn try_from(text: &str) -> Result<Self, BadPeerAddress> {
        text.parse()
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::At(address) => address.fmt(f),
            PeerAddress::Named(name) => name.fmt(f),
        }
    }
}

/// The present addresses of p1 … pn, for an edge. Clones share them.
///
/// Nothing that arrives from the network changes the addresses: only their owner does, by
/// [`set`](Addresses::set).
#[derive(Clone, Debug)]
pub struct Addresses(Arc<Table>);

#[derive(Debug)]
struct Table {
    /// By process; `None` if the address is not known yet.
    now: RwLock<Vec<Option<SocketAddr>>>,
    /// The number of changes so far.
    version: AtomicU64,
    /// Wakes the thread of the edge.
    waker: AtomicWaker,
}

impl Addresses {
    /// The addresses of p1 … pn; `None` for one that is not known yet.
    pub fn new(addresses: impl IntoIterator<Item = Option<SocketAddr>>) -> Self {
        Addresses(Arc::new(Table {
            now: RwLock::new(addresses.into_iter().collect()),
            version: AtomicU64::new(0),
            waker: AtomicWaker::new(),
        }))
    }

    /// The number of processes.
    pub fn processes(&self) -> usize {
        self.read(Vec::len)
    }

    /// The address of a process; `None` if it is not known, or if the process is no member.
    pub fn of(&self, process: ProcessId) -> Option<SocketAddr> {
        self.read(|now| now.get(process.index()).copied().flatten())
    }

    /// The process at this address. An IPv4 address may be written as an IPv6 one.
    pub fn at(&self, address: SocketAddr) -> Option<ProcessId> {
        let address = canonical(address);
        let ranks = (1..=MAXIMUM_PROCESSES).filter_map(ProcessId::from_rank);
        self.read(|now| {
            let mut places = now.iter().zip(ranks);
            let is_there = |at: &Option<SocketAddr>| at.map(canonical) == Some(address);
            places.find(|(at, _)| is_there(at)).map(|(_, p)| p)
        })
    }

    /// Sets the address of a process. Returns whether it is a new one.
    pub fn set(&self, process: ProcessId, address: SocketAddr) -> bool {
        {
            let mut now = self.0.now.write().unwrap_or_else(PoisonError::into_inner);
            match now.get_mut(process.index()) {
                Some(known) if *known != Some(address) => *known = Some(address),
                _ => return false,
            }
        }
        self.0.version.fetch_add(1, Ordering::Release);
        self.0.waker.wake();
        true
    }

    /// The changes from now on, for one reader.
    pub(crate) fn changes(&self) -> Changes {
        let version = self.0.version.load(Ordering::Acquire);
        Changes {
            known: self.read(Vec::clone),
            addresses: self.clone(),
            version,
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Vec<Option<SocketAddr>>) -> T) -> T {
        read(&self.0.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<&[SocketAddr]> for Addresses {
    fn from(addresses: &[SocketAddr]) -> Self {
        Addresses::new(addresses.iter().copied().map(Some))
    }
}

impl From<&Vec<SocketAddr>> for Addresses {
    fn from(addresses: &Vec<SocketAddr>) -> Self {
        Addresses::from(addresses.as_slice())
    }
}

/// Converts an IPv4 address that is written as an IPv6 one back to IPv4, so that equal addresses compare as
/// equal.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The addresses as an edge knows them.
pub(crate) struct Changes {
    addresses: Addresses,
    version: u64,
    known: Vec<Option<SocketAddr>>,
}

impl Changes {
    /// The processes whose addresses have changed since the last call, with the new addresses. `cx` is
    /// woken at the next change. There must be only one caller.
    pub fn take(&mut self, cx: &Context<'_>) -> Vec<(ProcessId, SocketAddr)> {
        let table = &self.addresses.0;
        table.waker.register(cx.waker());
        let version = table.version.load(Ordering::Acquire);
        if std::mem::replace(&mut self.version, version) == version {
            return Vec::new();
        }
        let now = self.addresses.read(Vec::clone);
        let ranks = (1..=MAXIMUM_PROCESSES).filter_map(ProcessId::from_rank);
        let pairs = ranks.zip(now.iter().zip(&self.known));
        let news = pairs.filter(|(_, (now, known))| now != known);
        let news = news.filter_map(|(p, (now, _))| Some((p, (*now)?)));
        let news = news.collect();
        self.known = now;
        news
    }
}

#[cfg(test)]
mod tests;
