//! What a process has delivered in its present view, and which of these messages others may lack.
//!
//! The messages of a member are numbered within the view, and delivered in that order; so a count per member
//! describes all that was delivered. A message that every member says it has delivered is *stable*: it is
//! forgotten, and need not be flushed. A member broadcasts only a limited amount beyond what is stable. This
//! bounds the messages that a view change has to carry and that must be kept for members that are behind.
use crate::messages::{Counts, Data, Message};
use bytes::Bytes;
use quorate_core::{Host, MessageId, ProcessId, ProcessSet, message::Origin};
use std::collections::{BTreeMap, VecDeque};

/// At most this many messages of a member may be unstable.
pub(crate) const WINDOW: u64 = 256;
/// At most this many bytes of all members together may be unstable, unless a single message is longer.
pub(crate) const BYTES: usize = 4 << 20;
/// The number of reports per window, and per share of bytes of one member.
const REPORTS: usize = 8;
/// After this many deliveries the others are told.
const REPORTED: u64 = WINDOW / REPORTS as u64;

/// The deliveries of a process in one view.
#[derive(Clone, Debug)]
pub(crate) struct Within {
    me: ProcessId,
    members: ProcessSet,
    /// By member: the number of its last message that this process has delivered.
    delivered: BTreeMap<ProcessId, u64>,
    /// Delivered messages that are not known to be stable.
    unstable: BTreeMap<(ProcessId, u64), Data>,
    /// Messages that came before their turn.
    early: BTreeMap<(ProcessId, u64), Data>,
    /// The deliveries that the members have reported.
    reported: BTreeMap<ProcessId, BTreeMap<ProcessId, u64>>,
    /// Deliveries since the last report to the others.
    unreported: u64,
    unreported_bytes: usize,
    /// The bytes of this process's own unstable messages.
    own_bytes: usize,
    /// Messages that have become stable and were not taken yet, where they are wanted.
    stable: Option<Vec<Data>>,
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
            stable: None,
        }
    }

    /// Keeps what becomes stable, to be [taken](Within::take_stable), and reports at once what comes from others.
    pub(crate) fn keeping_stable(self) -> Self {
        Within {
            stable: Some(Vec::new()),
            ..self
        }
    }

    /// The messages that have become stable since the last time; of each origin in order.
    pub(crate) fn take_stable(&mut self) -> Vec<Data> {
        self.stable.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The same for a process that has delivered this much, of which others may lack these messages.
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

    /// The number of deliveries, by member.
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

    /// At most this many bytes of one member may be unstable.
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
        // A process that broadcasts a message has delivered it.
        self.reported
            .entry(origin)
            .or_default()
            .insert(origin, data.number);
        if origin == self.me {
            self.own_bytes += data.payload.len();
        }
        // What is reported at once is reported to the others by the message itself, if it is one's own.
        if self.stable.is_none() || origin != self.me {
            self.unreported += 1;
            self.unreported_bytes += data.payload.len();
        }
        self.unstable.insert((origin, data.number), data);
        self.forget(origin);
    }

    /// A member's message has come. Returns the messages that can be delivered now, in order, or the counter
    /// to raise.
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

    /// A member reports its deliveries: some messages may be stable now.
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

    /// The report to the others, if it is due: by number or by length of messages, well before a sender has
    /// to wait for it.
    pub(crate) fn report(&mut self) -> Option<Counts> {
        let is_much =
            self.unreported >= REPORTED || self.unreported_bytes >= self.share() / REPORTS;
        let due =
            (is_much || self.stable.is_some()) && self.unreported > 0 && self.members.len() > 1;
        due.then(|| {
            self.unreported = 0;
            self.unreported_bytes = 0;
            self.counts()
        })
    }

    /// The messages that this process has delivered and that others may lack, in order.
    pub(crate) fn unstable(&self) -> Vec<Data> {
        self.unstable.values().cloned().collect()
    }

    /// This process's own messages that others may lack, in order.
    pub(crate) fn own_unstable(&self) -> impl Iterator<Item = &Data> {
        let own = (self.me, 0)..=(self.me, u64::MAX);
        self.unstable.range(own).map(|(_, data)| data)
    }

    /// Delivers those of these messages that are not delivered yet, and returns them. No gap is left: a
    /// process that has delivered a message has delivered those before it, and flushes all that are unstable.
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

    /// Forgets the messages of `origin` that all members have.
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
            let data = self.unstable.remove(&key);
            if let Some(stable) = &mut self.stable {
                stable.extend(data);
            }
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

/// Messages of the view after the present one. A member may be one view ahead, and no farther, because the
/// view after that needs this process's flush.
#[derive(Default)]
pub(crate) struct Early(BTreeMap<(ProcessId, u8, u64), Message>);

impl Early {
    /// Keeps a message; returns the counter to raise if no correct process can have sent it.
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

    /// Takes the messages; of each sender, data comes first.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (ProcessId, Message)> + use<> {
        std::mem::take(&mut self.0)
            .into_iter()
            .map(|((from, _, _), message)| (from, message))
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The broadcasts that this process was asked for.
pub(crate) struct Outgoing {
    me: Origin,
    /// The number of broadcasts that left.
    broadcasts: u64,
    waiting: VecDeque<Bytes>,
    /// Once this number of broadcasts have left, this process leaves.
    leaves_after: Option<u64>,
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
            leaves_after: None,
        }
    }

    /// The user asks to leave. Returns `false` if it has asked before.
    pub(crate) fn leave(&mut self) -> bool {
        let is_new = self.leaves_after.is_none();
        let requested = self.broadcasts + self.waiting.len() as u64;
        self.leaves_after.get_or_insert(requested);
        is_new
    }

    /// The wish to leave is over.
    pub(crate) fn stay(&mut self) {
        self.leaves_after = None;
    }

    /// Whether the user has asked to leave.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaves_after.is_some()
    }

    /// Whether the user has asked to leave, and all that it asked to broadcast before has been broadcast.
    pub(crate) fn is_due(&self) -> bool {
        self.leaves_after
            .is_some_and(|broadcasts| self.broadcasts >= broadcasts)
    }

    /// A request waits until its broadcast may leave.
    pub(crate) fn push(&mut self, payload: Bytes) {
        self.waiting.push_back(payload);
    }

    /// The next broadcast, if there is one and it may leave; it counts as delivered.
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
