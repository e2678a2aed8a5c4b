//! What the peers owe each module, and whether a module may send more: see
//! [`pressure`](quorate_abstractions::pressure).
//!
//! A peer owes a module the messages that wait to be sent to it in the module's lanes, and all packets that
//! it has not acknowledged, of any module: those are no more than a window. A peer owes too much above the
//! limit; then it has room again at three quarters of the limit. A module waits for a peer that owes too much
//! while it acknowledges something now and then, and for a peer that says that it has no room, as long as it
//! says so. What a process says of its room follows from its own queues and its own user, not from what
//! others have said, so that processes cannot wait for each other in a circle. A user may answer each message
//! that it reads. So a process may send while the others are told that it has no room, until far too much is
//! unread. If its user then reads nothing because it may not send, the process may send again after a
//! timeout. Where a majority is enough, the other processes slow a module only as long as its
//! [`SlowdownBudget`] allows, and what a peer owes this process is no reason for it to announce that it has
//! no room: it passes nothing on.
use super::slowdown::SlowdownBudget;
use quorate_abstractions::{
    lanes::{LaneId, Lanes},
    pressure::{Backlog, Hindrance, Room, Wait},
};
use quorate_core::{Addr, Membership, Name, ProcessId, ProcessSet, Time};
use std::{collections::BTreeMap, time::Duration};

/// The module of a lane's path: its first segment.
pub fn module_of(path: &Name) -> &str {
    path.as_str().split('/').next().unwrap_or_default()
}

/// The divisor of the limit of one module: a peer may owe one module this fraction of what it may owe
/// altogether, or less if there are more modules than this.
const PART: usize = 8;
/// How many messages a peer may owe one module.
const MESSAGES: usize = 1 << 16;
/// How long a peer's announcement of its room is valid, unless it is repeated.
const STANDS: Duration = Duration::from_secs(10);
/// With how many heartbeats this process repeats that it has room. Any of them may get lost.
const SAID: u32 = 3;

/// A set of modules, as it is sent. Modules from the 63rd on share one bit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Modules(pub u64);

impl Modules {
    fn place(module: usize) -> u64 {
        1 << module.min(63)
    }

    fn insert(&mut self, module: usize) {
        self.0 |= Self::place(module);
    }

    fn contains(self, module: usize) -> bool {
        self.0 & Self::place(module) != 0
    }

    /// Whether one of these modules is not in `those`.
    pub fn any_beyond(self, those: Modules) -> bool {
        self.0 & !those.0 != 0
    }
}

/// What a peer owes at the time of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owes {
    /// Nothing, and nothing is expected of it: there is no stream to it.
    Gone,
    /// This many bytes of packets, beside the waiting messages.
    Packets(usize),
}

/// One module's account with one peer.
#[derive(Clone, Copy, Default)]
struct Account {
    owed: usize,
    /// Whether the peer owes too much.
    lacks: bool,
}

/// One peer's accounts.
struct Debtor {
    accounts: Vec<Account>,
    gone: bool,
    /// When the peer last acknowledged something, or began to owe.
    progress: Time,
    owes: bool,
    /// The modules for which the peer has announced that it has no room.
    announced: Modules,
    /// When the peer last announced it.
    announced_at: Time,
}

struct Module {
    name: Name,
    lanes: Vec<LaneId>,
    /// Which peers the module waits for; `None` if no user has asked.
    wait: Option<Wait>,
    watchers: Vec<Addr<Room>>,
    room: Room,
    /// Since when the user has read nothing of a backlog that is too large; `None` if the user keeps up.
    unread: Option<Time>,
    /// Since when the user's backlog is so large that this process sends nothing, either.
    closed: Option<Time>,
    /// Whether the user's backlog is so large that the link takes nothing more.
    stuck: bool,
    /// How long the module still waits for peers that are not needed.
    budget: SlowdownBudget,
}

impl Module {
    /// Whether this process sends nothing because of its user's backlog. A user that has read nothing
    /// meanwhile may be waiting to send. So the module opens again while the others still wait for the user,
    /// and what the user reads then does not close it.
    fn is_closed(&mut self, wait: Wait, now: Time) -> bool {
        let since = self.closed.max(self.closed.and(self.unread));
        if since.is_some_and(|since| now - since >= wait.reader() / 2) {
            self.closed = None;
        }
        self.closed.is_some()
    }
}

/// A subscriber to the room of all modules.
pub type Observer = Addr<(Name, Room)>;

/// The accounts of all modules with all peers.
pub struct Pressure {
    me: ProcessId,
    majority: usize,
    others: ProcessSet,
    /// How many bytes a peer may owe a module.
    bytes: usize,
    modules: Vec<Module>,
    /// Indexed by seat.
    debtors: Vec<Debtor>,
    /// The modules for which this process has no room.
    lacking: Modules,
    /// Whether that is to be announced now.
    due: bool,
    /// With how many heartbeats it is still to be repeated.
    again: u32,
    observers: Vec<Observer>,
}

/// A change of a module's room, and the subscribers to tell.
pub struct Change {
    pub module: Name,
    pub room: Room,
    pub watchers: Vec<Addr<Room>>,
}

impl Pressure {
    /// No peer owes anything. Altogether, a peer may owe `queue_limit` bytes.
    pub fn new(me: ProcessId, processes: &Membership, lanes: &Lanes, queue_limit: usize) -> Self {
        let mut names: BTreeMap<&str, Vec<LaneId>> = BTreeMap::new();
        for (number, name) in lanes.names().iter().enumerate() {
            names
                .entry(module_of(name))
                .or_default()
                .push(LaneId(number as u16));
        }
        let modules = names.into_iter().map(|(name, lanes)| Module {
            name: Name::from(name),
            lanes,
            wait: None,
            watchers: Vec::new(),
            room: Room::Open,
            unread: None,
            closed: None,
            stuck: false,
            budget: SlowdownBudget::default(),
        });
        let modules: Vec<Module> = modules.collect();
        let debtors = processes.iter().map(|_| Debtor {
            accounts: vec![Account::default(); modules.len()],
            gone: false,
            progress: Time::ZERO,
            owes: false,
            announced: Modules::default(),
            announced_at: Time::ZERO,
        });
        Pressure {
            me,
            majority: processes.majority(),
            others: processes.others(me),
            bytes: (queue_limit / modules.len().max(PART)).max(1),
            debtors: debtors.collect(),
            modules,
            lacking: Modules::default(),
            due: false,
            again: 0,
            observers: Vec::new(),
        }
    }

    fn module(&mut self, name: &Name) -> Option<&mut Module> {
        self.modules.iter_mut().find(|module| module.name == *name)
    }

    /// A module's user subscribes to its room, and says which peers it waits for. Returns what to tell it at
    /// once; `None` if the module has no lane, and may always send.
    pub fn watch(&mut self, name: &Name, wait: Wait, watcher: Addr<Room>) -> Option<Room> {
        let module = self.module(name)?;
        module.wait = Some(wait);
        module.watchers.push(watcher);
        Some(module.room)
    }

    /// Subscribes to the changes of every module. Returns what to tell the subscriber at once.
    pub fn observe(&mut self, observer: Observer) -> Vec<(Name, Room)> {
        self.observers.push(observer);
        let slowed = self.modules.iter().filter(|m| m.room != Room::Open);
        slowed
            .map(|module| (module.name.clone(), module.room))
            .collect()
    }

    /// The subscribers to the changes of every module.
    pub fn observers(&self) -> &[Observer] {
        &self.observers
    }

    /// A module's user has a large backlog, of which it has read something; or the backlog is not large any
    /// more.
    pub fn upon_backlog(&mut self, name: &Name, backlog: Backlog, now: Time) {
        if let Some(module) = self.module(name) {
            match backlog {
                Backlog::Open => (module.unread, module.closed) = (None, None),
                Backlog::Full => module.unread = Some(now),
                Backlog::Over | Backlog::Stuck => {
                    // The time for which the others wait goes on, because nothing was read.
                    module.unread.get_or_insert(now);
                    module.closed = Some(now);
                }
            }
            module.stuck = backlog == Backlog::Stuck;
        }
    }

    /// Whether some user's backlog is so large that the link takes nothing more from any peer.
    pub fn is_stuck(&self) -> bool {
        self.modules.iter().any(|module| module.stuck)
    }

    /// A peer has acknowledged something.
    pub fn acknowledged(&mut self, p: ProcessId, now: Time) {
        self.debtors[p.index()].progress = now;
    }

    /// A peer says for which modules it has no room.
    pub fn announced(&mut self, p: ProcessId, modules: Modules, now: Time) {
        let debtor = &mut self.debtors[p.index()];
        debtor.announced = modules;
        debtor.announced_at = now;
    }

    /// Accounts for what a peer owes at the end of a batch: bytes in packets, and bytes and messages in its
    /// queue for each lane.
    pub fn upon_account(
        &mut self,
        p: ProcessId,
        owes: Owes,
        queued: impl Fn(LaneId) -> (usize, usize),
        now: Time,
    ) {
        let debtor = &mut self.debtors[p.index()];
        let packets = match owes {
            Owes::Gone => 0,
            Owes::Packets(bytes) => bytes,
        };
        debtor.gone = owes == Owes::Gone;
        let mut any = packets > 0;
        for (module, account) in self.modules.iter().zip(&mut debtor.accounts) {
            let (mut bytes, mut messages) = (packets, 0);
            if !debtor.gone {
                for lane in &module.lanes {
                    let (more, of_them) = queued(*lane);
                    bytes += more;
                    messages += of_them;
                }
            }
            any |= messages > 0;
            account.owed = bytes;
            // The module has room again only when there is a good deal. Otherwise its state would change with
            // every packet.
            let quarters = if account.lacks { 3 } else { 4 };
            account.lacks = bytes > self.bytes / 4 * quarters || messages > MESSAGES / 4 * quarters;
        }
        if !debtor.owes && any {
            debtor.progress = now;
        }
        debtor.owes = any;
    }

    /// Decides whether each module may send now, and returns the changes.
    pub fn judge(&mut self, now: Time) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut lacking = Modules::default();
        for index in 0..self.modules.len() {
            let Some(wait) = self.modules[index].wait else {
                continue;
            };
            let user = self.user_lacks(index, wait, now);
            let own = self.modules[index]
                .is_closed(wait, now)
                .then_some(Hindrance {
                    by: self.me,
                    owed: 0,
                    announced: true,
                });
            let owing = self.owing(index, wait, now);
            let slow = owing.or_else(|| self.announcing(index, wait, now));
            let hindrance = match wait {
                Wait::Everybody { .. } => {
                    if user || owing.is_some() {
                        lacking.insert(index);
                    }
                    own.or(slow)
                }
                Wait::Majority { .. } => {
                    if user {
                        lacking.insert(index);
                    }
                    let needed = own.or_else(|| self.majority_lacks(index, wait, now));
                    let budget = &mut self.modules[index].budget;
                    let waits = budget.waits(needed.is_none() && slow.is_some(), now);
                    needed.or_else(|| slow.filter(|_| waits))
                }
            };
            let room = hindrance.map_or(Room::Open, Room::Full);
            let module = &mut self.modules[index];
            // The process that slows a module may change. The bytes owed are told with that, and not on their
            // own.
            let by = |room| match room {
                Room::Open => None,
                Room::Full(hindrance) => Some((hindrance.by, hindrance.announced)),
            };
            if by(room) != by(module.room) {
                module.room = room;
                changes.push(Change {
                    module: module.name.clone(),
                    room,
                    watchers: module.watchers.clone(),
                });
            }
        }
        if lacking != self.lacking {
            self.lacking = lacking;
            self.due = true;
            self.again = SAID;
        }
        changes
    }

    /// The announcement that is due: the modules for which this process has no room.
    pub fn take_due(&mut self) -> Option<Modules> {
        std::mem::take(&mut self.due).then_some(self.lacking)
    }

    /// A heartbeat leaves: the announcement is repeated with it.
    pub fn say_again(&mut self) {
        if self.lacking != Modules::default() {
            self.due = true;
        } else if self.again > 0 {
            self.again -= 1;
            self.due = true;
        }
    }

    /// Whether the user does not read, and is waited for.
    fn user_lacks(&self, module: usize, wait: Wait, now: Time) -> bool {
        let unread = self.modules[module].unread;
        unread.is_some_and(|unread| now - unread < wait.reader())
    }

    /// The peer that owes too much, and acknowledges something now and then.
    fn owing(&self, module: usize, wait: Wait, now: Time) -> Option<Hindrance> {
        let owing = self.others.iter().filter(|p| {
            let debtor = &self.debtors[p.index()];
            debtor.accounts[module].lacks && now - debtor.progress < wait.silence()
        });
        let most = owing.max_by_key(|p| self.debtors[p.index()].accounts[module].owed);
        most.map(|by| self.hindrance(module, by, false))
    }

    /// The peer that announces that it has no room.
    fn announcing(&self, module: usize, wait: Wait, now: Time) -> Option<Hindrance> {
        let mut others = self.others.iter();
        let announcing = others.find(|p| self.announces(*p, module, wait, now));
        announcing.map(|by| self.hindrance(module, by, true))
    }

    fn announces(&self, p: ProcessId, module: usize, wait: Wait, now: Time) -> bool {
        let debtor = &self.debtors[p.index()];
        debtor.announced.contains(module) && now - debtor.announced_at < wait.silence().min(STANDS)
    }

    /// Too few processes have room for a majority, which is waited for however long it takes.
    fn majority_lacks(&self, module: usize, wait: Wait, now: Time) -> Option<Hindrance> {
        let lacks = |p: &ProcessId| {
            let debtor = &self.debtors[p.index()];
            let lacks = debtor.gone || debtor.accounts[module].lacks;
            lacks || self.announces(*p, module, wait, now)
        };
        let without: ProcessSet = self.others.iter().filter(lacks).collect();
        let with = 1 + self.others.len() - without.len();
        if with >= self.majority {
            return None;
        }
        let last = without.iter().last();
        last.map(|by| self.hindrance(module, by, false))
    }

    fn hindrance(&self, module: usize, by: ProcessId, announced: bool) -> Hindrance {
        Hindrance {
            by,
            owed: self.debtors[by.index()].accounts[module].owed,
            announced,
        }
    }
}

#[cfg(test)]
mod tests;
