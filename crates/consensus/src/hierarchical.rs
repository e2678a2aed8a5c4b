//! Regular consensus by hierarchy: the first correct process in rank imposes its proposal.
//!
//! # Promises
//! - C1 validity, C2 agreement between correct processes, C3 integrity (safety).
//! - C4 termination (liveness): if every correct process proposes in an instance, every correct
//!   process decides in it.
//!
//! # Assumes
//! Best-effort broadcast over perfect links, the perfect failure detector P; any number of crashes. Not
//! uniform: a leader decides before anybody has its value. With a detector that errs, correct processes
//! decide differently. A gap does not stop an instance: when a stream begins anew, this process sends its
//! receiver again what it has imposed in open instances, and in the latest 256 finished ones, or 4 MiB of
//! those. A process that missed an older value never gets it.
//!
//! # Messages
//! `Imposed(instance, value)`, from the leader of a round → everybody.
//!
//! # Cost
//! Failure-free n(n−1) messages; the process of rank i decides at step i − 1. With p1 dead,
//! reported D steps after the start: (n−1)² messages, rank i at step D + i − 2. A leader crashing
//! after k sends: k + (n−1)² messages. Memory: O(n) per undecided instance; the decided ones as a watermark;
//! what was imposed in the latest.
//!
//! # Why it holds
//! The first correct process in rank waits for the lower ranks, then imposes its proposal v. Nobody
//! reports it crashed (P), so every correct process of higher rank adopts v in that round, and imposes
//! and decides v in its own, where nothing but v is imposed by then (C2). A round ends by the leader's
//! value or the report of its crash, one of which comes (C4).
//!
//! # Source
//! Guerraoui: *Revisiting the relationship between non-blocking atomic commitment and consensus*,
//! 1995; Cachin, Guerraoui, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 5.1, “Hierarchical Consensus”. Deviations: values are kept by the rank of their leader, so that an
//! early one waits and a late one has no effect; many instances; a decided one is pruned, as its process
//! sends nothing new in it.
use crate::hierarchy::{Hierarchy, Imposed, Reached};
use bytes::Bytes;
use quorate_abstractions::{
    best_effort, link, perfect,
    regular_consensus::{self, Decide, Propose},
};
use quorate_core::{Algorithm, Ctx, Host, ProcessId, instances::Entry, ports};

/// Regular hierarchical consensus.
pub struct Hierarchical(Hierarchy);

ports! {
    offers regular_consensus::Port => Propose -> Decide;
    uses lane: link::Port<Imposed> => BestEffort as best_effort::Port<Imposed>, Link;
    watches status: link::Status => Status, by link::watch_streams;
    watches detector: perfect::Crash => Crash;

    /// Starts regular hierarchical consensus over the best-effort broadcast of a lane, and P.
    pub fn spawn(host) = Hierarchical::new(host);
}

impl Algorithm for Hierarchical {
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

impl Hierarchical {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        Hierarchical(Hierarchy::new(host.me(), *host.processes()))
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

    /// Upon rounds that are over: climbs up to its own, where it imposes its proposal, and decides it.
    fn upon_round_over(&mut self, number: u64, ctx: &mut Ctx<Self>) {
        // Its own round comes before the top: there is nothing to climb for afterwards.
        if let Reached::Leads(value) = self.0.climb(number) {
            self.0.retire(number);
            impose(number, value.clone(), ctx);
            ctx.trigger(Effect::Decide(Decide {
                instance: number,
                value,
            }));
        }
    }
}

fn impose(instance: u64, value: Bytes, ctx: &mut Ctx<Hierarchical>) {
    ctx.trigger(Effect::BestEffort(best_effort::Broadcast(Imposed {
        instance,
        value,
    })));
}

#[cfg(test)]
mod tests;
