//! Faults are data: they are given to the world before or during a run, and are part of its trace.
use crate::{
    adversary::Pace,
    chance,
    network::Delivery,
    state::{Action, Core, Life, Scope, Token, What},
    trace::{Kind, Loss},
};
use quorate_core::{ProcessId, ProcessSet, Time};

/// When a process crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    At(Time),
    BeforeOutput(u64),
    BeforeEffect(u64),
}

/// Which copies in flight of a crashing process are lost with it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Lose {
    /// None: all copies in flight arrive.
    Nothing,
    /// All copies.
    Everything,
    /// The copies to these processes.
    To(ProcessSet),
    /// Each copy, with this probability.
    Each(f64),
}

/// A crash: its moment, and the copies that are lost with it.
///
/// The moments differ in the errors that they can reveal. A crash at a time strikes between two events. A
/// crash before an output strikes inside a handler, when some of the handler's effects have left and the rest
/// have not. A crash that loses copies undoes sends that had left already. No perfect link forbids that,
/// because it promises nothing for a sender that crashes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Crash {
    pub(crate) when: When,
    pub(crate) lose: Lose,
}

impl Crash {
    fn new(when: When) -> Self {
        Crash {
            when,
            lose: Lose::Nothing,
        }
    }

    /// At this time, before anything else that happens then. At time zero the process never starts.
    pub fn at(time: Time) -> Self {
        Crash::new(When::At(time))
    }

    /// Just before the process's `k`-th output, counted from 1. An output leaves the process: it is a copy to
    /// another process, or an indication to the application.
    pub fn before_output(k: u64) -> Self {
        Crash::new(When::BeforeOutput(k))
    }

    /// Just before the `k`-th effect, counted from 1 over all modules of the process, whether it
    /// leaves the process or not.
    pub fn before_effect(k: u64) -> Self {
        Crash::new(When::BeforeEffect(k))
    }

    /// Loses these copies, which are in flight at that moment.
    #[must_use]
    pub fn losing(mut self, lose: Lose) -> Self {
        self.lose = lose;
        self
    }
}

/// The effects of faults.
impl Core {
    pub(crate) fn crash(&mut self, p: ProcessId, lose: Lose) {
        if self.life(p) == Life::Crashed {
            return;
        }
        self.settle();
        self.changed = self.now;
        let process = &mut self.processes[p.index()];
        process.life = Life::Crashed;
        process.held.clear();
        self.network.foreground -= process.inbound;
        process.inbound = 0;
        self.record(Scope::World, p, Kind::Crash);
        self.lose_copies(p, lose);
        self.end_turns(p);
        let (steps, modules) = (&mut self.steps, &self.modules);
        steps.ready.retain(|m| modules[*m].process != p);
        steps.unflushed.retain(|m| modules[*m].process != p);
        steps.due.retain(|(m, _)| modules[*m].process != p);
        self.actions -= self.stage.withdraw(p);
        let network = &mut self.network;
        steps.flying.retain(|slot| {
            let kept = network.packet(*slot).is_some_and(|k| k.copy.to != p);
            if !kept {
                network.remove(*slot);
            }
            kept
        });
        let mut watchers = std::mem::take(&mut self.watchers);
        for watcher in &mut watchers {
            watcher(self, p);
        }
        watchers.append(&mut self.watchers);
        self.watchers = watchers;
    }

    fn lose_copies(&mut self, p: ProcessId, lose: Lose) {
        if lose == Lose::Nothing {
            return;
        }
        for slot in 0..self.network.packets.len() {
            let Some(packet) = self.network.packet(slot).filter(|k| k.copy.from == p) else {
                continue;
            };
            let (copy, foreground) = (packet.copy, packet.foreground());
            let lost = copy.to != p
                && match lose {
                    Lose::Nothing => false,
                    Lose::Everything => true,
                    Lose::To(set) => set.contains(copy.to),
                    Lose::Each(probability) => chance::happens(&mut self.rng, probability),
                };
            let held = self.network.held.get_mut(&(copy.from, copy.to));
            let was_held = held.is_some_and(|slots| {
                let before = slots.len();
                slots.retain(|s| !lost || *s != slot);
                slots.len() < before
            });
            if lost {
                if !was_held {
                    self.count_out(foreground, copy.to);
                }
                self.network.remove(slot);
                self.lose(copy, Loss::Crash);
            }
        }
    }

    pub(crate) fn pause(&mut self, p: ProcessId) {
        if self.life(p) != Life::Running {
            return;
        }
        self.changed = self.now;
        self.processes[p.index()].life = Life::Paused;
        self.record(Scope::World, p, Kind::Pause);
        let (steps, modules) = (&mut self.steps, &self.modules);
        steps.ready.retain(|m| modules[*m].process != p);
        steps.unflushed.retain(|m| modules[*m].process != p);
        let held = &mut self.processes[p.index()].held;
        steps.due.retain(|(m, id)| {
            let stays = modules[*m].process != p;
            if !stays {
                held.push_back(Token::Timer(*m, *id));
            }
            stays
        });
    }

    pub(crate) fn resume(&mut self, p: ProcessId) {
        if self.life(p) != Life::Paused || self.processes[p.index()].is_unborn {
            return;
        }
        self.record(Scope::World, p, Kind::Resume);
        self.go_on(p);
    }

    /// A process takes steps again, first those that waited.
    pub(crate) fn go_on(&mut self, p: ProcessId) {
        self.changed = self.now;
        self.processes[p.index()].life = Life::Running;
        let held = std::mem::take(&mut self.processes[p.index()].held);
        if self.pace == Pace::Timed {
            self.ready.extend(held);
            return;
        }
        for token in held {
            match token {
                Token::Timer(module, id) => self.steps.due.push((module, id)),
                Token::Arrive(slot, _) => self.steps.flying.push(slot),
                Token::Turn(way, turn) => {
                    self.enter(self.now, What::Action(Action::Turn(way, turn)));
                }
                Token::Event(_) => {}
            }
        }
        for (index, module) in self.modules.iter().enumerate() {
            if module.process == p && module.installed {
                if module.pending > 0 {
                    self.steps.ready.push(index);
                }
                if module.unflushed {
                    self.steps.unflushed.push(index);
                }
            }
        }
    }

    pub(crate) fn cut(&mut self, from: ProcessId, to: ProcessId) {
        self.changed = self.now;
        let pair = self.network.pair(from, to);
        self.network.cuts[pair] += 1;
        if self.network.cuts[pair] == 1 {
            self.record(Scope::World, from, Kind::Cut { to });
        }
    }

    /// Cuts the direction for good. Copies that an earlier cut held back are lost, too.
    pub(crate) fn disconnect(&mut self, from: ProcessId, to: ProcessId) {
        let pair = self.network.pair(from, to);
        self.network.disconnected[pair] = true;
        self.cut(from, to);
        for slot in self.network.held.remove(&(from, to)).unwrap_or_default() {
            if let Some(packet) = self.network.remove(slot) {
                self.lose(packet.copy, Loss::Cut);
            }
        }
    }

    pub(crate) fn heal(&mut self, from: ProcessId, to: ProcessId) {
        self.changed = self.now;
        let pair = self.network.pair(from, to);
        self.network.cuts[pair] = self.network.cuts[pair].saturating_sub(1);
        if self.network.cuts[pair] > 0 {
            return;
        }
        self.record(Scope::World, from, Kind::Heal { to });
        self.resume_stream((from, to));
        for slot in self.network.held.remove(&(from, to)).unwrap_or_default() {
            let Some((copy, birth)) = self.network.packet(slot).map(|k| (k.copy, k.birth)) else {
                continue;
            };
            self.count_in(slot);
            self.fly(slot, birth, copy);
        }
        self.line_up((from, to));
        self.replan_turns((from, to));
    }

    /// Carries out a planned action. A call is returned, because it must be made outside the lock.
    pub(crate) fn act(&mut self, action: Action) -> Option<Box<dyn FnOnce() + Send>> {
        self.actions -= 1;
        match action {
            Action::Crash(p, lose) => self.crash(p, lose),
            Action::Pause(p) => self.pause(p),
            Action::Resume(p) => self.resume(p),
            Action::Cut(from, to) => self.cut(from, to),
            Action::Disconnect(from, to) => self.disconnect(from, to),
            Action::Heal(from, to) => self.heal(from, to),
            Action::Start(p) => self.start_process(p),
            Action::Echo(copy, label, cargo) => self.arrive_again(copy, label, cargo),
            Action::Gap(way, keep) => return hand_over(self.end_stream(way, keep)),
            Action::Turn(way, turn) => return hand_over(self.turn(way, turn)),
            Action::Call(p, _, call) if self.life(p) != Life::Crashed => return Some(call),
            Action::Call(..) => {}
        }
        None
    }
}

fn hand_over(deliveries: Vec<Delivery>) -> Option<Box<dyn FnOnce() + Send>> {
    if deliveries.is_empty() {
        return None;
    }
    Some(Box::new(|| {
        deliveries.into_iter().for_each(Delivery::complete);
    }))
}
