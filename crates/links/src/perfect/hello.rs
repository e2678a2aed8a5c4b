//! The greeting: the sender, its cluster and settings, and what it knows of the others.
//!
//! Layout: `1`, `"quorate"`, version, sender, receiver, n, flags, incarnation u64, nonce u64, its draw u64, echo
//! u64, longest message u64, fingerprints of the stack and of the lanes u64, the cluster as a string (varint length),
//! the voters known (varint count; seat, incarnation u64, number u32), the stack as a string, and names of lanes, as
//! much as fits. What stands before the receiver is the same in every version.
use super::{
    framing::{CHECKSUM, HELLO, Malformed, seal, take_process},
    voter::{VOTER, Voter, put_voter, take_voter},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_core::{Incarnation, ProcessId, message::digest, wire};

const MAGIC: &[u8; 7] = b"quorate";
/// The version of the protocol that this code speaks. It differs by more than one bit from every version
/// whose frames had no checksum; therefore 5 to 7 are left out.
pub const VERSION: u8 = 8;
/// The last version whose frames had no checksum.
const LAST_WITHOUT_CHECKSUM: u8 = 3;
/// The longest name of a cluster, in bytes.
pub const MAXIMUM_CLUSTER: usize = 64;
/// How many bytes of the stack's description a greeting carries, at most. The fingerprint covers all of it.
const MAXIMUM_STACK: usize = 1023;
/// How many bytes of a lane's name a greeting carries, at most.
const MAXIMUM_LANE: usize = 127;

const WANTS_REPLY: u8 = 1;
const READY: u8 = 2;
const NEWCOMER: u8 = 4;

/// The version and the rank of a greeting, if it is of a version whose frames had no checksum.
pub fn version_without_checksum(datagram: &[u8]) -> Option<Malformed> {
    let [version, from, ..] = datagram.strip_prefix(&[HELLO])?.strip_prefix(MAGIC)? else {
        return None;
    };
    let (version, from) = (*version, *from);
    let is_old = (1..=LAST_WITHOUT_CHECKSUM).contains(&version);
    is_old.then_some(Malformed::Version { from, version })
}

/// The sender that a datagram names, if it begins like a greeting of any version. It proves nothing.
pub fn greets_as(datagram: &[u8]) -> Option<ProcessId> {
    let [_version, from, ..] = datagram.strip_prefix(&[HELLO])?.strip_prefix(MAGIC)? else {
        return None;
    };
    ProcessId::from_rank(usize::from(*from))
}

/// The properties that two processes compare when they meet.
#[derive(Clone, Debug)]
pub struct Identity {
    pub me: ProcessId,
    /// The size of Π.
    pub n: usize,
    /// This start of it.
    pub incarnation: Incarnation,
    /// The cluster's name.
    pub cluster: String,
    /// The algorithms in use.
    pub stack: String,
    /// The longest message.
    pub maximum_message: usize,
    /// The digest of the lanes' names.
    pub lanes_fingerprint: u64,
    /// The lanes' names.
    pub lanes: Vec<String>,
}

/// A greeting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The sender.
    pub from: ProcessId,
    /// The intended receiver.
    pub to: ProcessId,
    /// The size of the sender's Π.
    pub n: u8,
    /// Whether the sender still needs information that the receiver can give.
    pub wants_reply: bool,
    /// Whether the sender has been admitted, so that data may flow to it.
    pub ready: bool,
    /// Whether the sender waits to be adopted. Then its greeting tells which incarnation holds its seat.
    pub newcomer: bool,
    /// The sender's incarnation.
    pub incarnation: Incarnation,
    /// The nonce that the sender has drawn for the receiver; zero if the sender has not heard of it before.
    pub nonce: u64,
    /// The number of that draw, among the sender's draws for the receiver's seat.
    pub draw: u64,
    /// The receiver's last nonce that the sender has heard; zero if it has heard none.
    pub echo: u64,
    /// The longest message that the sender accepts, in bytes.
    pub maximum_message: u64,
    /// The digest of the sender's stack.
    pub stack_fingerprint: u64,
    /// The digest of the sender's lanes.
    pub lanes_fingerprint: u64,
    /// The sender's cluster.
    pub cluster: String,
    /// The beginning of the description of the sender's stack.
    pub stack: String,
    /// The voters of all seats, as the sender knows them.
    pub voters: Vec<(ProcessId, Voter)>,
    /// The names of the sender's lanes, as many as fit.
    pub lanes: Vec<String>,
}

impl Hello {
    /// A greeting of `identity` to `to`, without any voters.
    pub fn new(identity: &Identity, to: ProcessId) -> Hello {
        Hello {
            from: identity.me,
            to,
            n: identity.n as u8,
            wants_reply: false,
            ready: false,
            newcomer: false,
            incarnation: identity.incarnation,
            nonce: 0,
            draw: 0,
            echo: 0,
            maximum_message: identity.maximum_message as u64,
            stack_fingerprint: digest(identity.stack.as_bytes()),
            lanes_fingerprint: identity.lanes_fingerprint,
            cluster: identity.cluster.clone(),
            stack: prefix(&identity.stack, MAXIMUM_STACK).to_owned(),
            voters: Vec::new(),
            lanes: identity.lanes.clone(),
        }
    }

    /// The frame, at most `limit` bytes long: as many voters and names of lanes as fit.
    pub fn encode(&self, limit: usize) -> Bytes {
        let mut out = BytesMut::with_capacity(limit);
        let limit = limit - CHECKSUM;
        out.put_u8(HELLO);
        out.put_slice(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(self.from.rank() as u8);
        out.put_u8(self.to.rank() as u8);
        out.put_u8(self.n);
        let flags = [
            (self.wants_reply, WANTS_REPLY),
            (self.ready, READY),
            (self.newcomer, NEWCOMER),
        ];
        out.put_u8(flags.iter().map(|(is, flag)| u8::from(*is) * flag).sum());
        out.put_u64_le(self.incarnation.0);
        out.put_u64_le(self.nonce);
        out.put_u64_le(self.draw);
        out.put_u64_le(self.echo);
        out.put_u64_le(self.maximum_message);
        out.put_u64_le(self.stack_fingerprint);
        out.put_u64_le(self.lanes_fingerprint);
        put_string(&self.cluster, &mut out);
        let fitting = (limit.saturating_sub(out.len() + 2) / (1 + VOTER)).min(self.voters.len());
        wire::put_number(fitting as u64, &mut out);
        for (seat, voter) in &self.voters[..fitting] {
            out.put_u8(seat.rank() as u8);
            put_voter(*voter, &mut out);
        }
        let room = limit.saturating_sub(out.len() + 2);
        put_string(prefix(&self.stack, room.min(MAXIMUM_STACK)), &mut out);
        for name in &self.lanes {
            let name = prefix(name, MAXIMUM_LANE);
            if out.len() + 1 + name.len() > limit {
                break;
            }
            put_string(name, &mut out);
        }
        seal(out)
    }

    /// Takes the rest of a HELLO frame off the front of `bytes`.
    pub fn decode(bytes: &mut Bytes) -> Result<Hello, Malformed> {
        if bytes.len() < MAGIC.len() || bytes.split_to(MAGIC.len()) != MAGIC[..] {
            return Err(Malformed::Frame);
        }
        let version = bytes.try_get_u8()?;
        if version != VERSION {
            let from = bytes.try_get_u8()?;
            return Err(Malformed::Version { from, version });
        }
        let (from, to) = (take_process(bytes)?, take_process(bytes)?);
        let n = bytes.try_get_u8()?;
        let flags = bytes.try_get_u8()?;
        Ok(Hello {
            from,
            to,
            n,
            wants_reply: flags & WANTS_REPLY != 0,
            ready: flags & READY != 0,
            newcomer: flags & NEWCOMER != 0,
            incarnation: Incarnation(bytes.try_get_u64_le()?),
            nonce: bytes.try_get_u64_le()?,
            draw: bytes.try_get_u64_le()?,
            echo: bytes.try_get_u64_le()?,
            maximum_message: bytes.try_get_u64_le()?,
            stack_fingerprint: bytes.try_get_u64_le()?,
            lanes_fingerprint: bytes.try_get_u64_le()?,
            cluster: take_string(bytes, MAXIMUM_CLUSTER)?,
            voters: take_voters(bytes)?,
            stack: take_string(bytes, MAXIMUM_STACK)?,
            lanes: take_names(bytes)?,
        })
    }

    /// The holder of the sender's seat, if the sender waits to be adopted.
    pub fn predecessor(&self) -> Option<Voter> {
        let mut own = self.voters.iter().filter(|(seat, _)| *seat == self.from);
        let (_, before) = own.next().filter(|_| self.newcomer)?;
        Some(*before).filter(|before| before.incarnation != self.incarnation)
    }

    /// The difference between the sender and `here` that keeps them apart, in words; `None` if they are
    /// compatible.
    pub fn difference(&self, here: &Identity) -> Option<String> {
        let cluster = &self.cluster;
        if *cluster != here.cluster {
            return Some(format!(
                "cluster {:?} here, {cluster:?} there",
                here.cluster
            ));
        }
        if usize::from(self.n) != here.n {
            return Some(format!("{} processes here, {} there", here.n, self.n));
        }
        if self.to != here.me {
            let (me, to) = (here.me, self.to);
            return Some(format!("this is {me}, and it takes this for {to}"));
        }
        if self.maximum_message != here.maximum_message as u64 {
            return Some(format!(
                "messages of at most {} bytes here, {} there",
                here.maximum_message, self.maximum_message
            ));
        }
        if self.stack_fingerprint != digest(here.stack.as_bytes()) {
            return Some(self.difference_of_stacks(here));
        }
        if self.lanes_fingerprint != here.lanes_fingerprint {
            return Some(self.difference_of_lanes(here));
        }
        None
    }

    /// The parts of the stack that only one of the two has, if both descriptions are complete.
    fn difference_of_stacks(&self, here: &Identity) -> String {
        let only = |these: &str, those: &str| {
            let only = these.split(' ').filter(|part| !part.is_empty());
            let only = only.filter(|part| !those.split(' ').any(|other| other == *part));
            only.collect::<Vec<_>>().join(" ")
        };
        let only_here = only(&here.stack, &self.stack);
        let only_there = only(&self.stack, &here.stack);
        let is_whole = digest(self.stack.as_bytes()) == self.stack_fingerprint;
        if is_whole && !(only_here.is_empty() && only_there.is_empty()) {
            format!("stacks differ: only here {only_here:?}, only there {only_there:?}")
        } else {
            format!("stack {:?} here, {:?} there", here.stack, self.stack)
        }
    }

    fn difference_of_lanes(&self, here: &Identity) -> String {
        let only = |these: &[String], those: &[String]| {
            let only = these.iter().find(|name| !those.contains(name));
            only.map_or("none".to_owned(), |name| format!("{name:?}"))
        };
        format!(
            "lanes differ: only here {}, only there {}",
            only(&here.lanes, &self.lanes),
            only(&self.lanes, &here.lanes)
        )
    }
}

fn prefix(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length)]
}

fn put_string(text: &str, out: &mut BytesMut) {
    wire::put_number(text.len() as u64, out);
    out.put_slice(text.as_bytes());
}

fn take_string(bytes: &mut Bytes, limit: usize) -> Result<String, Malformed> {
    let length = wire::take_number(bytes)?;
    match usize::try_from(length) {
        Ok(length) if length <= bytes.len().min(limit) => {
            let text = bytes.split_to(length);
            let text = std::str::from_utf8(&text).map_err(|_| Malformed::Frame)?;
            Ok(text.to_owned())
        }
        _ => Err(Malformed::Frame),
    }
}

fn take_voters(bytes: &mut Bytes) -> Result<Vec<(ProcessId, Voter)>, Malformed> {
    let count = wire::take_number(bytes)?;
    let mut voters = Vec::new();
    for _ in 0..count {
        voters.push((take_process(bytes)?, take_voter(bytes)?));
    }
    Ok(voters)
}

fn take_names(bytes: &mut Bytes) -> Result<Vec<String>, Malformed> {
    let mut names = Vec::new();
    while !bytes.is_empty() {
        names.push(take_string(bytes, MAXIMUM_LANE)?);
    }
    Ok(names)
}
