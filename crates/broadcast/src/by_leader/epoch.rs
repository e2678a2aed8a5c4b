//! The epoch: who holds the seats, who is to hold them, and what a replacement ends.
use super::{ByLeader, Effect};
use crate::ordering::Cut;
use quorate_abstractions::{
    link::Adopt,
    reconfigurable::{self, Indication},
};
use quorate_core::{Ctx, Incarnation, Membership, ProcessId, ProcessSet, message::Origin};
use std::collections::BTreeMap;

/// Who holds the seats.
#[derive(Debug, Default)]
pub(super) struct Epoch {
    /// The number of replacements so far.
    number: u64,
    /// The process that has the first ballot of the epoch; `None` in the first epoch.
    leader: Option<ProcessId>,
    /// The newcomers that hold seats, each with the number of incarnations that held its seat before.
    holders: BTreeMap<ProcessId, (Incarnation, u64)>,
    /// Seats in which the links report another incarnation: the one they know, and the new one.
    replaced: BTreeMap<ProcessId, (Incarnation, Incarnation)>,
}

impl Epoch {
    /// Begins the epoch that a state belongs to.
    pub(super) fn begin(&mut self, number: u64, leader: ProcessId, newcomers: &[(Origin, u64)]) {
        self.number = number;
        self.leader = Some(leader);
        let holders = newcomers.iter();
        let holders = holders.map(|(o, number)| (o.process, (o.incarnation, *number)));
        self.holders = holders.collect();
    }

    /// The number of replacements so far.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The process that has the first ballot.
    pub(super) fn leader(&self, processes: &Membership) -> ProcessId {
        self.leader.unwrap_or(processes.coordinator(1))
    }

    /// The links report another incarnation in a seat than the one they know.
    pub(super) fn note_replaced(
        &mut self,
        seat: ProcessId,
        known: Incarnation,
        newcomer: Incarnation,
    ) {
        self.replaced.insert(seat, (known, newcomer));
    }

    /// Whether the origin may hold its seat: while no newcomer holds a seat, its holder is not known here.
    pub(super) fn may_hold_seat(&self, origin: Origin) -> bool {
        let holder = self.holders.get(&origin.process);
        holder.is_none_or(|(incarnation, _)| *incarnation == origin.incarnation)
    }

    /// Whether a newcomer holds the seat.
    pub(super) fn is_replaced(&self, seat: ProcessId) -> bool {
        self.holders.contains_key(&seat)
    }

    /// The newcomers that this leader has not proposed yet.
    pub(super) fn wanted(&self, proposed: &Cut) -> Vec<Origin> {
        let wanted = self
            .replaced
            .iter()
            .filter_map(|(seat, (known, newcomer))| {
                let holder = self.holders.get(seat).map(|(incarnation, _)| incarnation);
                let newcomer = Origin {
                    process: *seat,
                    incarnation: *newcomer,
                };
                let is_due = holder.is_none_or(|holder| holder == known);
                (is_due && !proposed.0.contains_key(&newcomer)).then_some(newcomer)
            });
        wanted.collect()
    }

    /// The newcomers among these that do not hold their seats already.
    fn new_among(&self, newcomers: &[Origin]) -> Vec<Origin> {
        let is_new = |origin: &&Origin| {
            let holder = self.holders.get(&origin.process);
            holder.is_none_or(|(incarnation, _)| *incarnation != origin.incarnation)
        };
        newcomers.iter().filter(is_new).copied().collect()
    }

    /// Begins the next epoch, in which some seats have new holders.
    fn advance(&mut self, leader: ProcessId) {
        self.number += 1;
        self.leader = Some(leader);
    }

    /// Puts the newcomer in its seat, and returns what the links are to be told.
    fn hold(&mut self, newcomer: Origin) -> Adopt {
        let Origin {
            process: seat,
            incarnation,
        } = newcomer;
        let before = self.holders.get(&seat).map_or(0, |(_, number)| *number);
        let number = before + 1;
        self.holders.insert(seat, (incarnation, number));
        let pending = self.replaced.get(&seat);
        if pending.is_some_and(|(_, wanted)| *wanted == incarnation) {
            self.replaced.remove(&seat);
        }
        Adopt {
            seat,
            incarnation,
            number,
        }
    }

    /// The newcomers that hold seats, each with the number of incarnations that held its seat before.
    pub(super) fn newcomers(&self) -> Vec<(Origin, u64)> {
        let holders = self.holders.iter();
        let origin = |(process, (incarnation, number)): (&ProcessId, &(Incarnation, u64))| {
            let (process, incarnation) = (*process, *incarnation);
            let origin = Origin {
                process,
                incarnation,
            };
            (origin, *number)
        };
        holders.map(origin).collect()
    }

    /// The epoch as the user is told of it.
    pub(super) fn present(&self) -> reconfigurable::Epoch {
        reconfigurable::Epoch {
            number: self.number,
            newcomers: self.newcomers(),
        }
    }
}

/// The replacements.
impl ByLeader {
    /// A cut that puts newcomers in their seats is applied: the epoch is over, and what was accepted or
    /// decided in later instances is void.
    pub(super) fn upon_replacements(&mut self, newcomers: &[Origin], ctx: &mut Ctx<Self>) {
        let newcomers = self.epoch.new_among(newcomers);
        if newcomers.is_empty() {
            return;
        }
        let seats: ProcessSet = newcomers.iter().map(|origin| origin.process).collect();
        let leader = first_leader(&self.processes, seats);
        let applied = self.sequence.applied();
        let owed = self.ballots.succeed(applied, leader, seats);
        self.say(owed, ctx);
        self.sequence.begin_anew();
        self.stable = applied;
        self.epoch.advance(leader);
        self.stop_sending_state(seats);
        seats.iter().for_each(|p| self.missing.cancel(p));
        for newcomer in newcomers {
            let adopt = self.epoch.hold(newcomer);
            ctx.trigger(Effect::Adopt(adopt));
            self.batches
                .replace(newcomer.process, |origin| self.epoch.may_hold_seat(origin));
        }
        // An incarnation that some process did not know, put in its seat with its memory, goes on.
        if !self.epoch.may_hold_seat(self.me) {
            self.joining.leave();
        }
        let epoch = self.epoch.present();
        ctx.trigger(Effect::Indicate(Indication::Epoch(epoch)));
    }
}

/// The process that has the first ballot after these seats were given to newcomers, which have no state yet.
fn first_leader(processes: &Membership, newcomers: ProcessSet) -> ProcessId {
    let mut old = processes.iter().filter(|p| !newcomers.contains(*p));
    old.next().unwrap_or(processes.coordinator(1))
}
