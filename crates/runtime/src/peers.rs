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

/// Where a process is, as the cluster's list of peers has it.
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
    /// At this address, always.
    At(SocketAddr),
    /// Wherever this name leads at the time.
    Named(PeerName),
}

/// The name of a host, and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerName {
    host: String,
    port: u16,
}

/// It is neither an address with a port nor a name with a port.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no HOST:PORT")]
pub struct BadPeerAddress(String);

impl PeerName {
    /// The host's name, in small letters.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl PeerAddress {
    /// The address, where it is one.
    pub fn fixed(&self) -> Option<SocketAddr> {
        match self {
            PeerAddress::At(address) => Some(*address),
            PeerAddress::Named(_) => None,
        }
    }

    /// The name, where it is one.
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

/// Where p1 … pn are at present, as an edge needs it. Clones share it.
///
/// Nothing that arrives from the network changes it: only its owner does, by [`set`](Addresses::set).
#[derive(Clone, Debug)]
pub struct Addresses(Arc<Table>);

#[derive(Debug)]
struct Table {
    /// `None`: nobody knows yet.
    now: RwLock<Vec<Option<SocketAddr>>>,
    /// How often it has changed.
    version: AtomicU64,
    /// The thread of the edge.
    waker: AtomicWaker,
}

impl Addresses {
    /// The addresses of p1 … pn; `None`: not known yet.
    pub fn new(addresses: impl IntoIterator<Item = Option<SocketAddr>>) -> Self {
        Addresses(Arc::new(Table {
            now: RwLock::new(addresses.into_iter().collect()),
            version: AtomicU64::new(0),
            waker: AtomicWaker::new(),
        }))
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.read(Vec::len)
    }

    /// Where a process is; `None`: that is not known, or it is no member.
    pub fn of(&self, process: ProcessId) -> Option<SocketAddr> {
        self.read(|now| now.get(process.index()).copied().flatten())
    }

    /// Who is at this address, whether it is written as one of the newer family or not.
    pub fn at(&self, address: SocketAddr) -> Option<ProcessId> {
        let address = canonical(address);
        let ranks = (1..=MAXIMUM_PROCESSES).filter_map(ProcessId::from_rank);
        self.read(|now| {
            let mut places = now.iter().zip(ranks);
            let is_there = |at: &Option<SocketAddr>| at.map(canonical) == Some(address);
            places.find(|(at, _)| is_there(at)).map(|(_, p)| p)
        })
    }

    /// A process is there from now on. Says whether that is news.
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

    /// For one who acts upon changes: those from now on.
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

/// An address of the older family is not to look like another one where it is written in the newer.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What an edge knows of the addresses.
pub(crate) struct Changes {
    addresses: Addresses,
    version: u64,
    known: Vec<Option<SocketAddr>>,
}

impl Changes {
    /// The processes whose addresses have changed since the last look, with the new ones; `cx` is woken at the
    /// next change. There is one who looks.
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
