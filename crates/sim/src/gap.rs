//! Gaps: the stream from one process to another ends, and the next one begins.
//!
//! Both processes stay the same incarnations, and the status of their links tells them of the gap. A gap has
//! three moments, as on a real link: the stream ends (the sender's watchers get [`Status::Ended`]), the next
//! one opens at the receiver (whose watchers get [`Status::Gap`]), and begins at the sender
//! ([`Status::Begun`]). Messages that the sender sends between the first and the last moment are lost.
//! Messages in flight when the stream ended arrive before the receiver is told of the gap, or never.
use crate::{
    adversary::Pace,
    chance,
    network::Delivery,
    state::{Action, Core, Life, Scope, Shared, Token, What},
    trace::{Kind, Loss},
};
use quorate_abstractions::link::Status;
use quorate_core::{ProcessId, Time};

/// The direction from one process to another.
pub(crate) type Way = (ProcessId, ProcessId);

/// How many copies in flight get through when their stream ends. These are the first ones in the order of
/// sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    Nothing,
    /// This many.
    First(usize),
    /// A number that the world's generator draws uniformly.
    Drawn,
}

/// A gap: its moment, and how many copies get through.
///
/// After the end, the next stream opens at the receiver after the latency of a copy, and begins at the sender
/// after another latency. Both wait while the channel is cut or the process paused. A crash of one of the two
/// ends the gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    pub(crate) at: Time,
    pub(crate) keep: Keep,
}

impl Gap {
    /// At this time. All copies in flight are lost.
    pub fn at(time: Time) -> Self {
        Gap {
            at: time,
            keep: Keep::Nothing,
        }
    }

    /// Lets this many copies get through.
    #[must_use]
    pub fn keeping(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }
}

/// The next event of a gap in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// The receiver is told.
    Open,
    /// The sender is told.
    Begin,
}

impl Turn {
    /// The process that is told, and the direction in which the news comes.
    pub(crate) fn told(self, (from, to): Way) -> (ProcessId, Way) {
        match self {
            Turn::Open => (to, (from, to)),
            Turn::Begin => (from, (to, from)),
        }
    }
}

/// The deliveries to make outside the lock, in this order.
type Deliveries = Vec<Delivery>;

impl Core {
    /// Whether a stream in this direction can end now.
    pub(crate) fn can_end(&self, way: Way) -> bool {
        let is_alive = |p| self.life(p) != Life::Crashed;
        way.0 != way.1
            && is_alive(way.0)
            && is_alive(way.1)
            && !self.network.turning.contains_key(&way)
    }

    /// The gaps in progress, with the next event of each that nothing prevents.
    pub(crate) fn turns(&self) -> impl Iterator<Item = (Way, Turn)> {
        let turning = self.network.turning.iter();
        let turns = turning.map(|(way, turn)| (*way, *turn));
        turns.filter(|(way, turn)| {
            let news = turn.told(*way).1;
            !self.network.is_cut(news.0, news.1)
        })
    }

    /// A stream ends. Of the copies in flight, those that `keep` says will still arrive.
    pub(crate) fn end_stream(&mut self, way: Way, keep: Keep) -> Deliveries {
        if !self.can_end(way) {
            return Vec::new();
        }
        self.settle();
        self.changed = self.now;
        self.record(Scope::World, way.0, Kind::End { to: way.1 });
        let carried = self.carried(way);
        let kept = match keep {
            Keep::Nothing => 0,
            Keep::First(most) => most.min(carried.len()),
            Keep::Drawn => chance::below(&mut self.rng, carried.len() as u64 + 1) as usize,
        };
        for slot in carried.into_iter().skip(kept) {
            self.lose_carried(slot);
        }
        self.turn_next(way, Turn::Open);
        vec![self.tell(way.0, Status::Ended { peer: way.1 })]
    }

    /// A stream ends by schedule. The copies in flight stay in flight until the next stream opens.
    pub(crate) fn end_on_stage(&mut self, way: Way) -> Deliveries {
        self.end_stream(way, Keep::First(usize::MAX))
    }

    /// The next event of a gap happens, or waits if something prevents it.
    pub(crate) fn turn(&mut self, way: Way, turn: Turn) -> Deliveries {
        if self.network.turning.get(&way) != Some(&turn) {
            return Vec::new();
        }
        let (told, news) = turn.told(way);
        if self.network.is_cut(news.0, news.1) {
            return Vec::new();
        }
        if self.life(told) == Life::Paused {
            let held = &mut self.processes[told.index()].held;
            held.push_back(Token::Turn(way, turn));
            return Vec::new();
        }
        self.changed = self.now;
        match turn {
            Turn::Open => self.open_stream(way),
            Turn::Begin => {
                self.network.turning.remove(&way);
                self.record(Scope::World, way.0, Kind::Begin { to: way.1 });
                vec![self.tell(way.0, Status::Begun { peer: way.1 })]
            }
        }
    }

    /// The copies that got through of the ended stream come before the news. In a scheduled run the schedule
    /// has delivered them; the rest are lost.
    fn open_stream(&mut self, way: Way) -> Deliveries {
        let mut deliveries = Vec::new();
        for slot in self.carried(way) {
            if self.pace == Pace::Atomic {
                self.lose_carried(slot);
                continue;
            }
            let birth = self.birth(slot);
            self.unhold(slot, way);
            self.steps.flying.retain(|flying| *flying != slot);
            deliveries.extend(self.arrive(slot, birth));
        }
        self.record(Scope::World, way.1, Kind::Gap { from: way.0 });
        self.turn_next(way, Turn::Begin);
        deliveries.push(self.tell(way.1, Status::Gap { peer: way.0 }));
        deliveries
    }

    /// Plans the next event of a gap. In a scheduled run the schedule decides it.
    fn turn_next(&mut self, way: Way, turn: Turn) {
        self.network.turning.insert(way, turn);
        if self.pace != Pace::Atomic {
            self.plan_turn(way, turn);
        }
    }

    fn plan_turn(&mut self, way: Way, turn: Turn) {
        let (_, (from, to)) = turn.told(way);
        let message = 0;
        let news = crate::Transmission { message, from, to };
        let latency = self.latency(news);
        self.enter(self.now + latency, What::Action(Action::Turn(way, turn)));
    }

    /// A direction is no longer cut: events of gaps that waited for it are planned anew.
    pub(crate) fn replan_turns(&mut self, healed: Way) {
        if self.pace == Pace::Atomic {
            return;
        }
        let waiting: Vec<_> = self.network.turning.iter().map(|(w, t)| (*w, *t)).collect();
        for (way, turn) in waiting {
            if turn.told(way).1 == healed {
                self.plan_turn(way, turn);
            }
        }
    }

    /// The gaps of a process that has crashed are over.
    pub(crate) fn end_turns(&mut self, crashed: ProcessId) {
        let turning = &mut self.network.turning;
        turning.retain(|(from, to), _| *from != crashed && *to != crashed);
    }

    /// The copies in flight on the stream in this direction, in the order of sending.
    fn carried(&self, way: Way) -> Vec<usize> {
        let packets = self.network.packets.iter().enumerate();
        let mut carried: Vec<_> = packets
            .filter_map(|(slot, packet)| packet.as_ref().map(|packet| (slot, packet)))
            .filter(|(_, packet)| (packet.copy.from, packet.copy.to) == way)
            .filter(|(_, packet)| packet.foreground())
            .map(|(slot, packet)| (packet.birth, slot))
            .collect();
        carried.sort_unstable();
        carried.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Releases a copy that a cut holds back, and counts it again among those that a run waits for.
    fn unhold(&mut self, slot: usize, way: Way) {
        let Some(slots) = self.network.held.get_mut(&way) else {
            return;
        };
        let before = slots.len();
        slots.retain(|held| *held != slot);
        if slots.len() < before {
            self.count_in(slot);
        }
    }

    fn lose_carried(&mut self, slot: usize) {
        let Some(copy) = self.network.packet(slot).map(|packet| packet.copy) else {
            return;
        };
        self.unhold(slot, (copy.from, copy.to));
        self.count_out(true, copy.to);
        self.steps.flying.retain(|flying| *flying != slot);
        self.network.remove(slot);
        self.lose(copy, Loss::Gap);
    }

    fn tell(&self, p: ProcessId, status: Status) -> Delivery {
        let watchers = self.network.ends[p.index()].watchers.clone();
        Delivery::Status(watchers, status)
    }
}

impl Shared {
    /// A stream ends by schedule.
    pub(crate) fn end_stream(&self, way: Way) {
        let deliveries = self.lock().end_on_stage(way);
        deliveries.into_iter().for_each(Delivery::complete);
    }

    /// The next event of a gap happens.
    pub(crate) fn turn(&self, way: Way, turn: Turn) {
        let deliveries = self.lock().turn(way, turn);
        deliveries.into_iter().for_each(Delivery::complete);
    }
}
