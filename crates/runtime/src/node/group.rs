//! The one order of a node that has replicated machines, or views: it decides who holds the seats, and all machines,
//! views and plain total orders of the node share it.
//!
//! A message of the order is for one of its sharers, and is numbered among the messages of its sender to
//! that sharer: `(sharer, number, body)`. A process that was started again is put into its seat by a
//! command of the order, and is given the state of all sharers at one point of the order ([`state`]); so is
//! a member that is too far behind. A task of the user's runtime, not the protocol thread, acts upon the
//! indications of the order. Indications that wait for it are measured: above a limit this process takes
//! nothing more from the other processes.
mod backlogs;
mod entrance;
mod sharer;
mod state;

pub use sharer::Unreadable;

use super::{modules::ORDER, order::GroupUse};
use crate::{
    backlog::{AtTheLimit, Meter},
    host::TokioHost,
};
use backlogs::Backlogs;
use bytes::{Bytes, BytesMut};
use entrance::Entrance;
use quorate_abstractions::{
    link::Links,
    pressure::{Backlog, Wait},
    reconfigurable::{Epoch, Indication, Request, Restore},
    total_order::{self, Deliver},
};
use quorate_broadcast::by_leader;
use quorate_core::{
    Addr, Host, MessageId, ProcessId,
    message::{LAST_NUMBER, Origin},
    wire::{Undecodable, put_number, take_number},
};
use quorate_links::perfect::PerfectLinks;
use quorate_stacks::broadcasts::{self, Broadcast, Delivery, Dependencies, NeedsPerfect};
use sharer::Plain;
pub(super) use sharer::{Entry, Sharer};
use state::{Incoming, Last, Position};
use std::{
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc;

/// What orders the commands of all replicated machines of a node, and its views.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum GroupOrder {
    /// By a leader that the majority has promised to follow. It sends few messages. A process that was
    /// started again is put into its seat and given the state.
    #[default]
    ByLeader,
    /// By one consensus after the other. No process is put into a seat or given a state: a process that was
    /// started again stays outside, and a process to which the stream of another has
    /// [ended](crate::StreamError::Gap) may deliver nothing more.
    ByConsensus,
}

impl GroupOrder {
    /// The name of the algorithm.
    pub fn name(self) -> &'static str {
        self.broadcast().name()
    }

    /// The names of its algorithms, top down.
    pub fn algorithms(self) -> &'static str {
        self.broadcast().algorithms()
    }

    fn broadcast(self) -> Broadcast {
        match self {
            GroupOrder::ByLeader => Broadcast::ByLeader,
            GroupOrder::ByConsensus => Broadcast::ByConsensus,
        }
    }
}

impl FromStr for GroupOrder {
    type Err = UnknownOrder;

    fn from_str(name: &str) -> Result<Self, UnknownOrder> {
        let all = [GroupOrder::ByLeader, GroupOrder::ByConsensus];
        let found = all.into_iter().find(|order| order.name() == name);
        found.ok_or_else(|| UnknownOrder(name.to_owned()))
    }
}

/// No order has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no uniform total order: choose one of by-leader, by-consensus")]
pub struct UnknownOrder(String);

/// How many indications the task acts upon before other tasks of its thread run.
const INDICATIONS: usize = 64;

/// The cost of an indication in addition to its length, in bytes.
const OVERHEAD: usize = 64;

/// What the order tells of the cluster, and of this process.
#[derive(Debug)]
pub(super) enum GroupNews {
    /// A state arrives: the number of bytes so far.
    Coming { bytes: u64 },
    /// The rest of the state will not arrive.
    Abandoned,
    /// The state is complete and in use. It is the state at this position of the order.
    Whole { position: u64 },
    /// The state is complete, and cannot be read.
    Unreadable,
    /// Another process is given the state of this one.
    StateGiven,
    /// The present holders of the seats.
    Epoch(Epoch),
}

/// The modules that share the order. They are known once all modules are wired.
pub(super) struct Group {
    me: Origin,
    wait: Wait,
    entrance: Arc<Entrance>,
    sharers: Mutex<Vec<Box<dyn Sharer>>>,
    backlogs: Arc<Backlogs>,
    links: PerfectLinks<TokioHost>,
}

/// The reason why the task has ended before the node did.
pub(super) type Broken = Unreadable;

impl Group {
    /// A group without sharers. `wait` is the rule by which they wait for slow peers.
    pub(super) fn new(me: Origin, links: &PerfectLinks<TokioHost>, wait: Wait) -> Self {
        let links = links.at(ORDER);
        let backlogs = Arc::new(Backlogs::new(links.backlog()));
        Group {
            me,
            wait,
            entrance: Arc::default(),
            sharers: Mutex::default(),
            backlogs,
            links,
        }
    }

    /// The rule by which sharers wait for slow peers.
    pub(super) fn wait(&self) -> Wait {
        self.wait
    }

    /// The lanes of one that stands on it: of its own, in which those that were started again take part, too, or
    /// those of the order.
    pub(super) fn links_of(&self, name: &str, group_use: GroupUse) -> PerfectLinks<TokioHost> {
        match group_use {
            GroupUse::Over => self.links.at("over").at(name),
            GroupUse::Beside | GroupUse::Shares => self.links.clone(),
        }
    }

    /// The address at which another user of the order says how far it is behind.
    pub(super) fn backlog(&self) -> Addr<Backlog> {
        self.backlogs.join()
    }

    fn sharers(&self) -> MutexGuard<'_, Vec<Box<dyn Sharer>>> {
        self.sharers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a sharer of the order. Returns the address for its messages.
    pub(super) fn share(&self, sharer: Box<dyn Sharer>) -> Addr<Bytes> {
        let mut sharers = self.sharers();
        let place = sharers.len() as u64;
        sharers.push(sharer);
        let (entrance, sent) = (self.entrance.clone(), Mutex::new(0_u64));
        Addr::new(move |body: Bytes| {
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            *sent += 1;
            let payload = put_head(place, *sent, &body);
            // The lock is held, so that messages enter in the order of their numbers.
            entrance.enter(payload);
        })
    }

    /// Adds a plain total order as a sharer.
    pub(super) fn share_plain(&self, up: Addr<Delivery>) -> Addr<Bytes> {
        self.share(Box::new(Plain { up }))
    }

    /// Starts the order, and the task that acts upon its indications. The task ends with the node, or with
    /// an error when a state is unreadable. It sends its news of the cluster to `told`.
    pub(super) fn start(
        &self,
        host: &TokioHost,
        algorithm: GroupOrder,
        below: &Dependencies<PerfectLinks<TokioHost>>,
        limit: usize,
        told: Addr<GroupNews>,
    ) -> Result<impl Future<Output = Result<(), Broken>> + Send + 'static, NeedsPerfect> {
        let (up, waiting) = mpsc::unbounded_channel();
        let meter = Arc::new(Meter::new(limit));
        meter.open(self.backlogs.join(), AtTheLimit::TakeNothing);
        let measured = meter.clone();
        let up = Addr::new(move |indication| {
            measured.grow(cost(&indication));
            // If the receiver is gone, the node is stopping, and nobody waits for deliveries.
            let _ = up.send(indication);
        });
        let requests = self.order(host, algorithm, below, up)?;
        let host = host.at(ORDER);
        self.entrance.open(requests.clone());
        let undecodable = host.counters().counter(host.path(), "undecodable");
        let task = Task {
            me: self.me,
            requests,
            sharers: std::mem::take(&mut *self.sharers()),
            position: Position::default(),
            incoming: None,
            came: 0,
            told,
        };
        Ok(task.run(waiting, meter, move || undecodable.add(1)))
    }

    fn order(
        &self,
        host: &TokioHost,
        algorithm: GroupOrder,
        below: &Dependencies<PerfectLinks<TokioHost>>,
        up: Addr<Indication>,
    ) -> Result<Addr<Request>, NeedsPerfect> {
        let (host, links) = (host.at(ORDER), &self.links);
        match algorithm {
            GroupOrder::ByLeader => Ok(by_leader::spawn_reconfigurable(
                &host,
                below.total_order,
                links,
                &below.leader,
                links.adopt(),
                up,
            )),
            GroupOrder::ByConsensus => {
                let up = up.with(Indication::Deliver);
                let below = Dependencies {
                    links: links.clone(),
                    ..below.clone()
                };
                let broadcast = broadcasts::spawn(Broadcast::ByConsensus, &host, &below, up)?;
                Ok(Addr::new(move |request| match request {
                    Request::Broadcast(total_order::Broadcast { payload }) => {
                        broadcast.send(payload);
                    }
                    // By consensus no process is put into a seat or given a state.
                    Request::State { .. } => {}
                }))
            }
        }
    }
}

/// What acts upon the order.
struct Task {
    me: Origin,
    requests: Addr<Request>,
    sharers: Vec<Box<dyn Sharer>>,
    position: Position,
    incoming: Option<Incoming>,
    /// The bytes of the incoming state so far.
    came: u64,
    told: Addr<GroupNews>,
}

impl Task {
    async fn run(
        mut self,
        mut waiting: mpsc::UnboundedReceiver<Indication>,
        meter: Arc<Meter>,
        undecodable: impl Fn() + Send,
    ) -> Result<(), Broken> {
        let mut batch = Vec::with_capacity(INDICATIONS);
        while waiting.recv_many(&mut batch, INDICATIONS).await > 0 {
            for indication in batch.drain(..) {
                meter.shrink(cost(&indication));
                match indication {
                    Indication::Deliver(delivery) => {
                        for (id, payload) in delivery.messages() {
                            if self.upon_message(id.origin, payload.clone()).is_err() {
                                undecodable();
                            }
                        }
                    }
                    Indication::StateWanted { transfer } => self.upon_state_wanted(transfer),
                    Indication::Restore(restore) => self.upon_restore(restore)?,
                    Indication::Epoch(epoch) => {
                        self.told.send(GroupNews::Epoch(epoch));
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        meter.end();
        Ok(())
    }

    /// Every message takes a place in the order, even one that no sharer accepts: all processes refuse the
    /// same messages.
    fn upon_message(&mut self, origin: Origin, payload: Bytes) -> Result<(), Undecodable> {
        self.position.number += 1;
        let (place, sequence, body) = take_head(payload)?;
        let sharer = self.sharers.get_mut(place).ok_or(Undecodable)?;
        let id = MessageId { origin, sequence };
        self.position.last.insert((place, origin.process), id);
        sharer.deliver(Entry {
            position: self.position.number,
            id,
            is_own: origin == self.me,
            body,
        });
        Ok(())
    }

    /// Gives all states as of the deliveries so far: indications are acted upon in their order.
    fn upon_state_wanted(&self, transfer: u64) {
        let views = self.sharers.iter().map(|sharer| sharer.view());
        let view = state::view(&self.position, views.collect());
        self.requests.send(Request::State { transfer, view });
        self.told.send(GroupNews::StateGiven);
    }

    fn upon_restore(&mut self, restore: Restore) -> Result<(), Broken> {
        match restore {
            Restore::Begin => {
                for sharer in &mut self.sharers {
                    sharer.begin();
                }
                self.incoming = Some(Incoming::default());
                self.came = 0;
                self.told.send(GroupNews::Coming { bytes: 0 });
            }
            Restore::Chunk(chunk) => {
                if let Some(incoming) = &mut self.incoming {
                    self.came += chunk.len() as u64;
                    let bytes = self.came;
                    self.told.send(GroupNews::Coming { bytes });
                    incoming.take(chunk, &mut self.sharers);
                }
            }
            Restore::Abandoned => {
                self.incoming = None;
                for sharer in &mut self.sharers {
                    sharer.abandoned();
                }
                self.told.send(GroupNews::Abandoned);
            }
            Restore::Whole => {
                let whole = self.incoming.take().ok_or(Unreadable);
                let whole = whole.and_then(Incoming::finish);
                let position = whole.inspect_err(|_| self.told.send(GroupNews::Unreadable))?;
                let news = news(&self.position.last, &position.last);
                for (place, sharer) in self.sharers.iter_mut().enumerate() {
                    let news = news.iter().filter(|(of, _)| *of == place);
                    let news: Vec<MessageId> = news.map(|(_, id)| *id).collect();
                    let whole = sharer.whole(&news, self.me);
                    whole.inspect_err(|_| self.told.send(GroupNews::Unreadable))?;
                }
                self.told.send(GroupNews::Whole {
                    position: position.number,
                });
                self.position = position;
            }
        }
        Ok(())
    }
}

/// The last messages in `last` that differ from those in `known`.
fn news(known: &Last, last: &Last) -> Vec<(usize, MessageId)> {
    let is_news = |(key, id): &(&(usize, ProcessId), &MessageId)| known.get(key) != Some(id);
    let news = last.iter().filter(is_news);
    news.map(|((place, _), id)| (*place, *id)).collect()
}

fn put_head(place: u64, sequence: u64, body: &Bytes) -> Bytes {
    let mut payload = BytesMut::with_capacity(body.len() + 12);
    put_number(place, &mut payload);
    put_number(sequence, &mut payload);
    payload.extend_from_slice(body);
    payload.freeze()
}

fn take_head(mut payload: Bytes) -> Result<(usize, u64, Bytes), Undecodable> {
    let place = usize::try_from(take_number(&mut payload)?).map_err(|_| Undecodable)?;
    let sequence = take_number(&mut payload)?;
    if sequence == 0 || sequence > LAST_NUMBER {
        return Err(Undecodable);
    }
    Ok((place, sequence, payload))
}

fn cost(indication: &Indication) -> usize {
    match indication {
        Indication::Deliver(Deliver { payloads, .. }) => payloads
            .iter()
            .map(|payload| payload.len() + OVERHEAD)
            .sum(),
        Indication::Restore(Restore::Chunk(chunk)) => chunk.len() + OVERHEAD,
        Indication::Restore(Restore::Begin | Restore::Whole | Restore::Abandoned)
        | Indication::Epoch(_)
        | Indication::StateWanted { .. } => OVERHEAD,
    }
}
