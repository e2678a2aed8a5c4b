//! Locks with fencing tokens, and the values that they guard, as a state machine over total order.
//!
//! A lock is granted in the order of the requests. The *token* of a request is its place in the total order: the
//! same numbering as the fence of a term of leadership, and it grows for ever. A lock is lost when its holder
//! releases it, when the connection of the holder ends, or when it is taken over by a command. Whoever proposes
//! that command may have waited for any time: the machine has no clock, and its safety does not depend on one.
//!
//! # Promises
//! - **LK1** exclusion (safety): at every place of the order each lock has at most one holder.
//! - **LK2** tokens grow (safety): the token of a request is the place of its first command; of two grants of a
//!   lock to different requests the later one has the larger token.
//! - **LK3** fencing (safety): a value is read or written only with the token of the present holder. So nothing is
//!   read or written with a token after a larger one was *granted*, whether that one was used or not (H2-E5).
//! - **LK4** no creation (safety): a lock is granted only to a request that was made and has not ended.
//! - **LK5** no duplication (safety): a request that is made again while it stands changes no queue, and is
//!   answered with its token.
//! - **LK6** renewal (safety): a lock is taken over only if the request has not been renewed since the place that
//!   the command names. A grant and a change of the server count as renewals.
//! - **LK7** progress (liveness): when a lock is lost, the request that has waited longest gets it at once. So
//!   every request that does not end gets the lock, if each holder before it releases or loses it.
//! - **LK8** connections (safety): the end of a connection ends only what that connection serves, and a renewal
//!   counts only through it. So what is still on its way through an earlier connection of an owner does no harm.
//! - **LK9** values (safety): a read returns what was written last, whoever held the lock then.
//!
//! Exclusion holds in the order, not in time: a holder that stalls may believe that it holds a lock that has been
//! taken over (CS1 of the critical section cannot be had in time). Fencing makes its late effects harmless.
//!
//! # Assumes
//! Total order. Of its users: an owner's name is chosen afresh for each request, and the server's numbers of its
//! connections are never used again.
//!
//! # Messages
//! [`Command`], each in a message of its own: two requests never have the same place.
//!
//! # Cost
//! One message of the total order a command; O(log n) time, and O(w) with w requests for the lock. Memory: at
//! most [`REQUESTS`] requests and [`VALUES`] values of at most [`BYTES`] bytes together. A lock that nobody holds
//! takes none; the values that it guards stay until they are removed.
//!
//! # Why it holds
//! The requests for a lock are a queue, and the first of it holds the lock: hence LK1, LK7. A request enters at
//! the end with its place, which is larger than all before: hence LK2. All else is looked up in this queue at the
//! place of the command. No token of the past has to be kept for LK3: whoever is not first is refused.
//!
//! # Source
//! The lecture on state-machine replication, the critical section with failures, and its fencing tokens. Two
//! deviations: reads are fenced, too; and a token is refused as soon as its request has ended, even if nobody has
//! been granted the lock since.
//!
//! # Example
//! ```
//! use quorate_core::{Incarnation, ProcessId};
//! use quorate_services::locks::{Command, Locks, Reply, Server};
//!
//! let process = ProcessId::from_rank(1).ok_or("ranks begin at 1")?;
//! let server = |session| Server { process, incarnation: Incarnation(7), session };
//! let acquire = |owner: &str, session| Command::Acquire {
//!     lock: b"door".to_vec(), owner: owner.into(), lease: 0, waits: true, server: server(session),
//! };
//! let mut locks = Locks::default();
//! let granted = locks.apply(10, &acquire("ann", 1)).reply;
//! assert_eq!(granted, Reply::Queued { token: 10, before: 0 });
//! let waits = locks.apply(11, &acquire("bob", 2)).reply;
//! assert_eq!(waits, Reply::Queued { token: 11, before: 1 });
//! // Ann's connection ends: bob has the lock, and ann's token is refused.
//! locks.apply(12, &Command::Disconnect { lock: b"door".to_vec(), server: server(1) });
//! let late = Command::Write { lock: b"door".to_vec(), token: 10, key: vec![], value: None };
//! assert_eq!(locks.apply(13, &late).reply, Reply::Fenced { holder: Some(11) });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod command;

pub use command::{Command, Reply};

use bytes::Bytes;
use quorate_core::{Incarnation, ProcessId, wire::Undecodable};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

/// The most requests that hold or wait, for all locks together.
pub const REQUESTS: usize = 4096;

/// The most guarded values.
pub const VALUES: usize = 4096;

/// The most bytes of guarded values together, with their names.
pub const BYTES: usize = 16 * 1024 * 1024;

/// The longest name of a lock, an owner or a value.
pub const LONGEST_NAME: usize = 256;

/// The longest value.
pub const LONGEST_VALUE: usize = 256 * 1024;

/// The connection through which a request is served.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Server {
    pub process: ProcessId,
    pub incarnation: Incarnation,
    /// The number of the connection. No other one of this incarnation ever has the same.
    pub session: u64,
}

/// A request for a lock that has not ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The place of its first command in the order.
    pub token: u64,
    pub owner: Vec<u8>,
    /// For how long, in milliseconds, the holder may leave the lock without renewal; 0: for ever.
    pub lease: u64,
    /// The place of its last renewal in the order.
    pub renewed: u64,
    pub server: Server,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Requests before it hold the lock, or wait for it.
    Waiting,
    Held,
    /// It was released or taken over, or is served by another server.
    Ended,
}

/// The reason why nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// A name has more than [`LONGEST_NAME`] bytes, or a value more than [`LONGEST_VALUE`].
    #[error("a name has more than 256 bytes, or a value more than 256 KiB")]
    TooLong,
    /// There are [`REQUESTS`] requests.
    #[error("too many requests for locks stand already")]
    TooManyRequests,
    /// The guarded values have reached [`VALUES`] or [`BYTES`].
    #[error("the values that locks guard take too much room already")]
    TooMuchStored,
}

/// The result of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The answer to the sender.
    pub reply: Reply,
    /// What the servers have to be told, in this order.
    pub told: Vec<(Server, Status)>,
}

impl Applied {
    fn reply(reply: Reply) -> Self {
        let told = Vec::new();
        Applied { reply, told }
    }
}

/// A part of a state, for a state transfer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Item {
    /// The next request for a lock.
    Request(Vec<u8>, Request),
    /// A lock, a key, and the value.
    Value(Vec<u8>, Vec<u8>, Vec<u8>),
}

/// The locks and the guarded values. They are equal wherever the same commands were applied in the same order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Locks {
    /// The requests for each lock, in the order of their tokens. The first one holds it. None is empty.
    queues: BTreeMap<Vec<u8>, VecDeque<Request>>,
    /// How many requests there are.
    requests: usize,
    /// The values, by lock and key.
    values: BTreeMap<(Vec<u8>, Vec<u8>), Bytes>,
    /// The bytes of all values and their names.
    bytes: usize,
    #[cfg(test)]
    mutant: Option<Mutant>,
    /// The largest token that was used for each lock, for the mutant that compares only these.
    #[cfg(test)]
    used: BTreeMap<Vec<u8>, u64>,
}

impl Locks {
    /// Applies the command at the next place of the order. Deterministic.
    pub fn apply(&mut self, place: u64, command: &Command) -> Applied {
        match command {
            Command::Acquire {
                lock,
                owner,
                lease,
                waits,
                server,
            } => {
                let request = Request {
                    token: place,
                    owner: owner.clone(),
                    lease: *lease,
                    renewed: place,
                    server: *server,
                };
                self.upon_acquire(lock, request, *waits)
            }
            Command::Renew {
                lock,
                token,
                server,
            } => {
                #[cfg(test)]
                if self.mutant == Some(Mutant::RenewsTheMoved) {
                    return self.upon_attach(lock, place, *server, |it| it.token == *token);
                }
                self.upon_attach(lock, place, *server, |it| {
                    it.token == *token && it.server == *server
                })
            }
            Command::Attach {
                lock,
                token,
                server,
            } => self.upon_attach(lock, place, *server, |it| it.token == *token),
            Command::Release { lock, token } => self.end(lock, place, |it| it.token == *token),
            Command::Disconnect { lock, server } => {
                #[cfg(test)]
                if self.mutant == Some(Mutant::DisconnectsTheMoved) {
                    return self.end(lock, place, |it| it.server.session <= server.session);
                }
                self.end(lock, place, |it| it.server == *server)
            }
            Command::Expire {
                lock,
                token,
                renewed,
            } => {
                #[cfg(test)]
                match self.mutant {
                    Some(Mutant::ExpiresTheRenewed) => {
                        return self.end(lock, place, |it| it.token == *token);
                    }
                    Some(Mutant::NeverExpires) => return Applied::reply(Reply::Found(false)),
                    _ => {}
                }
                self.end(lock, place, |it| {
                    it.token == *token && it.renewed == *renewed
                })
            }
            Command::Read { lock, token, key } => Applied::reply(self.upon_read(lock, *token, key)),
            Command::Write {
                lock,
                token,
                key,
                value,
            } => Applied::reply(self.upon_write(lock, *token, key, value.as_deref())),
        }
    }

    /// LK1, LK5: the request takes its place at the end of the queue, unless it stands there already.
    fn upon_acquire(
        &mut self,
        lock: &[u8],
        #[cfg_attr(not(test), expect(unused_mut, reason = "a mutant changes it"))]
        mut request: Request,
        waits: bool,
    ) -> Applied {
        let known = self.find(lock, |it| it.owner == request.owner);
        #[cfg(test)]
        let known = known.filter(|_| self.mutant != Some(Mutant::QueuesAgain));
        if let Some(at) = known {
            let told = self.attach(lock, at, request.token, request.server);
            if let Some(known) = self.queues.get_mut(lock).and_then(|it| it.get_mut(at)) {
                known.lease = request.lease;
                let (token, before) = (known.token, at);
                let reply = Reply::Queued { token, before };
                return Applied { reply, told };
            }
        }
        if let Some(holder) = self.holder(lock).filter(|_| !waits) {
            let holder = holder.token;
            return Applied::reply(Reply::Busy { holder });
        }
        if lock.len().max(request.owner.len()) > LONGEST_NAME {
            return Applied::reply(Reply::Refused(Refusal::TooLong));
        }
        if self.requests >= REQUESTS {
            return Applied::reply(Reply::Refused(Refusal::TooManyRequests));
        }
        let queue = self.queues.entry(lock.to_vec()).or_default();
        let (token, before) = (request.token, queue.len());
        #[cfg(test)]
        let (token, before) = match self.mutant {
            Some(Mutant::GrantsAtOnce) => (token, 0),
            Some(Mutant::CountsRequests) => {
                request.token = self.requests as u64 + 1;
                (request.token, before)
            }
            _ => (token, before),
        };
        let told = vec![(request.server, status_at(before))];
        queue.push_back(request);
        self.requests += 1;
        let reply = Reply::Queued { token, before };
        Applied { reply, told }
    }

    /// LK6, LK8: the request is renewed, if there is one, and served by this server from now on.
    fn upon_attach(
        &mut self,
        lock: &[u8],
        place: u64,
        server: Server,
        is_it: impl Fn(&Request) -> bool,
    ) -> Applied {
        match self.find(lock, is_it) {
            Some(at) => Applied {
                reply: Reply::Found(true),
                told: self.attach(lock, at, place, server),
            },
            None => Applied::reply(Reply::Found(false)),
        }
    }

    /// The request at this index of the queue is renewed, and served by this server from now on.
    fn attach(
        &mut self,
        lock: &[u8],
        at: usize,
        place: u64,
        server: Server,
    ) -> Vec<(Server, Status)> {
        let Some(request) = self.queues.get_mut(lock).and_then(|it| it.get_mut(at)) else {
            return Vec::new();
        };
        request.renewed = place;
        let before = mem::replace(&mut request.server, server);
        if before == server {
            return Vec::new();
        }
        vec![(before, Status::Ended), (server, status_at(at))]
    }

    /// LK4, LK7: the request ends; if it held the lock, the next one holds it.
    fn end(&mut self, lock: &[u8], place: u64, is_it: impl Fn(&Request) -> bool) -> Applied {
        let mut applied = Applied::reply(Reply::Found(false));
        let Some(at) = self.find(lock, is_it) else {
            return applied;
        };
        let Some(queue) = self.queues.get_mut(lock) else {
            return applied;
        };
        #[cfg(test)]
        if self.mutant == Some(Mutant::KeepsTheReleased) && at > 0 {
            applied.reply = Reply::Found(true);
            applied.told.push((queue[at].server, Status::Ended));
            return applied;
        }
        let Some(ended) = queue.remove(at) else {
            return applied;
        };
        #[cfg(test)]
        if self.mutant == Some(Mutant::NewestFirst) && at == 0 {
            queue.rotate_right(1.min(queue.len()));
        }
        applied.reply = Reply::Found(true);
        applied.told.push((ended.server, Status::Ended));
        self.requests -= 1;
        if let Some(next) = queue.front_mut().filter(|_| at == 0) {
            next.renewed = place;
            applied.told.push((next.server, Status::Held));
            #[cfg(test)]
            if self.mutant == Some(Mutant::TellsNobody) {
                applied.told.pop();
            }
        }
        if queue.is_empty() {
            self.queues.remove(lock);
        }
        applied
    }

    /// LK3: the error is what a caller is told whose token is not the holder's.
    fn fence(&self, lock: &[u8], token: u64) -> Result<(), Reply> {
        #[cfg(test)]
        if self.mutant == Some(Mutant::ComparesTheUsed) {
            let used = self.used.get(lock).copied();
            return match used.filter(|used| *used > token) {
                None => Ok(()),
                holder => Err(Reply::Fenced { holder }),
            };
        }
        let holder = self.holder(lock).map(|holder| holder.token);
        if holder == Some(token) {
            return Ok(());
        }
        Err(Reply::Fenced { holder })
    }

    fn upon_read(&self, lock: &[u8], token: u64, key: &[u8]) -> Reply {
        let fenced = self.fence(lock, token);
        #[cfg(test)]
        let fenced = fenced.or_else(|fenced| match self.mutant {
            Some(Mutant::FencesWritesOnly) => Ok(()),
            _ => Err(fenced),
        });
        if let Err(fenced) = fenced {
            return fenced;
        }
        let name = (lock.to_vec(), key.to_vec());
        Reply::Value(self.values.get(&name).cloned())
    }

    fn upon_write(&mut self, lock: &[u8], token: u64, key: &[u8], value: Option<&[u8]>) -> Reply {
        if let Err(fenced) = self.fence(lock, token) {
            return fenced;
        }
        let length = value.map_or(0, <[u8]>::len);
        if key.len() > LONGEST_NAME || length > LONGEST_VALUE {
            return Reply::Refused(Refusal::TooLong);
        }
        let name = (lock.to_vec(), key.to_vec());
        let names = lock.len() + key.len();
        let before = self.values.get(&name).map(Bytes::len);
        let rest = self.bytes - before.map_or(0, |before| names + before);
        let Some(value) = value else {
            self.values.remove(&name);
            self.bytes = rest;
            return Reply::Written;
        };
        let is_new = before.is_none() && self.values.len() >= VALUES;
        if is_new || rest + names + length > BYTES {
            return Reply::Refused(Refusal::TooMuchStored);
        }
        #[cfg(test)]
        match self.mutant {
            Some(Mutant::LosesWrites) => return Reply::Written,
            Some(Mutant::ComparesTheUsed) => {
                self.used.insert(lock.to_vec(), token);
            }
            _ => {}
        }
        self.values.insert(name, Bytes::copy_from_slice(value));
        self.bytes = rest + names + length;
        Reply::Written
    }

    fn find(&self, lock: &[u8], is_it: impl Fn(&Request) -> bool) -> Option<usize> {
        self.queues.get(lock)?.iter().position(is_it)
    }
}

/// Questions about the state.
impl Locks {
    /// The request that holds a lock.
    pub fn holder(&self, lock: &[u8]) -> Option<&Request> {
        self.queues.get(lock)?.front()
    }

    /// How many requests wait for a lock.
    pub fn waiting(&self, lock: &[u8]) -> usize {
        self.queues.get(lock).map_or(0, |queue| queue.len() - 1)
    }

    /// All requests, each with its lock and how many come before it.
    pub fn requests(&self) -> impl Iterator<Item = (&[u8], usize, &Request)> {
        self.queues.iter().flat_map(|(lock, queue)| {
            let queue = queue.iter().enumerate();
            queue.map(move |(at, request)| (lock.as_slice(), at, request))
        })
    }

    /// What became of the request that this server serves, if there is one.
    pub fn served(&self, server: Server) -> Option<Status> {
        let mut requests = self.requests();
        let found = requests.find(|(_, _, request)| request.server == server);
        found.map(|(_, at, _)| status_at(at))
    }

    /// Whether nobody holds or waits for any lock.
    pub fn is_idle(&self) -> bool {
        self.requests == 0
    }
}

/// State transfer.
impl Locks {
    /// All parts of the state as it is now, in the order in which they are restored.
    pub fn items(&self) -> impl Iterator<Item = Item> + Send + 'static {
        let queues = self.queues.clone().into_iter();
        let requests = queues.flat_map(|(lock, queue)| {
            let request = move |request| Item::Request(lock.clone(), request);
            queue.into_iter().map(request)
        });
        let values = self.values.clone().into_iter();
        let values = values.map(|((lock, key), value)| Item::Value(lock, key, value.to_vec()));
        requests.chain(values)
    }

    /// Adds the next part of a state to what was restored before it.
    ///
    /// # Errors
    /// When no state goes on with this part.
    pub fn restore(&mut self, item: Item) -> Result<(), Undecodable> {
        let fits = match &item {
            Item::Request(lock, request) => {
                let last = self.queues.last_key_value();
                let in_order = last.is_none_or(|(last, queue)| match last.cmp(lock) {
                    std::cmp::Ordering::Less => true,
                    std::cmp::Ordering::Equal => {
                        queue.back().is_none_or(|it| it.token < request.token)
                            && queue.iter().all(|it| it.owner != request.owner)
                    }
                    std::cmp::Ordering::Greater => false,
                });
                let names = lock.len().max(request.owner.len());
                in_order
                    && self.values.is_empty()
                    && self.requests < REQUESTS
                    && names <= LONGEST_NAME
            }
            Item::Value(lock, key, value) => {
                let last = self.values.last_key_value();
                let in_order = last.is_none_or(|((l, k), _)| (l, k) < (lock, key));
                in_order
                    && self.values.len() < VALUES
                    && self.bytes + lock.len() + key.len() + value.len() <= BYTES
                    && lock.len().max(key.len()) <= LONGEST_NAME
                    && value.len() <= LONGEST_VALUE
            }
        };
        if !fits {
            return Err(Undecodable);
        }
        match item {
            Item::Request(lock, request) => {
                self.queues.entry(lock).or_default().push_back(request);
                self.requests += 1;
            }
            Item::Value(lock, key, value) => {
                self.bytes += lock.len() + key.len() + value.len();
                self.values.insert((lock, key), value.into());
            }
        }
        Ok(())
    }
}

/// The status of a request with so many before it.
fn status_at(before: usize) -> Status {
    if before == 0 {
        Status::Held
    } else {
        Status::Waiting
    }
}

/// A rule that is broken, for the checkers to find.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mutant {
    /// A request for a lock that is held is granted, too (LK1).
    GrantsAtOnce,
    /// Tokens are the numbers of the requests that stand (LK2).
    CountsRequests,
    /// The request that came last is the next one (LK7).
    NewestFirst,
    /// A token is refused only if a larger one was used for writing (LK3, H2-E5).
    ComparesTheUsed,
    /// Reads need no token (LK3, H2-E5).
    FencesWritesOnly,
    /// Who gives up waiting is granted the lock all the same (LK4).
    KeepsTheReleased,
    /// A request that is made again gets a second place (LK5).
    QueuesAgain,
    /// A lock is taken over although its holder has renewed it (LK6).
    ExpiresTheRenewed,
    /// A lock is never taken over (LK6).
    NeverExpires,
    /// When a lock is lost, nobody is told that it is theirs (LK7).
    TellsNobody,
    /// The end of a connection ends what has moved to a later one, too (LK8).
    DisconnectsTheMoved,
    /// A renewal through an earlier connection takes the request back to that (LK8).
    RenewsTheMoved,
    /// Writes are acknowledged, and have no effect (LK9).
    LosesWrites,
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
