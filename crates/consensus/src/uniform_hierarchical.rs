//! Uniform consensus by hierarchy: everybody leads once, and nobody decides before the last round.
//!
//! # Promises
//! - UC1 validity, UC2 uniform agreement, UC3 integrity (safety).
//! - UC4 termination (liveness): if every correct process proposes in an instance, every correct
//!   process decides in it.
//!
//! # Assumes
//! Best-effort broadcast over perfect links, the perfect failure detector P; any number of crashes. With a
//! detector that errs, a process that suspects all others decides alone. A gap does not stop an instance:
//! when a stream begins anew, this process sends its receiver again what it has imposed in open instances,
//! and in the latest 256 finished ones, or 4 MiB of those. A process that missed an older value never gets
//! it.
//!
//! # Messages
//! `Imposed(instance, value)`, from the leader of a round → everybody.
//!
//! # Cost
//! Failure-free n(n−1) messages; everybody decides at step n, the last in rank at step n−1. With p1
//! dead, reported D steps after the start: (n−1)² messages, D + n − 1 steps, the last in rank one
//! less. The sender of rank r crashing after k sends, reported before anybody needs it: k + (n−1)².
//! Memory: O(n) per undecided instance; the decided ones as a watermark; what was imposed in the latest.
//!
//! # Why it holds
//! Take a correct process. Every process that is past its round has adopted its value, because nobody reports
//! it crashed (P). So after that round all proposals that can still be imposed are this one value, and every
//! process that reaches the top, even one that crashes then, holds it (UC2). A round ends with the leader's
//! value or the report of its crash, one of which comes (UC4).
//!
//! # Source
//! The lecture's n-round algorithm; in substance Guerraoui: *Revisiting the relationship between
//! non-blocking atomic commitment and consensus*, 1995. Deviations: values are kept by the rank of
//! their leader, so that an early one waits and a late one has no effect (counting arrivals as rounds
//! breaks agreement, dropping early ones termination); many instances; finished ones are pruned.
use crate::hierarchy::{Hierarchy, Imposed, Reached};
use bytes::Bytes;
use quorate_abstractions::{
    best_effort,
    consensus::{self, Decide, Propose},
    link, perfect,
};
use quorate_core::{Algorithm, Ctx, Host, ProcessId, instances::Entry, ports};

/// Uniform hierarchical consensus.
pub struct UniformHierarchical(Hierarchy);

ports! {
    offers consensus::Port => Propose -> Decide;
    uses lane: link::Port<Imposed> => BestEffort as best_effort::Port<Imposed>, Link;
    watches status: link::Status => Status, by link::watch_streams;
    watches detector: perfect::Crash => Crash;

    /// Starts uniform hierarchical consensus over the best-effort broadcast of a lane, and P.
    pub fn spawn(host) = UniformHierarchical::new(host);
}

impl Algorithm for UniformHierarchical {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Propose(Propose { instance, value }) => self.upon_propose(instance, value, ctx),
            Event::BestEffort(best_effort::Deliver { from, message }) => {
                self.upon_imposed(from, message, ctx);
            }
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
            Event::Status(status) => self.upon_status(&status, ctx),
        }
    }
}

impl UniformHierarchical {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        UniformHierarchical(Hierarchy::new(host.me(), *host.processes()))
    }

    /// The first proposal counts, unless a leader's value was adopted before.
    fn upon_propose(&mut self, number: u64, value: Bytes, ctx: &mut Ctx<Self>) {
        match self.0.at(number) {
            Entry::Live(instance) => _ = instance.proposal.get_or_insert(value),
            Entry::Retired => return,
            Entry::TooFar => return ctx.count("instance too far ahead"),
        }
        self.upon_round_over(number, ctx);
    }

    fn upon_imposed(&mut self, leader: ProcessId, message: Imposed, ctx: &mut Ctx<Self>) {
        let number = message.instance;
        match self.0.at(number) {
            Entry::Live(instance) => instance.hear(leader, message.value),
            Entry::Retired => return,
            Entry::TooFar => return ctx.count("instance too far ahead"),
        }
        self.upon_round_over(number, ctx);
    }

    /// When a stream begins anew, sends its receiver again what this process has imposed.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        for send in self.0.again(status) {
            ctx.trigger(Effect::Link(send));
        }
    }

    /// A crash affects every instance, including those that begin later.
    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.0.crashed.insert(p);
        for number in self.0.instances.numbers() {
            self.upon_round_over(number, ctx);
        }
    }

    /// Upon rounds that are over: climbs, imposes in its own, and decides after the last.
    fn upon_round_over(&mut self, number: u64, ctx: &mut Ctx<Self>) {
        loop {
            match self.0.climb(number) {
                Reached::Waits => return,
                Reached::Leads(value) => impose(number, value, ctx),
                Reached::Top(value) => return self.upon_top(number, value, ctx),
            }
        }
    }

    fn upon_top(&mut self, number: u64, value: Option<Bytes>, ctx: &mut Ctx<Self>) {
        // Its own round does not end without a proposal, so there is a value.
        let Some(value) = value else { return };
        self.0.retire(number);
        ctx.trigger(Effect::Decide(Decide {
            instance: number,
            value,
        }));
    }
}

fn impose(instance: u64, value: Bytes, ctx: &mut Ctx<UniformHierarchical>) {
    ctx.trigger(Effect::BestEffort(best_effort::Broadcast(Imposed {
        instance,
        value,
    })));
}

#[cfg(test)]
mod tests;
