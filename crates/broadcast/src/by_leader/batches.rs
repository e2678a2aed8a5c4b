//! The batches of all origins: one's own that leave, those that have come, and who else holds them.
mod stream;

use super::{ByLeader, Effect};
use crate::ordering::{Configuration, Cut, Outgoing};
use bytes::Bytes;
use quorate_abstractions::total_order::Deliver;
use quorate_core::{Ctx, Membership, MessageId, ProcessId, ProcessSet, message::Origin, wire};
use std::collections::BTreeMap;
use stream::Stream;

/// Ordered batches of one origin that are kept for processes that may lack them,
const KEPT: usize = 1024;
/// …and their bytes.
const KEPT_BYTES: usize = 16 << 20;

/// What is here, and who else holds it.
pub(super) struct Batches {
    me: Origin,
    processes: Membership,
    outgoing: Outgoing,
    /// How many batches have left.
    sent: u64,
    streams: BTreeMap<Origin, Stream>,
    /// Up to where each process is known to hold everything.
    holds: BTreeMap<ProcessId, Cut>,
}

impl Batches {
    pub(super) fn new(me: Origin, processes: Membership, configuration: &Configuration) -> Self {
        Batches {
            me,
            processes,
            outgoing: Outgoing::new(configuration),
            sent: 0,
            streams: BTreeMap::new(),
            holds: processes.iter().map(|p| (p, Cut::default())).collect(),
        }
    }

    /// A request from above: it waits until a batch has room for it.
    pub(super) fn request(&mut self, payload: Bytes) {
        self.outgoing.request(payload);
    }

    /// The next batch of one's own, upon requests and room for one.
    pub(super) fn next(&mut self) -> Option<(MessageId, Bytes)> {
        let batch = self.outgoing.next_batch()?;
        self.sent += 1;
        let id = MessageId {
            origin: self.me,
            sequence: self.sent,
        };
        Some((id, batch))
    }

    /// Whether nobody can have sent a batch of this name.
    pub(super) fn is_forged(&self, id: MessageId) -> bool {
        let MessageId { origin, sequence } = id;
        origin == self.me && sequence > self.sent || !self.processes.contains(origin.process)
    }

    /// Takes a batch in; `false` if it lies too far ahead.
    pub(super) fn hold(&mut self, id: MessageId, batch: Bytes) -> bool {
        let stream = self.streams.entry(id.origin).or_default();
        stream.hold(id.sequence, batch)
    }

    /// Whether everything up to the cut is here.
    pub(super) fn holds_all(&self, cut: &Cut) -> bool {
        let contiguous = |origin| self.streams.get(origin).map_or(0, |s| s.contiguous);
        let mut ups = cut.0.iter();
        ups.all(|(origin, up_to)| contiguous(origin) >= *up_to)
    }

    /// Up to where everything is here.
    pub(super) fn held(&self) -> Cut {
        let held = self.streams.iter().map(|(o, s)| (*o, s.contiguous));
        Cut(held.collect())
    }

    /// A process holds everything up to the cut.
    pub(super) fn learn_holder(&mut self, p: ProcessId, cut: &Cut) {
        if let Some(holds) = self.holds.get_mut(&p) {
            holds.raise(cut);
        }
    }

    /// Every process holds everything up to the cut.
    pub(super) fn learn_held_by_all(&mut self, cut: &Cut) {
        self.holds.values_mut().for_each(|holds| holds.raise(cut));
    }

    /// What is known of who holds what is void.
    pub(super) fn forget_holders(&mut self) {
        let all = self.processes.iter();
        self.holds = all.map(|p| (p, Cut::default())).collect();
    }

    /// What has come without a gap and lies beyond what is ordered or proposed already, at most so many
    /// batches an origin.
    pub(super) fn unordered(&self, proposed: &Cut, most: u64) -> Cut {
        let next = |(origin, stream): (&Origin, &Stream)| {
            let known = proposed.up_to(*origin).max(stream.ordered);
            let up_to = stream.contiguous.min(known.saturating_add(most));
            (up_to > known).then_some((*origin, up_to))
        };
        Cut(self.streams.iter().filter_map(next).collect())
    }

    /// What every process is known to hold.
    pub(super) fn held_by_all(&self) -> Cut {
        let by_all = |origin: &Origin| {
            let others = self.holds.iter().filter(|(p, _)| **p != self.me.process);
            let others = others.filter(|(p, _)| **p != origin.process);
            others.map(|(_, cut)| cut.up_to(*origin)).min()
        };
        let held = self.streams.iter().filter_map(|(origin, stream)| {
            let held = by_all(origin).unwrap_or(u64::MAX).min(stream.contiguous);
            (held > 0).then_some((*origin, held))
        });
        Cut(held.collect())
    }

    /// Each origin with how many of its batches, and how many messages, are ordered.
    pub(super) fn ordered(&self) -> Vec<(Origin, u64, u64)> {
        let ordered = self.streams.iter().filter(|(_, s)| s.ordered > 0);
        let ordered = ordered.map(|(o, s)| (*o, s.ordered, s.delivered));
        ordered.collect()
    }

    /// A state stands for so many batches and messages of each origin. Those of other origins than may
    /// hold their slots go.
    pub(super) fn advance(
        &mut self,
        ordered: &[(Origin, u64, u64)],
        may_hold: impl Fn(Origin) -> bool,
    ) {
        self.streams.retain(|origin, _| may_hold(*origin));
        for (origin, ordered, delivered) in ordered {
            let stream = self.streams.entry(*origin).or_default();
            stream.advance(*ordered, *delivered);
        }
        let returned = self.streams.get(&self.me).map_or(0, |own| own.ordered);
        self.outgoing.upon_return(returned);
    }

    /// The batches of the origin up to this one are ordered.
    pub(super) fn deliver(&mut self, origin: Origin, up_to: u64, ctx: &mut Ctx<ByLeader>) {
        let stream = self.streams.entry(origin).or_default();
        while stream.ordered < up_to {
            let Some(batch) = stream.next() else {
                continue;
            };
            let Ok(payloads) = wire::take_batch(batch) else {
                ctx.count("undecodable batch");
                continue;
            };
            let first = stream.delivered + 1;
            stream.delivered += payloads.len() as u64;
            if !payloads.is_empty() {
                ctx.trigger(Effect::Deliver(Deliver {
                    origin,
                    first,
                    payloads,
                }));
            }
        }
        if origin == self.me {
            self.outgoing.upon_return(up_to);
        }
    }

    /// Drops the ordered batches that everybody is known to hold, and the oldest beyond the limit. Gives
    /// back those that somebody may lack. What is one's own is on its way already.
    pub(super) fn forget(&mut self, origin: Origin) -> Vec<(ProcessSet, MessageId, Bytes)> {
        let mut others = self.processes.others(self.me.process);
        others.remove(origin.process);
        let held = |p: ProcessId| self.holds.get(&p).map_or(0, |cut| cut.up_to(origin));
        let low = others.iter().map(held).min().unwrap_or(u64::MAX);
        let mut owed = Vec::new();
        let Some(stream) = self.streams.get_mut(&origin) else {
            return owed;
        };
        stream.forget(low);
        while let Some((sequence, batch)) = stream.excess(KEPT, KEPT_BYTES) {
            stream.forget(sequence);
            if origin != self.me {
                let id = MessageId { origin, sequence };
                let lacking = others.iter().filter(|p| held(*p) < sequence).collect();
                owed.push((lacking, id, batch));
            }
        }
        owed
    }

    /// Another incarnation is in the slot: what is not ordered of the ones before never will be. Gives
    /// back what is ordered of them, for those that may lack it: the newcomer's state has all of it.
    pub(super) fn let_go(
        &mut self,
        slot: ProcessId,
        may_hold: impl Fn(Origin) -> bool,
    ) -> Vec<(ProcessId, MessageId, Bytes)> {
        let is_gone = |origin: &&Origin| origin.process == slot && !may_hold(**origin);
        let gone: Vec<Origin> = self.streams.keys().filter(is_gone).copied().collect();
        let ordered = self.streams.iter().map(|(o, s)| (*o, s.ordered));
        let ordered = Cut(ordered.filter(|(_, up_to)| *up_to > 0).collect());
        let mut owed = Vec::new();
        for origin in gone {
            let Some(stream) = self.streams.remove(&origin) else {
                continue;
            };
            for p in self.processes.others(self.me.process).iter() {
                let held = self.holds.get(&p).map_or(0, |cut| cut.up_to(origin));
                let lacking = stream
                    .beyond(held)
                    .take_while(|(n, _)| *n <= stream.ordered);
                for (sequence, batch) in lacking.filter(|_| p != slot) {
                    owed.push((p, MessageId { origin, sequence }, batch.clone()));
                }
            }
        }
        self.holds.insert(slot, ordered);
        owed
    }

    /// What has come without a gap beyond the cut and is still here, at most so many batches an origin.
    pub(super) fn beyond(&self, held: &Cut, most: usize) -> Vec<(MessageId, Bytes)> {
        let all = self.streams.iter().flat_map(|(origin, stream)| {
            let beyond = stream.beyond(held.up_to(*origin)).take(most);
            beyond.map(|(sequence, batch)| {
                let origin = *origin;
                (MessageId { origin, sequence }, batch.clone())
            })
        });
        all.collect()
    }

    /// How many batches of the origin are here.
    #[cfg(test)]
    pub(super) fn len(&self, origin: Origin) -> usize {
        self.streams.get(&origin).map_or(0, Stream::len)
    }
}
