//! What the group's order says of the cluster.
use super::{Admission, ChannelState, NodeStatus};
use crate::node::{NodeEvent, group::GroupNews};
use quorate_abstractions::reconfigurable::Epoch;

impl NodeStatus {
    pub(in crate::node) fn upon_group(&mut self, news: GroupNews) -> Vec<NodeEvent> {
        match news {
            GroupNews::Coming { bytes } => {
                self.incoming = Some(bytes);
                Vec::new()
            }
            GroupNews::Abandoned => {
                self.incoming = None;
                Vec::new()
            }
            GroupNews::Whole { position } => self.upon_caught_up(position),
            GroupNews::Unreadable => self.upon_unreadable(),
            GroupNews::StateGiven => vec![NodeEvent::StateGiven],
            GroupNews::Epoch(epoch) => self.upon_epoch(epoch),
        }
    }

    /// This process has the state of the others: if it was started again, it is in its place.
    fn upon_caught_up(&mut self, position: u64) -> Vec<NodeEvent> {
        let bytes = self.incoming.take().unwrap_or_default();
        let mut events = vec![NodeEvent::CaughtUp { bytes, position }];
        match self.admission {
            Admission::Joining | Admission::Newcomer => events.extend(self.take_part()),
            Admission::Admitted | Admission::Excluded { .. } | Admission::Unreadable => {}
        }
        events
    }

    fn upon_unreadable(&mut self) -> Vec<NodeEvent> {
        self.incoming = None;
        match self.admission {
            Admission::Excluded { .. } | Admission::Unreadable => Vec::new(),
            Admission::Joining | Admission::Newcomer | Admission::Admitted => {
                self.admission = Admission::Unreadable;
                self.leader = None;
                vec![NodeEvent::Unreadable]
            }
        }
    }

    /// Others have the seats. Whoever waited for one, and has it, waits no more.
    fn upon_epoch(&mut self, epoch: Epoch) -> Vec<NodeEvent> {
        let Epoch { number, newcomers } = epoch;
        // It follows each state, whether it is news or not.
        if self.epoch == number && self.newcomers == newcomers {
            return Vec::new();
        }
        for (origin, _) in &newcomers {
            if let Some(entry) = self.other(origin.process)
                && let ChannelState::Replaced { newcomer, .. } = entry.channel
                && newcomer == origin.incarnation
            {
                entry.channel = ChannelState::Unknown;
            }
        }
        self.epoch = number;
        self.newcomers.clone_from(&newcomers);
        self.note_holders();
        vec![NodeEvent::Seats {
            epoch: number,
            newcomers,
        }]
    }
}
