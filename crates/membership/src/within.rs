//! What a process has delivered in its present view, and what of it others may lack.
//!
//! The messages of a member are numbered within the view, and delivered in that order; so a count a
//! member says all that was delivered. What every member says it has delivered is *stable*: it is
//! forgotten, and need not be flushed. A member broadcasts only so much beyond what is stable, which
//! bounds what a view change has to carry and what must be kept for those that are behind.
use crate::messages::{Counts, Data, Message};
use bytes::Bytes;
use quorate_core::{Host, MessageId, ProcessId, ProcessSet, message::Origin};
use std::collections::{BTreeMap, VecDeque};

/// So many messages of a member may be unstable.
pub(crate) const WINDOW: u64 = 256;
/// So many bytes of all members together may be unstable, unless a single message is longer.
pub(crate) const BYTES: usize = 4 << 20;
/// So many reports there are to a window, and to the bytes of one member.
const REPORTS: usize = 8;
/// After so many deliveries the others are told.
const REPORTED: u64 = WINDOW / REPORTS as u64;

/// The deliveries of a process in one view.
#[derive(Clone, Debug)]
pub(crate) struct Within {
    me: ProcessId,
    members: ProcessSet,
    /// Up to which of its messages, by member, this process has delivered them.
    delivered: BTreeMap<ProcessId, u64>,
    /// What was delivered and is not known to be stable.
    unstable: BTreeMap<(ProcessId, u64), Data>,
    /// What came before its turn.
    early: BTreeMap<(ProcessId, u64), Data>,
    /// What the members say they have delivered.
    reported: BTreeMap<ProcessId, BTreeMap<ProcessId, u64>>,
    /// Deliveries since the others were told.
    unreported: u64,
    unreported_bytes: usize,
    /// The bytes of this process's own unstable messages.
    own_bytes: usize,
}

impl Within {
    /// Nothing is delivered yet.
    pub(crate) fn new(me: ProcessId, members: ProcessSet) -> Self {
        Within {
            me,
            members,
            delivered: BTreeMap::new(),
            unstable: BTreeMap::new(),
            early: BTreeMap::new(),
            reported: BTreeMap::new(),
            unreported: 0,
            unreported_bytes: 0,
            own_bytes: 0,
        }
    }

    /// …of a process that has delivered so much, of which others may lack these.
    pub(crate) fn copy(
        me: ProcessId,
        members: ProcessSet,
        counts: &Counts,
        messages: Vec<Data>,
    ) -> Self {
        let key = |data: Data| ((data.id.origin.process, data.number), data);
        Within {
            delivered: counts.iter().copied().collect(),
            unstable: messages.into_iter().map(key).collect(),
            ..Within::new(me, members)
        }
    }

    fn count(&self, member: ProcessId) -> u64 {
        self.delivered.get(&member).copied().unwrap_or(0)
    }

    /// How much is delivered, by member.
    pub(crate) fn counts(&self) -> Counts {
        self.delivered
            .iter()
            .map(|(p, count)| (*p, *count))
            .collect()
    }

    /// Whether this process may broadcast more before others have reported.
    pub(crate) fn has_room(&self) -> bool {
        let own = (self.me, 0)..=(self.me, u64::MAX);
        let Some(((_, oldest), _)) = self.unstable.range(own).next() else {
            return true;
        };
        self.next_number() - oldest < WINDOW && self.own_bytes < self.share()
    }

    /// So many bytes of a member may be unstable.
    fn share(&self) -> usize {
        BYTES / self.members.len().max(1)
    }

    /// The number of this process's next message.
    pub(crate) fn next_number(&self) -> u64 {
        self.count(self.me) + 1
    }

    /// Delivers `data`, whose turn it is.
    pub(crate) fn deliver(&mut self, data: Data) {
        let origin = data.id.origin.process;
        self.delivered.insert(origin, data.number);
        // Whoever broadcasts has delivered.
        self.reported
            .entry(origin)
            .or_default()
            .insert(origin, data.number);
        if origin == self.me {
            self.own_bytes += data.payload.len();
        }
        self.unreported += 1;
        self.unreported_bytes += data.payload.len();
        self.unstable.insert((origin, data.number), data);
        self.forget(origin);
    }

    /// A member's message has come: what can be delivered now, in order. Otherwise, what to count.
    pub(crate) fn hear(&mut self, from: ProcessId, data: Data) -> Result<Vec<Data>, &'static str> {
        if data.id.origin.process != from || !self.members.contains(from) {
            return Err("data of another");
        }
        let count = self.count(from);
        if data.number <= count {
            return Ok(Vec::new());
        }
        if data.number - count > WINDOW {
            return Err("data too far ahead");
        }
        self.early.entry((from, data.number)).or_insert(data);
        let mut ready = Vec::new();
        while let Some(data) = self.early.remove(&(from, self.count(from) + 1)) {
            self.deliver(data.clone());
            ready.push(data);
        }
        Ok(ready)
    }

    /// A member says what it has delivered: perhaps something is stable now.
    pub(crate) fn hear_counts(&mut self, from: ProcessId, counts: &Counts) {
        if !self.members.contains(from) {
            return;
        }
        let said = self.reported.entry(from).or_default();
        for (origin, count) in counts {
            if self.members.contains(*origin) {
                let known = said.entry(*origin).or_default();
                *known = (*known).max(*count);
            }
        }
        for origin in self.members.iter() {
            self.forget(origin);
        }
    }

    /// What the others are to be told, if it is time: well before a sender waits for it, be it for the
    /// number of its messages or their length.
    pub(crate) fn report(&mut self) -> Option<Counts> {
        let is_much =
            self.unreported >= REPORTED || self.unreported_bytes >= self.share() / REPORTS;
        let due = is_much && self.unreported > 0 && self.members.len() > 1;
        due.then(|| {
            self.unreported = 0;
            self.unreported_bytes = 0;
            self.counts()
        })
    }

    /// What this process has delivered and others may lack, in order.
    pub(crate) fn unstable(&self) -> Vec<Data> {
        self.unstable.values().cloned().collect()
    }

    /// Of this process's own messages, those that others may lack, in order.
    pub(crate) fn own_unstable(&self) -> impl Iterator<Item = &Data> {
        let own = (self.me, 0)..=(self.me, u64::MAX);
        self.unstable.range(own).map(|(_, data)| data)
    }

    /// Of these, what is not delivered yet; it is from now on. No gap is left: whoever has delivered a
    /// message has delivered those before it, and says so of all that are unstable.
    pub(crate) fn complete(&mut self, mut messages: Vec<Data>) -> Vec<Data> {
        messages.sort_by_key(|data| (data.id.origin.process, data.number));
        messages.retain(|data| {
            let origin = data.id.origin.process;
            let next = self.count(origin).checked_add(1);
            let is_next = self.members.contains(origin) && next == Some(data.number);
            if is_next {
                self.delivered.insert(origin, data.number);
            }
            is_next
        });
        messages
    }

    /// Forgets what all members have of `origin`.
    fn forget(&mut self, origin: ProcessId) {
        let of = |member: ProcessId| match member {
            _ if member == self.me => self.count(origin),
            _ => {
                let said = self.reported.get(&member);
                said.and_then(|said| said.get(&origin))
                    .copied()
                    .unwrap_or(0)
            }
        };
        let stable = self.members.iter().map(of).min().unwrap_or(0);
        while let Some(((of, number), data)) = self.unstable.range((origin, 0)..).next() {
            if *of != origin || *number > stable {
                return;
            }
            if origin == self.me {
                self.own_bytes -= data.payload.len();
            }
            let key = (*of, *number);
            self.unstable.remove(&key);
        }
    }
}

/// The union of what several processes have delivered, each message once.
pub(crate) fn union<'a>(sets: impl Iterator<Item = &'a Vec<Data>>) -> Vec<Data> {
    let mut all = BTreeMap::new();
    for data in sets.flatten() {
        let key = (data.id.origin.process, data.number);
        all.entry(key).or_insert_with(|| data.clone());
    }
    all.into_values().collect()
}

/// Messages of the view after the present one: a member may be that far ahead, and no farther, for
/// the view after it needs what this process has delivered in it.
#[derive(Default)]
pub(crate) struct Early(BTreeMap<(ProcessId, u8, u64), Message>);

impl Early {
    /// Keeps a message; what to count, if nobody correct sends it.
    pub(crate) fn keep(&mut self, from: ProcessId, message: Message) -> Result<(), &'static str> {
        let key = match &message {
            Message::Data { data, .. } if data.number > WINDOW => return Err("data too far ahead"),
            Message::Data { data, .. } => (from, 0, data.number),
            Message::Stable { .. } => (from, 1, 0),
            Message::Flush { .. } => (from, 2, 0),
        };
        self.0.insert(key, message);
        Ok(())
    }

    /// The messages, a sender's data first.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (ProcessId, Message)> + use<> {
        std::mem::take(&mut self.0)
            .into_iter()
            .map(|((from, _, _), message)| (from, message))
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What this process was asked to broadcast.
pub(crate) struct Outgoing {
    me: Origin,
    /// How many broadcasts left.
    broadcasts: u64,
    waiting: VecDeque<Bytes>,
}

impl Outgoing {
    pub(crate) fn new(host: &impl Host) -> Self {
        Outgoing {
            me: Origin {
                process: host.me(),
                incarnation: host.incarnation(),
            },
            broadcasts: 0,
            waiting: VecDeque::new(),
        }
    }

    /// A request: it leaves when it may.
    pub(crate) fn push(&mut self, payload: Bytes) {
        self.waiting.push_back(payload);
    }

    /// The next broadcast, if there is one and room for it; it counts as delivered.
    pub(crate) fn next(&mut self, within: &mut Within) -> Option<Data> {
        if !within.has_room() {
            return None;
        }
        let payload = self.waiting.pop_front()?;
        self.broadcasts += 1;
        let id = MessageId {
            origin: self.me,
            sequence: self.broadcasts,
        };
        let number = within.next_number();
        let data = Data {
            number,
            id,
            payload,
        };
        within.deliver(data.clone());
        Some(data)
    }
}
