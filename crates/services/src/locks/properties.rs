//! Checks a history of commands and their results against LK1 … LK9. It knows nothing of the machine's state:
//! only what was asked, answered and told.
use super::{Applied, Command, Reply, Server, Status};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A request, as its user sees it.
#[derive(Clone, Debug)]
struct Seen {
    lock: Vec<u8>,
    owner: Vec<u8>,
    token: u64,
    holds: bool,
    renewed: u64,
}

/// The property that a step violates.
pub type Violated = &'static str;

/// What is known of the history so far.
#[derive(Default)]
pub struct Checker {
    /// The requests that have not ended, by their servers.
    seen: BTreeMap<Server, Seen>,
    /// The largest token that was granted for each lock.
    granted: BTreeMap<Vec<u8>, u64>,
    written: BTreeMap<(Vec<u8>, Vec<u8>), Bytes>,
}

impl Checker {
    /// Takes in the next step.
    pub fn step(
        &mut self,
        place: u64,
        command: &Command,
        applied: &Applied,
    ) -> Result<(), Violated> {
        let ended = self.take_in(place, command, applied)?;
        match command {
            Command::Acquire { owner, lock, .. } => {
                let same = |seen: &&Seen| seen.owner == *owner && seen.lock == *lock;
                let same = self.seen.values().filter(same).count();
                if same > 1 {
                    return Err("LK5: a second place for one request");
                }
            }
            Command::Renew { .. } | Command::Attach { .. } => {}
            Command::Release { token, lock } => {
                if ended
                    .iter()
                    .any(|it| it.token != *token || it.lock != *lock)
                {
                    return Err("LK4: another request than the released one ended");
                }
            }
            Command::Disconnect { server, .. } => {
                let served = applied.told.iter().filter(|(_, to)| *to == Status::Ended);
                if served.into_iter().any(|(whose, _)| whose != server) {
                    return Err("LK8: what another connection serves ended");
                }
            }
            Command::Expire {
                lock,
                token,
                renewed,
            } => {
                let is_due =
                    |it: &Seen| it.lock == *lock && it.token == *token && it.renewed == *renewed;
                if !ended.iter().all(is_due) {
                    return Err("LK6: a request was taken over that had been renewed");
                }
                if ended.is_empty() && self.seen.values().any(is_due) {
                    return Err("LK6: a request was not taken over");
                }
            }
            Command::Read { lock, token, key } => {
                self.fenced(lock, *token, &applied.reply)?;
                let name = (lock.clone(), key.clone());
                let is_stale = |read: &Option<Bytes>| read.as_ref() != self.written.get(&name);
                if let Reply::Value(read) = &applied.reply
                    && is_stale(read)
                {
                    return Err("LK9: another value than the last written one was read");
                }
            }
            Command::Write {
                lock,
                token,
                key,
                value,
            } => {
                self.fenced(lock, *token, &applied.reply)?;
                let name = (lock.clone(), key.clone());
                if applied.reply == Reply::Written {
                    match value {
                        Some(value) => self.written.insert(name, value.clone().into()),
                        None => self.written.remove(&name),
                    };
                }
            }
        }
        self.is_granted()
    }

    /// Takes in what was told; gives the requests that ended for good.
    fn take_in(
        &mut self,
        place: u64,
        command: &Command,
        applied: &Applied,
    ) -> Result<Vec<Seen>, Violated> {
        let mut ended = Vec::new();
        let mut told = applied.told.as_slice();
        // A request that moves to another server ends at the first one, and stands on.
        if let Command::Renew {
            lock,
            server,
            token,
        } = command
        {
            let served = self.seen.get_mut(server);
            let served = served.filter(|it| it.token == *token && it.lock == *lock);
            if (applied.reply == Reply::Found(true)) != served.is_some() {
                return Err("LK8: a renewal counts, or not, by the connection that serves");
            }
            if let Some(served) = served {
                served.renewed = place;
            }
        }
        if let Command::Acquire { server, .. } | Command::Attach { server, .. } = command {
            match told {
                [(before, Status::Ended), (after, now)] if after == server => {
                    let moved = self.seen.remove(before);
                    let moved = moved.ok_or("LK4: what did not stand has moved")?;
                    if moved.holds != (*now == Status::Held) {
                        return Err("LK5: a request that is made again has changed its place");
                    }
                    self.seen.insert(*after, moved);
                    told = &[];
                }
                [(new, _)] if new == server => {
                    self.begin(place, command, applied)?;
                }
                _ => {}
            }
            if let (Reply::Queued { .. } | Reply::Found(true), Some(seen)) =
                (&applied.reply, self.seen.get_mut(server))
            {
                seen.renewed = place;
            }
        }
        for (server, now) in told {
            let Some(seen) = self.seen.get_mut(server) else {
                return Err("LK4: something was told of a request that does not stand");
            };
            match now {
                Status::Waiting => {}
                Status::Held => {
                    (seen.holds, seen.renewed) = (true, place);
                    let (lock, token) = (seen.lock.clone(), seen.token);
                    let holders = self.seen.values().filter(|it| it.holds && it.lock == lock);
                    if holders.count() > 1 {
                        return Err("LK1: two holders");
                    }
                    if self
                        .granted
                        .insert(lock, token)
                        .is_some_and(|last| last >= token)
                    {
                        return Err("LK2: a grant with a token that is not larger");
                    }
                }
                Status::Ended => ended.extend(self.seen.remove(server)),
            }
        }
        Ok(ended)
    }

    /// A new request stands.
    fn begin(&mut self, place: u64, command: &Command, applied: &Applied) -> Result<(), Violated> {
        let (
            Command::Acquire {
                lock,
                owner,
                server,
                ..
            },
            Reply::Queued { token, .. },
        ) = (command, &applied.reply)
        else {
            return Err("LK4: a request stands that nobody has made");
        };
        if *token != place {
            return Err("LK2: a token that is not the place of the request");
        }
        let seen = Seen {
            lock: lock.clone(),
            owner: owner.clone(),
            token: *token,
            holds: false,
            renewed: place,
        };
        self.seen.insert(*server, seen);
        Ok(())
    }

    /// LK3, in both directions: the holder is not refused, and nobody else is served.
    fn fenced(&self, lock: &[u8], token: u64, reply: &Reply) -> Result<(), Violated> {
        let mut holders = self.seen.values().filter(|it| it.holds && it.lock == lock);
        let is_holder = holders.next().is_some_and(|holder| holder.token == token);
        let largest = self.granted.get(lock).copied().unwrap_or(0);
        match reply {
            Reply::Fenced { .. } if is_holder => Err("LK3: the holder was refused"),
            Reply::Fenced { .. } => Ok(()),
            _ if token < largest => Err("LK3: served although a larger token was granted"),
            _ if !is_holder => Err("LK3: served although the token was not the holder's"),
            _ => Ok(()),
        }
    }

    /// LK7 at each step: a lock for which somebody waits is held by the one that has waited longest.
    fn is_granted(&self) -> Result<(), Violated> {
        for seen in self.seen.values() {
            let of_lock = || self.seen.values().filter(|it| it.lock == seen.lock);
            let first = of_lock().min_by_key(|it| it.token);
            if first.is_some_and(|first| !first.holds) {
                return Err("LK7: the first in the queue does not hold the lock");
            }
        }
        Ok(())
    }

    /// LK7 at the end of a run in which every holder was made to lose its lock: nobody waits any more.
    pub fn nobody_waits(&self) -> Result<(), Violated> {
        if self.seen.is_empty() {
            Ok(())
        } else {
            Err("LK7: somebody still waits at the end")
        }
    }
}
