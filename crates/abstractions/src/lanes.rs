//! The table of lanes that a link carries: their names, and the receiver of each lane's messages.
use crate::link::{Deliver, SendRequest, To};
use bytes::Bytes;
use quorate_core::{Addr, Counters, Name, ProcessId, message::digest, wire::Wire};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A lane's number: its place in the name-ordered table, the same at every process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LaneId(pub u16);

/// Passes a received message to the module that opened the lane.
type Receiver = Arc<dyn Fn(ProcessId, Bytes) + Send + Sync>;

/// Sees the messages that a process sends and receives in its lanes, for diagnostics. The protocol thread
/// calls it when a message leaves the sending module, and before a message reaches the receiving module.
pub trait Tap: Send + Sync {
    /// A message leaves.
    fn sent(&self, lane: &Name, to: To, message: &Bytes);
    /// A message has arrived.
    fn received(&self, lane: &Name, from: ProcessId, message: &Bytes);
}

/// A lane was opened twice.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the lane `{0}` is opened twice")]
pub struct OpenedTwice(pub Name);

#[derive(Default)]
struct Table {
    /// Lanes by name, each with the order in which it was opened.
    receivers: BTreeMap<Name, (usize, Receiver)>,
    opened_twice: Option<Name>,
    /// The lanes whose messages may be lost and duplicated.
    fair_loss: BTreeSet<Name>,
    tap: Option<Arc<dyn Tap>>,
}

/// Lanes being opened. Clones share the table.
#[derive(Clone, Default)]
pub struct LaneTable {
    table: Arc<Mutex<Table>>,
}

impl LaneTable {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `tap` see the messages of all lanes that are opened from now on.
    pub fn tap(&self, tap: Arc<dyn Tap>) {
        self.table().tap = Some(tap);
    }

    /// Makes the lane of this name a fair-loss lane: its messages may be lost and duplicated.
    pub fn mark_fair_loss(&self, name: Name) {
        self.table().fair_loss.insert(name);
    }

    /// Opens a lane. `up` gets the decoded messages that arrive on it; messages that do not decode are
    /// counted under the lane's name. Returns an address that encodes each message and passes it to `send`,
    /// with the position at which the lane was opened (see [`Lanes::number`]).
    pub fn open<M: Wire>(
        &self,
        name: Name,
        counters: &Counters,
        up: Addr<Deliver<M>>,
        send: Addr<(usize, SendRequest<Bytes>)>,
    ) -> Addr<SendRequest<M>> {
        let undecodable = counters.counter(&name, "undecodable");
        let mut table = self.table();
        let (tap, lane) = (table.tap.clone(), name.clone());
        let receiver: Receiver = Arc::new(move |from, bytes| {
            if let Some(tap) = &tap {
                tap.received(&lane, from, &bytes);
            }
            match M::decode(bytes) {
                Ok(message) => up.send(Deliver { from, message }),
                Err(_) => undecodable.add(1),
            }
        });
        let (tap, lane) = (table.tap.clone(), name.clone());
        let opened = table.receivers.len();
        if let Some(first) = table.receivers.insert(name.clone(), (opened, receiver)) {
            table.receivers.insert(name.clone(), first);
            table.opened_twice = Some(name);
        }
        send.with(move |SendRequest { to, message }: SendRequest<M>| {
            let message = message.into_bytes();
            if let Some(tap) = &tap {
                tap.sent(&lane, to, &message);
            }
            (opened, SendRequest { to, message })
        })
    }

    /// Closes the table: from now on the lanes have numbers.
    ///
    /// # Errors
    /// When a lane was opened twice.
    pub fn close(&self) -> Result<Lanes, OpenedTwice> {
        let table = self.table();
        if let Some(name) = &table.opened_twice {
            return Err(OpenedTwice(name.clone()));
        }
        let mut numbers = vec![LaneId(0); table.receivers.len()];
        let mut names = Vec::new();
        let mut receivers = Vec::new();
        let mut fair_loss = Vec::new();
        for (number, (name, (opened, receiver))) in table.receivers.iter().enumerate() {
            numbers[*opened] = LaneId(number as u16);
            fair_loss.push(table.fair_loss.contains(name));
            names.push(name.clone());
            receivers.push(receiver.clone());
        }
        Ok(Lanes {
            numbers,
            names,
            receivers,
            fair_loss,
        })
    }
}

/// The lanes of a link that has started.
#[derive(Clone)]
pub struct Lanes {
    numbers: Vec<LaneId>,
    names: Vec<Name>,
    receivers: Vec<Receiver>,
    fair_loss: Vec<bool>,
}

impl Lanes {
    /// The number of the lane that was opened as the `opened`-th, counted from 0.
    pub fn number(&self, opened: usize) -> Option<LaneId> {
        self.numbers.get(opened).copied()
    }

    /// The names, in the order of the numbers.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// How many lanes there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether the messages of a lane may be lost and duplicated.
    pub fn is_fair_loss(&self, lane: LaneId) -> bool {
        let known = self.fair_loss.get(usize::from(lane.0));
        known.copied().unwrap_or(false)
    }

    /// The names, in the order of the numbers, and which lanes are fair-loss lanes. Two processes understand
    /// each other only if these are equal.
    pub fn descriptions(&self) -> Vec<String> {
        let lanes = self.names.iter().zip(&self.fair_loss);
        lanes
            .map(|(name, fair_loss)| match fair_loss {
                true => format!("{name} (fair-loss)"),
                false => name.to_string(),
            })
            .collect()
    }

    /// A digest of the [descriptions](Self::descriptions).
    pub fn fingerprint(&self) -> u64 {
        digest(self.descriptions().join("\n").as_bytes())
    }

    /// Passes a received message to the module that opened the lane. Returns `false` if there is no such
    /// lane.
    pub fn deliver(&self, lane: LaneId, from: ProcessId, bytes: Bytes) -> bool {
        let Some(receiver) = self.receivers.get(usize::from(lane.0)) else {
            return false;
        };
        receiver(from, bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_names_and_not_the_order_of_opening() {
        let open = |names: &[&str]| {
            let table = LaneTable::default();
            for name in names {
                table.open::<Bytes>(
                    Name::from(*name),
                    &Counters::default(),
                    Addr::nowhere(),
                    Addr::nowhere(),
                );
            }
            table.close()
        };
        let (ab, ba) = (open(&["a", "b"]).unwrap(), open(&["b", "a"]).unwrap());
        assert_eq!(ab.fingerprint(), ba.fingerprint());
        assert_eq!(ab.number(0), Some(LaneId(0)));
        assert_eq!(ba.number(0), Some(LaneId(1)));
        assert!(!ab.is_fair_loss(LaneId(1)));
        assert_eq!(open(&["a", "a"]).err(), Some(OpenedTwice(Name::from("a"))));
    }

    #[test]
    fn lanes_of_one_name_and_two_kinds_differ() {
        let open = |fair_loss: &[&str]| {
            let table = LaneTable::default();
            for name in ["a", "b"] {
                table.open::<Bytes>(
                    Name::from(name),
                    &Counters::default(),
                    Addr::nowhere(),
                    Addr::nowhere(),
                );
            }
            for name in fair_loss {
                table.mark_fair_loss(Name::from(*name));
            }
            table.close().unwrap()
        };
        let lanes = open(&["b"]);
        assert_eq!(
            [0, 1, 2].map(|l| lanes.is_fair_loss(LaneId(l))),
            [false, true, false]
        );
        assert_eq!(lanes.descriptions(), ["a", "b (fair-loss)"]);
        assert_ne!(lanes.fingerprint(), open(&[]).fingerprint());
    }
}
