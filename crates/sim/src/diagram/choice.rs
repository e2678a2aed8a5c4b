//! Chooses the records of a trace that a picture shows.
use crate::trace::{Kind, Record, Trace};
use quorate_core::{Name, Observation, observe::Role};
use std::collections::BTreeSet;

/// Modules below every stack: their requests come from algorithms, not from an application.
const BELOW: [&str; 2] = ["link", "detector"];

/// The optional parts of a picture.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Wishes {
    pub(super) heartbeats: bool,
    pub(super) datagrams: bool,
    pub(super) modules: bool,
}

/// The contents of a picture of one trace.
pub(super) struct Choice {
    wishes: Wishes,
    top: BTreeSet<Name>,
}

impl Choice {
    pub(super) fn of(trace: &Trace, wishes: Wishes) -> Self {
        let requested = trace
            .records()
            .iter()
            .filter(|r| r.kind.request().is_some());
        let requested: BTreeSet<_> = requested.map(|record| record.name.clone()).collect();
        let is_top = |name: &&Name| {
            let below = requested.iter().any(|other| is_within(name, other));
            !below && !BELOW.contains(&name.as_str())
        };
        Choice {
            wishes,
            top: requested.iter().filter(is_top).cloned().collect(),
        }
    }

    /// Whether the module is on top of the stack: it gets requests, and is within no other module that does.
    pub(super) fn is_top(&self, name: &Name) -> bool {
        self.top.contains(name)
    }

    pub(super) fn shows(&self, record: &Record) -> bool {
        match record.name.as_str() {
            "heartbeat" => return self.wishes.heartbeats,
            "fair-loss" => return self.wishes.datagrams,
            _ => {}
        }
        match &record.kind {
            Kind::Event(o) => {
                o.role == Role::Request && (self.wishes.modules || self.is_top(&record.name))
            }
            Kind::Effect(o) => {
                o.role == Role::Indication
                    && (self.wishes.modules || is_verdict(o) || self.is_top(&record.name))
            }
            Kind::Send { .. }
            | Kind::Receive { .. }
            | Kind::Drop { .. }
            | Kind::Duplicate { .. }
            | Kind::Crash
            | Kind::Pause
            | Kind::Resume
            | Kind::Start
            | Kind::Cut { .. }
            | Kind::Heal { .. }
            | Kind::End { .. }
            | Kind::Gap { .. }
            | Kind::Begin { .. } => true,
        }
    }
}

/// Whether `name` is strictly below `other` in the tree of modules.
pub(super) fn is_within(name: &Name, other: &Name) -> bool {
    let rest = name.as_str().strip_prefix(other.as_str());
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// Whether the observation is a failure detector's verdict on a process.
fn is_verdict(observation: &Observation) -> bool {
    let said = ["Suspect", "Restore", "Crash", "Trust"].contains(&observation.label);
    said && observation.peer.is_some() && observation.message.is_none()
}
