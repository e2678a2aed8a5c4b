//! What is said again when a stream between two processes has ended and another begins.
use super::{Acceptance, Ballots, Message, Part, Promise};
use quorate_abstractions::link::To;
use quorate_core::ProcessId;

impl<V: Clone + PartialEq> Ballots<V> {
    /// Upon a stream to `p` that has begun anew. Between the news of it at `p` and this, more may have been
    /// lost: a promise given meanwhile is said again, under a number of its own, though it may have been given on
    /// this stream.
    pub fn begin_stream(&mut self, p: ProcessId) {
        let promised = self.promised;
        if promised.leader == p && p != self.me && self.reported == promised && promised.round > 1 {
            self.say_promise(p, promised);
        }
        self.resume(p);
    }

    /// Upon a stream from `p` that has begun anew: what was said on the one before may be lost, in
    /// either direction, so that all that is open between the two is said again.
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
            // Its promise is not counted any more, but lower ballots have to end there, too.
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
