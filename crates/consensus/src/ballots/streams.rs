//! What is sent again when a stream between two processes has ended and another begins.
use super::{Acceptance, Ballots, Message, Part, Promise};
use quorate_abstractions::link::To;
use quorate_core::ProcessId;

impl<V: Clone + PartialEq> Ballots<V> {
    /// A stream to `p` has begun anew. Between the time at which `p` learned of it and this, more may have
    /// been lost: a promise given meanwhile is sent again under a new number, though it may have been sent on
    /// this stream.
    pub fn begin_stream(&mut self, p: ProcessId) {
        let promised = self.promised;
        if promised.leader == p && p != self.me && self.reported == promised && promised.round > 1 {
            self.say_promise(p, promised);
        }
        self.resume(p);
    }

    /// A stream from `p` has begun anew: messages on the earlier one may be lost, in either direction, so
    /// that all that is open between the two is sent again.
    pub fn resume(&mut self, p: ProcessId) {
        if p == self.me {
            return;
        }
        match &mut self.part {
            // No ballot is asked for twice.
            Part::Campaigns { promises, .. }
                if !promises.get(&p).is_some_and(Promise::is_whole) =>
            {
                self.campaign();
            }
            // The peer's promise is not counted any more, but the peer must refuse lower ballots, too.
            Part::Leads { told, ballot, .. } => {
                told.remove(p);
                let (ballot, from) = (*ballot, self.known.low() + 1);
                if ballot.round > 1 {
                    self.send(To::One(p), Message::Prepare { ballot, from });
                }
            }
            Part::Campaigns { .. } | Part::Follows => {}
        }
        let reached = self.reached.get(p.index());
        let reached = reached.map_or(0, |(_, reached)| *reached);
        self.tell_decided(p, reached.saturating_add(1));
        let open: Vec<Acceptance<V>> = self.accepted.values().cloned().collect();
        let (own, decided) = (self.own_ballot(), self.known.low());
        for acceptance in open {
            if Some(acceptance.ballot) == own {
                let accept = Message::Accept {
                    acceptance,
                    decided,
                };
                self.send(To::One(p), accept);
            } else if !self.to_leader || acceptance.ballot.leader == p {
                let accepted = Message::Accepted {
                    acceptance,
                    decided,
                };
                self.send(To::One(p), accepted);
            }
        }
    }
}
