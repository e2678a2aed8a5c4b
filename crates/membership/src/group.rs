//! Group membership: processes agree on each next view, without the members that are known to have crashed.
//!
//! # Promises
//! - GMP1 monotonicity, GMP2 uniform agreement, GMP4 accuracy (safety).
//! - GMP3 completeness (liveness): a process that crashes is eventually outside the view of every correct
//!   process.
//!
//! # Assumes
//! Uniform consensus and the perfect failure detector P; any number of crashes, as far as consensus
//! survives them. With a detector that errs, a live process is left out. Nobody joins.
//!
//! # Messages
//! None of its own. In instance k of consensus the members of view k are proposed and decided.
//!
//! # Cost
//! Failure-free nothing: the first view, with the identifier 0, is indicated at once. With one process dead
//! and uniform hierarchical consensus: (n−1)² messages a view, and D + n − 1 steps after a crash of p1 that
//! is reported D steps later. With c > 1 dead at once: (n−c)(n−1) for each of two views, since reports come
//! one by one: the first view is without the process reported first, the second without all of them. Memory:
//! a view; decisions that come before their turn, at most n − 1.
//!
//! # Why it holds
//! A proposal consists of the members of the present view without those that P reports; the same instance
//! decides the same everywhere, and decisions are applied in the order of their instances (GMP1, GMP2). A
//! process that is left out was reported by some process, so it has crashed (GMP4). While a crashed process
//! is in the view of a correct one, P reports it there, and a smaller view is proposed. Every correct process
//! comes to that instance, and proposes in it, too, or has its decision: so consensus decides (GMP3).
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 6.7, “Consensus-Based Group Membership”. Deviations: the first view is indicated; a view is out of
//! date if it has a member that crashed, whichever others are alive (a process may know less than those that
//! decided, and must still react); a proposal is within the view; decisions wait for their turn, and count
//! whether or not this process proposed: if it did not, it then proposes the decided value, because consensus
//! owes decisions only if all propose; a decided view that is out of date already is followed by the next
//! proposal at once.
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    consensus::{self, Decide, Propose},
    group_membership::View,
    perfect,
};
use quorate_core::{
    Algorithm, Ctx, Host, Membership, ProcessId, ProcessSet, ports,
    wire::{self, Undecodable},
};
use std::collections::BTreeMap;

/// Group membership.
pub struct Group {
    processes: Membership,
    /// The present view.
    view: View,
    crashed: ProcessSet,
    /// Whether this process has proposed the next view.
    proposed: bool,
    /// The members of later views that were decided, until their turn comes.
    decisions: BTreeMap<u64, ProcessSet>,
}

ports! {
    indicates View => View;
    uses consensus: consensus::Port => Decide / Propose;
    watches detector: perfect::Crash => Crash;

    /// Starts group membership over uniform consensus and P.
    pub fn spawn(host) = Group::new(host);
}

impl Algorithm for Group {
    type Event = Event;
    type Effect = Effect;

    /// The first view is indicated like any other.
    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::View(self.view));
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
            Event::Decide(decision) => self.upon_decide(decision, ctx),
        }
    }
}

impl Group {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        let processes = *host.processes();
        let members = processes.set();
        Group {
            processes,
            view: View { id: 0, members },
            crashed: ProcessSet::EMPTY,
            proposed: false,
            decisions: BTreeMap::new(),
        }
    }

    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.crashed.insert(p);
        self.upon_outdated(ctx);
    }

    /// When a member has crashed, proposes the view without it, once.
    fn upon_outdated(&mut self, ctx: &mut Ctx<Self>) {
        let members = self.view.members.without(self.crashed);
        if !self.proposed && members != self.view.members {
            self.propose(members, ctx);
        }
    }

    fn propose(&mut self, members: ProcessSet, ctx: &mut Ctx<Self>) {
        self.proposed = true;
        let instance = self.view.id + 1;
        let value = encode(members);
        ctx.trigger(Effect::Propose(Propose { instance, value }));
    }

    /// A decision waits for its turn. Views only get smaller, so there are at most n − 1 after the
    /// present one.
    fn upon_decide(&mut self, decision: Decide, ctx: &mut Ctx<Self>) {
        let Decide { instance, value } = decision;
        if instance <= self.view.id {
            return ctx.count("repeated decision");
        }
        if instance - self.view.id >= self.processes.n() as u64 {
            return ctx.count("decision too far ahead");
        }
        let Ok(members) = decode(value) else {
            return ctx.count("undecodable decision");
        };
        self.decisions.insert(instance, members);
        self.upon_decided(ctx);
    }

    /// Installs the next view once it is decided, and ensures that consensus has this process's proposal.
    fn upon_decided(&mut self, ctx: &mut Ctx<Self>) {
        while let Some(members) = self.decisions.remove(&(self.view.id + 1)) {
            if !members.is_subset(self.view.members) {
                return ctx.count("impossible view");
            }
            if !self.proposed {
                self.propose(members, ctx);
            }
            let id = self.view.id + 1;
            self.view = View { id, members };
            self.proposed = false;
            ctx.trigger(Effect::View(self.view));
        }
        self.upon_outdated(ctx);
    }
}

fn encode(members: ProcessSet) -> Bytes {
    let mut out = BytesMut::new();
    wire::put_head(&members.iter().collect::<Vec<_>>(), &mut out);
    out.freeze()
}

fn decode(mut value: Bytes) -> Result<ProcessSet, Undecodable> {
    let members: Vec<ProcessId> = wire::take_head(&mut value)?;
    if value.is_empty() {
        Ok(members.into_iter().collect())
    } else {
        Err(Undecodable)
    }
}

#[cfg(test)]
mod tests;
