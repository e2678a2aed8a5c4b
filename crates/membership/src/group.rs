//! Group membership: processes agree on each next view, without the members that are known to have crashed or
//! that leave.
//!
//! # Promises
//! - GMP1 monotonicity, GMP2 uniform agreement, GMP4 accuracy, GMP6 no return (safety).
//! - GMP3 completeness (liveness): a process that crashes is eventually outside the view of every correct
//!   process that has not left.
//! - GMP5 leaving (liveness): a correct process that asks to leave is told that it has left, and in the end it
//!   is in the view of no correct process.
//!
//! # Assumes
//! Uniform consensus, the perfect failure detector P, and best-effort broadcast over perfect links; any number
//! of crashes, as far as consensus survives them. With a detector that errs, a live process is left out. Nobody
//! joins. A gap stops nobody from leaving: when a stream begins anew, a process that leaves says so again.
//!
//! # Messages
//! `Leave`, from a process that leaves → everybody. In instance k of consensus the members of view k are
//! proposed and decided.
//!
//! # Cost
//! Failure-free nothing: the first view, with the identifier 0, is indicated at once. With one process dead
//! and uniform hierarchical consensus: (n−1)² messages a view, and D + n − 1 steps after a crash of p1 that
//! is reported D steps later. With c > 1 dead at once: (n−c)(n−1) for each of two views, since reports come
//! one by one: the first view is without the process reported first, the second without all of them. A process
//! that leaves, failure-free: n − 1 messages `Leave` and n(n−1) of consensus. Memory: a view; decisions that
//! come before their turn, at most n.
//!
//! # Why it holds
//! A proposal consists of the members of the present view without those that P reports and those that leave;
//! the same instance decides the same everywhere, and decisions are applied in the order of their instances
//! (GMP1, GMP2). A process that is left out was reported by some process, so it has crashed, or has said that
//! it leaves (GMP4). While a crashed process is in the view of a correct one, P reports it there, and a smaller
//! view is proposed. Every correct process comes to that instance, and proposes in it, too, or has its decision:
//! so consensus decides (GMP3). The same holds of a process that leaves, because its `Leave` reaches every
//! correct process, or P reports its crash (GMP5). A process that has left goes on as before, and indicates
//! nothing: consensus may wait for its proposals (GMP6).
//!
//! # Source
//! Guerraoui, Cachin, Rodrigues: *Introduction to Reliable and Secure Distributed Programming*,
//! section 6.7, “Consensus-Based Group Membership”. Deviations: the first view is indicated; a view is out of
//! date if it has a member that crashed, whichever others are alive (a process may know less than those that
//! decided, and must still react); a proposal is within the view; decisions wait for their turn, and count
//! whether or not this process proposed: if it did not, it then proposes the decided value, because consensus
//! owes decisions only if all propose; a decided view that is out of date already is followed by the next
//! proposal at once; a process may leave.
#[cfg(any(test, feature = "mutants"))]
pub mod mutant;

use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    best_effort,
    consensus::{self, Decide, Propose},
    group_membership::{self, Indication, Request, View},
    link, perfect,
};
use quorate_core::{
    Algorithm, Ctx, Host, ProcessId, ProcessSet, messages, ports,
    wire::{self, Undecodable},
};
use std::collections::BTreeMap;

messages! {
    /// The only message.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Message {
        /// The sender leaves.
        Leave,
    }
}

/// Whether this process is to be in further views.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stay {
    Stays,
    /// It has asked to leave, and is told when a view without it begins.
    Leaves,
    /// It has left, and only takes part in consensus.
    HasLeft,
}

/// Group membership.
pub struct Group {
    me: ProcessId,
    stay: Stay,
    /// The present view.
    view: View,
    crashed: ProcessSet,
    /// The processes that have said that they leave.
    leaving: ProcessSet,
    /// Whether this process has proposed the next view.
    proposed: bool,
    /// The members of later views that were decided, until their turn comes.
    decisions: BTreeMap<u64, ProcessSet>,
}

ports! {
    offers group_membership::Port => Request -> Indicate;
    uses lane: link::Port<Message> => BestEffort as best_effort::Port<Message>, Link;
    watches status: link::Status => Status, by link::watch_streams;
    uses consensus: consensus::Port => Decide / Propose;
    watches detector: perfect::Crash => Crash;

    /// Starts group membership over the best-effort broadcast of a lane, uniform consensus and P.
    pub fn spawn(host) = Group::new(host);
}

impl Algorithm for Group {
    type Event = Event;
    type Effect = Effect;

    /// The first view is indicated like any other.
    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Indicate(Indication::View(self.view)));
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Request(Request::Leave) => self.upon_wish_to_leave(ctx),
            Event::BestEffort(best_effort::Deliver {
                from,
                message: Message::Leave,
            }) => self.upon_leave(from, ctx),
            Event::Status(status) => self.upon_status(&status, ctx),
            Event::Crash(perfect::Crash(p)) => self.upon_crash(p, ctx),
            Event::Decide(decision) => self.upon_decide(decision, ctx),
        }
    }
}

impl Group {
    /// The algorithm at `host`.
    pub fn new(host: &impl Host) -> Self {
        let members = host.processes().set();
        Group {
            me: host.me(),
            stay: Stay::Stays,
            view: View { id: 0, members },
            crashed: ProcessSet::EMPTY,
            leaving: ProcessSet::EMPTY,
            proposed: false,
            decisions: BTreeMap::new(),
        }
    }

    /// The user asks to leave: everybody is told.
    fn upon_wish_to_leave(&mut self, ctx: &mut Ctx<Self>) {
        if self.stay != Stay::Stays {
            return ctx.count("leaves already");
        }
        self.stay = Stay::Leaves;
        ctx.trigger(Effect::BestEffort(best_effort::Broadcast(Message::Leave)));
    }

    fn upon_leave(&mut self, from: ProcessId, ctx: &mut Ctx<Self>) {
        self.leaving.insert(from);
        self.upon_outdated(ctx);
    }

    /// When a stream begins anew, a process that leaves says so again: the first time may be lost.
    fn upon_status(&mut self, status: &link::Status, ctx: &mut Ctx<Self>) {
        let link::Status::Begun { peer } = *status else {
            return;
        };
        if self.stay != Stay::Stays {
            let (to, message) = (link::To::One(peer), Message::Leave);
            ctx.trigger(Effect::Link(link::SendRequest { to, message }));
        }
    }

    fn upon_crash(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        self.crashed.insert(p);
        self.upon_outdated(ctx);
    }

    /// When a member has crashed or leaves, proposes the view without it, once.
    fn upon_outdated(&mut self, ctx: &mut Ctx<Self>) {
        let gone = self.crashed.union(self.leaving);
        let members = self.view.members.without(gone);
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

    /// A decision waits for its turn. Views only get smaller, so there are no more after the present one than it
    /// has members.
    fn upon_decide(&mut self, decision: Decide, ctx: &mut Ctx<Self>) {
        let Decide { instance, value } = decision;
        if instance <= self.view.id {
            return ctx.count("repeated decision");
        }
        if instance - self.view.id > self.view.members.len() as u64 {
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
            self.indicate_view(ctx);
        }
        self.upon_outdated(ctx);
    }

    /// A process that leaves is told of the first view without it, and of no later one.
    fn indicate_view(&mut self, ctx: &mut Ctx<Self>) {
        let leaves = self.stay == Stay::Leaves && !self.view.members.contains(self.me);
        if leaves {
            self.stay = Stay::HasLeft;
            ctx.trigger(Effect::Indicate(Indication::Left(self.view)));
        } else if self.stay != Stay::HasLeft {
            ctx.trigger(Effect::Indicate(Indication::View(self.view)));
        }
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
