//! The batches of all origins: this process's own that leave, those that have come, and which other processes
//! hold them.
mod stream;

use super::{ByLeader, Effect, deferred::Lack};
use crate::ordering::{Cut, OrderSettings, Outgoing};
use bytes::Bytes;
use quorate_abstractions::{reconfigurable::Indication, total_order::Deliver};
use quorate_core::{Ctx, Membership, MessageId, ProcessId, message::Origin, wire};
use std::collections::BTreeMap;
use stream::Stream;

/// At most this many ordered batches of one origin are kept for processes that may lack them.
const KEPT: usize = 1024;
/// At most this many bytes of them are kept.
const KEPT_BYTES: usize = 16 << 20;
/// At most this many are kept while a state that does not cover them is being transferred.
const KEPT_MEANWHILE: usize = 1 << 16;
/// At most this many bytes of them are kept meanwhile.
const KEPT_BYTES_MEANWHILE: usize = 128 << 20;
/// At most this many batches of one origin are in one answer.
const ANSWER: usize = 64;
/// An answer takes no further batch once it has this many bytes.
const ANSWER_BYTES: usize = 1 << 20;

/// What was sent to a process on the stream to it, so that it is not sent again.
#[derive(Debug, Default)]
struct Sent {
    /// Own batches with a higher number than this.
    own_beyond: u64,
    /// Per origin, the last batch that was sent in answers.
    answered: BTreeMap<Origin, u64>,
    /// The number of the latest request that was answered.
    request: u64,
}

/// The answer to a process that lacks something.
pub(super) struct Answer {
    pub(super) batches: Vec<(MessageId, Bytes)>,
    /// Whether more of what is wanted is here.
    pub(super) more: bool,
    /// Whether something that is wanted is not kept here.
    pub(super) short: bool,
}

/// The batches that are here, and which other processes hold them.
pub(super) struct Batches {
    me: Origin,
    processes: Membership,
    outgoing: Outgoing,
    /// The number of own batches that have left.
    sent: u64,
    /// Own batches that are not ordered yet, by number.
    own: BTreeMap<u64, Bytes>,
    said: BTreeMap<ProcessId, Sent>,
    /// Whether more batches than usual are kept, because a state is being transferred.
    keeps_more: bool,
    streams: BTreeMap<Origin, Stream>,
    /// Per process, the cut up to which it is known to hold everything.
    holds: BTreeMap<ProcessId, Cut>,
}

impl Batches {
    pub(super) fn new(me: Origin, processes: Membership, settings: &OrderSettings) -> Self {
        Batches {
            me,
            processes,
            outgoing: Outgoing::new(settings),
            sent: 0,
            own: BTreeMap::new(),
            said: processes.iter().map(|p| (p, Sent::default())).collect(),
            keeps_more: false,
            streams: BTreeMap::new(),
            holds: processes.iter().map(|p| (p, Cut::default())).collect(),
        }
    }

    /// A request from above waits until it fits into a batch.
    pub(super) fn request(&mut self, payload: Bytes) {
        self.outgoing.request(payload);
    }

    /// Whether requests wait and a batch may leave.
    pub(super) fn is_next_due(&self) -> bool {
        self.outgoing.is_next_due()
    }

    /// The next own batch, if requests wait and a batch may leave.
    pub(super) fn next(&mut self) -> Option<(MessageId, Bytes)> {
        let batch = self.outgoing.next_batch()?;
        self.sent += 1;
        self.own.insert(self.sent, batch.clone());
        let id = MessageId {
            origin: self.me,
            sequence: self.sent,
        };
        Some((id, batch))
    }

    /// Whether no process can have sent a batch with this identifier.
    pub(super) fn is_forged(&self, id: MessageId) -> bool {
        let MessageId { origin, sequence } = id;
        origin == self.me && sequence > self.sent || !self.processes.contains(origin.process)
    }

    /// Keeps a batch; returns `false` if it lies too far ahead, or if there are too many and it is not
    /// `needed` yet.
    pub(super) fn hold(&mut self, id: MessageId, batch: Bytes, needed: u64) -> bool {
        let stream = self.streams.entry(id.origin).or_default();
        stream.hold(id.sequence, batch, needed)
    }

    /// The stream to a process has begun anew: own batches that are not ordered are sent again. Other batches
    /// are sent if the process asks for them.
    pub(super) fn begin_stream(&mut self, p: ProcessId) -> Vec<(MessageId, Bytes)> {
        let first = self.own.first_key_value().map(|(number, _)| *number);
        let own_beyond = first.map_or(self.sent, |first| first - 1);
        let said = self.said.entry(p).or_default();
        said.own_beyond = own_beyond;
        said.answered.clear();
        let origin = self.me;
        let own = self.own.iter();
        let own = own.map(|(n, batch)| (*n, batch.clone()));
        own.map(|(sequence, batch)| (MessageId { origin, sequence }, batch))
            .collect()
    }

    /// Forgets what was sent to this process: the incarnation that is there now has received nothing.
    fn begin_anew_with(&mut self, p: ProcessId) {
        let said = Sent {
            own_beyond: self.sent,
            ..Sent::default()
        };
        self.said.insert(p, said);
    }

    /// The number of this process's latest request that was answered.
    pub(super) fn answered(&self, p: ProcessId) -> Option<u64> {
        let said = self.said.get(&p).map(|said| said.request);
        said.filter(|request| *request > 0)
    }

    /// Whether to keep more batches than usual, while a state is being transferred.
    pub(super) fn keep_more(&mut self, more: bool) {
        self.keeps_more = more;
        if !more {
            let origins: Vec<Origin> = self.streams.keys().copied().collect();
            for origin in origins {
                self.forget(origin);
            }
        }
    }

    /// The last batch of an origin up to which all have come.
    pub(super) fn contiguous(&self, origin: &Origin) -> u64 {
        self.streams.get(origin).map_or(0, |s| s.contiguous)
    }

    /// An origin of which the cut covers batches that are not here, and the last of these that it covers.
    pub(super) fn lack(&self, cut: &Cut) -> Option<Lack> {
        let mut ups = cut.0.iter();
        let lack = ups.find(|(origin, up_to)| self.contiguous(origin) < **up_to);
        lack.map(|(origin, up_to)| (*origin, *up_to))
    }

    /// Whether everything up to the cut is here.
    pub(super) fn holds_all(&self, cut: &Cut) -> bool {
        self.lack(cut).is_none()
    }

    /// The cut up to which everything is here.
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

    /// Forgets which processes hold what.
    pub(super) fn forget_holders(&mut self) {
        let all = self.processes.iter();
        self.holds = all.map(|p| (p, Cut::default())).collect();
    }

    /// The batches that have come without a gap and lie beyond those ordered or proposed already, at most
    /// `most` per origin.
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

    /// Each origin with the number of its ordered batches, and of the messages in them.
    pub(super) fn ordered(&self) -> Vec<(Origin, u64, u64)> {
        let open = self.streams.iter().filter(|(_, s)| !s.is_closed());
        let ordered = open.filter(|(_, s)| s.ordered > 0);
        let ordered = ordered.map(|(o, s)| (*o, s.ordered, s.delivered));
        ordered.collect()
    }

    /// A state covers this many batches and messages of each origin. Origins that may not hold their seats
    /// are dropped. Returns, for each origin of which the state covers messages that were not delivered here,
    /// the number after the last of them, and how many they are.
    pub(super) fn advance(
        &mut self,
        ordered: &[(Origin, u64, u64)],
        may_hold_seat: impl Fn(Origin) -> bool,
    ) -> Vec<(MessageId, u64)> {
        self.streams.retain(|origin, _| may_hold_seat(*origin));
        let mut skipped = Vec::new();
        for (origin, ordered, delivered) in ordered {
            let stream = self.streams.entry(*origin).or_default();
            let before = stream.delivered;
            stream.advance(*ordered, *delivered);
            if stream.delivered > before {
                let next = MessageId {
                    origin: *origin,
                    sequence: stream.delivered + 1,
                };
                skipped.push((next, stream.delivered - before));
            }
        }
        let returned = self.streams.get(&self.me).map_or(0, |own| own.ordered);
        self.upon_return(returned);
        skipped
    }

    /// Own batches up to this one are ordered.
    fn upon_return(&mut self, up_to: u64) {
        self.outgoing.upon_return(up_to);
        self.own = self.own.split_off(&up_to.saturating_add(1));
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
                ctx.trigger(Effect::Indicate(Indication::Deliver(Deliver {
                    origin,
                    first,
                    payloads,
                })));
            }
        }
        if origin == self.me {
            self.upon_return(up_to);
        }
    }

    /// Drops the ordered batches that everybody is known to hold, and the oldest beyond the limit: a process
    /// that lacks those needs a state.
    pub(super) fn forget(&mut self, origin: Origin) {
        let mut others = self.processes.others(self.me.process);
        others.remove(origin.process);
        let held = |p: ProcessId| self.holds.get(&p).map_or(0, |cut| cut.up_to(origin));
        let low = others.iter().map(held).min().unwrap_or(u64::MAX);
        let (batches, bytes) = if self.keeps_more {
            (KEPT_MEANWHILE, KEPT_BYTES_MEANWHILE)
        } else {
            (KEPT, KEPT_BYTES)
        };
        if let Some(stream) = self.streams.get_mut(&origin) {
            stream.forget(low);
            stream.limit(batches, bytes);
        }
    }

    /// Another incarnation is in the seat: batches of earlier incarnations that are not ordered will never
    /// be. The last one's ordered batches stay for processes that may lack them: the newcomer's state covers
    /// all of them.
    pub(super) fn replace(&mut self, seat: ProcessId, may_hold_seat: impl Fn(Origin) -> bool) {
        let ordered = self.streams.iter().map(|(o, s)| (*o, s.ordered));
        let ordered = Cut(ordered.filter(|(_, up_to)| *up_to > 0).collect());
        let is_gone = |origin: &Origin| origin.process == seat && !may_hold_seat(*origin);
        self.streams
            .retain(|origin, stream| !is_gone(origin) || !stream.is_closed());
        for (origin, stream) in &mut self.streams {
            if is_gone(origin) {
                stream.close();
            }
        }
        self.holds.insert(seat, ordered);
        self.begin_anew_with(seat);
    }

    /// The batches that are here, that `p` lacks, and that were not sent to it on this stream. `again` says
    /// that `p` has dropped what it was sent.
    pub(super) fn answer(
        &mut self,
        p: ProcessId,
        (request, again): (u64, bool),
        held: &Cut,
    ) -> Answer {
        if again {
            self.begin_anew_with(p);
        }
        let mut answer = Answer {
            batches: Vec::new(),
            more: false,
            short: false,
        };
        let Some(said) = self.said.get_mut(&p) else {
            return answer;
        };
        said.request = request;
        let mut bytes = 0;
        for (origin, stream) in &self.streams {
            let held = held.up_to(*origin);
            let answered = said.answered.get(origin).copied().unwrap_or(0);
            let beyond = held.max(answered);
            let is_own = *origin == self.me;
            let sent_beyond = if is_own { said.own_beyond } else { u64::MAX };
            answer.short |= held < sent_beyond && stream.lacks_after(held);
            for (count, (sequence, batch)) in stream.beyond(beyond).enumerate() {
                if sequence > sent_beyond {
                    break;
                }
                if count == ANSWER || bytes >= ANSWER_BYTES {
                    answer.more = true;
                    break;
                }
                bytes += batch.len();
                said.answered.insert(*origin, sequence);
                let origin = *origin;
                answer
                    .batches
                    .push((MessageId { origin, sequence }, batch.clone()));
            }
        }
        answer
    }

    /// Whether more batches than usual are kept.
    #[cfg(test)]
    pub(super) fn keeps_more(&self) -> bool {
        self.keeps_more
    }

    /// The number of the origin's batches that are here.
    #[cfg(test)]
    pub(super) fn len(&self, origin: Origin) -> usize {
        self.streams.get(&origin).map_or(0, Stream::len)
    }
}
