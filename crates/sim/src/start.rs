//! Late starts and restarts.
//!
//! A process that starts late takes no steps before its start. Datagrams that reach its fair-loss link until
//! then are lost; messages over perfect links wait. A process that has crashed may start again, as another
//! incarnation and without its memory: its modules are new, and wired anew. Copies that its earlier starts
//! have sent are still in flight.
use crate::{
    network::Ends,
    state::{Action, Core, Life, Scope, Token},
    trace::{Kind, Loss},
    world::World,
};
use quorate_core::{Counters, Incarnation, ProcessId, Time, actor::Actor};
use std::collections::VecDeque;

impl World {
    /// Makes `p` start at this time, not at once. Must be called before the world runs.
    pub fn start_at(&self, p: ProcessId, at: Time) {
        let mut core = self.shared.lock();
        core.processes[p.index()].is_unborn = true;
        core.processes[p.index()].life = Life::Paused;
        let Core { steps, modules, .. } = &mut *core;
        steps.ready.retain(|module| modules[*module].process != p);
        drop(core);
        self.plan(at, Action::Start(p));
    }

    /// Restarts `p`, which has crashed, now and without its memory, as this incarnation. Its modules are to
    /// be wired anew, with the hosts, links and applications that the world gives from here on. Returns
    /// whether it had crashed.
    ///
    /// For properties, a process that has ever crashed stays crashed: they do not see its later starts.
    pub fn restart(&mut self, p: ProcessId, incarnation: Incarnation) -> bool {
        let mut core = self.shared.lock();
        if core.life(p) != Life::Crashed {
            return false;
        }
        let actors = core.restart(p, incarnation);
        drop(core);
        // Dropped outside the lock: their routes may hold the last address of others.
        drop(actors);
        true
    }
}

/// What an earlier start leaves behind.
type Remains = (Vec<Box<dyn Actor>>, Ends);

impl Core {
    fn restart(&mut self, p: ProcessId, incarnation: Incarnation) -> Remains {
        let modules = self.modules.iter_mut().filter(|m| m.process == p);
        let mut actors = Vec::new();
        for module in modules {
            module.installed = false;
            actors.extend(module.actor.take());
        }
        // Messages of perfect links were for the crashed incarnation only.
        let packets = self.network.packets.iter().enumerate();
        let lost: Vec<_> = packets
            .filter_map(|(slot, packet)| Some((slot, packet.as_ref()?)))
            .filter(|(_, packet)| packet.copy.to == p && packet.foreground())
            .map(|(slot, packet)| (slot, packet.copy))
            .collect();
        for (slot, copy) in lost {
            if let Some(held) = self.network.held.get_mut(&(copy.from, copy.to)) {
                held.retain(|held| *held != slot);
            }
            self.network.remove(slot);
            self.lose(copy, Loss::Crash);
        }
        let ends = std::mem::take(&mut self.network.ends[p.index()]);
        self.network.ends[p.index()].sent = ends.sent;
        let process = &mut self.processes[p.index()];
        process.incarnation = incarnation;
        process.counters = Counters::default();
        process.life = Life::Running;
        process.starts += 1;
        process.doom = None;
        self.changed = self.now;
        self.record(Scope::World, p, Kind::Start);
        (actors, ends)
    }

    /// A process that starts late does so now.
    pub(crate) fn start_process(&mut self, p: ProcessId) {
        let process = &mut self.processes[p.index()];
        if !std::mem::take(&mut process.is_unborn) {
            return;
        }
        let unstarted: VecDeque<usize> = std::mem::take(&mut process.unstarted);
        self.starting.extend(unstarted);
        self.record(Scope::World, p, Kind::Start);
        self.go_on(p);
    }

    /// Whether a module of a process that has not started yet has to wait.
    pub(crate) fn waits_for_start(&mut self, module: usize) -> bool {
        let process = &mut self.processes[self.modules[module].process.index()];
        if process.is_unborn {
            process.unstarted.push_back(module);
        }
        process.is_unborn
    }

    /// Keeps events of a process that takes no steps for later.
    pub(crate) fn keep_for(&mut self, p: ProcessId, token: Token) {
        self.processes[p.index()].held.push_back(token);
    }
}
