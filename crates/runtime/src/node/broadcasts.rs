//! Broadcasts, as they are declared and wired.
use super::{
    Broadcaster, Builder, Deliveries, Wiring,
    codec::{Coded, Coding},
    flow::Flow,
    handles::{Batch, ReaderItem},
    late_address::LateAddress,
    modules::HEADS,
    order::GroupUse,
    outlet::{End, Outlet},
};
use crate::{error::StartError, host::TokioHost};
use bytes::{Bytes, BytesMut};
use quorate_abstractions::{
    best_effort::Deliver,
    link::{self, Links, Status},
    pressure::Wait,
};
use quorate_broadcast::best_effort;
use quorate_core::{
    Addr, Host, Incarnation, Layer, MessageId, ProcessId,
    message::{LAST_NUMBER, Origin},
    wire::{Undecodable, put_number, take_number},
};
use quorate_links::perfect::PerfectLinks;
use quorate_stacks::broadcasts::{
    self, Broadcast, Delivery, Dependencies, Needs, NeedsPerfect, TOTAL_ORDER,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Where a user's messages enter a module, and where they come out.
type Ends<T> = (Broadcaster<T>, Deliveries<T>);

/// Puts a message's incarnation and number in front of it, for a broadcast that has none.
fn put_id(me: Origin, sequence: u64, payload: &Bytes) -> Bytes {
    let mut message = BytesMut::with_capacity(payload.len() + 20);
    put_number(me.incarnation.0, &mut message);
    put_number(sequence, &mut message);
    message.extend_from_slice(payload);
    message.freeze()
}

/// Removes the identifier that [`put_id`] has added. `None` if the number is higher than any process counts.
fn take_id(from: ProcessId, message: &mut Bytes) -> Result<(Origin, u64), Undecodable> {
    let origin = Origin {
        process: from,
        incarnation: Incarnation(take_number(message)?),
    };
    let sequence = take_number(message)?;
    if !is_possible(sequence) {
        return Err(Undecodable);
    }
    Ok((origin, sequence))
}

/// Whether a message may have this number, so that the messages after it can be counted, too.
fn is_possible(sequence: u64) -> bool {
    (1..=LAST_NUMBER).contains(&sequence)
}

/// Tells a reader of the peers to or from which messages may be lost.
fn tell_gaps(wiring: &Wiring, reader: Outlet<ReaderItem>) {
    let up = Addr::new(move |status| match status {
        Status::Ended { peer } | Status::Gap { peer } => reader.tell(ReaderItem::Gap(peer)),
        _ => {}
    });
    link::watch_streams(&wiring.links.status(), up);
}

/// The peers that a broadcast waits for. Missed messages are replaced only where states are transferred.
fn wait_of(broadcast: Broadcast) -> Wait {
    match (broadcast, broadcast.needs()) {
        (TOTAL_ORDER, _) => Wait::for_order_without_state(),
        (_, Needs::Perfect) => Wait::for_crash_stop(),
        (_, Needs::Nothing | Needs::EventuallyPerfect | Needs::Leader) => Wait::default(),
    }
}

/// Broadcasts.
impl Wiring {
    /// Starts a broadcast by its name here.
    ///
    /// # Errors
    /// When it needs the perfect failure detector, and there is none.
    pub fn broadcast(
        &self,
        broadcast: Broadcast,
        up: Addr<Delivery>,
    ) -> Result<Addr<Bytes>, NeedsPerfect> {
        if let (TOTAL_ORDER, Some(group)) = (broadcast, &self.group) {
            return Ok(group.share_plain(up));
        }
        broadcasts::spawn(broadcast, &self.host, &self.below(), up)
    }

    pub(super) fn below(&self) -> Dependencies<PerfectLinks<TokioHost>> {
        Dependencies {
            links: self.links.clone(),
            eventually_perfect: self.detector.clone(),
            leader: self.leader.clone(),
            perfect: self.perfect.clone(),
            total_order: self.total_order,
        }
    }
}

/// Broadcasts.
impl Builder {
    /// Declares uniform total-order broadcast of messages of type `T`: every process delivers the
    /// same messages in the same order. A process that was out of reach for so long that the others have
    /// forgotten what it missed resumes after the missing messages, and is told so: see
    /// [`Skipped`](crate::StreamError::Skipped).
    ///
    /// # Errors
    /// When the name is used already.
    pub fn total_order<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Broadcaster<T>, Deliveries<T>), StartError> {
        self.broadcast_with(name.into(), TOTAL_ORDER)
    }

    /// Declares uniform total-order broadcast without handles: `up` is called on the protocol
    /// thread, in order, with every batch. A batch without payloads says that this process resumes after messages
    /// of the origin that no process keeps for it: it will never deliver the messages before `first` that it has
    /// not delivered yet. Messages that are sent to the returned address before the node has started, or after it
    /// has stopped, are dropped. There is no window: the caller limits what is in flight.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn total_order_addr(
        &mut self,
        name: &str,
        up: Addr<Delivery>,
    ) -> Result<Addr<Bytes>, StartError> {
        let port = LateAddress::default();
        let opened = port.clone();
        self.ordered_module(name, TOTAL_ORDER.algorithms(), move |wiring| {
            opened.open(wiring.broadcast(TOTAL_ORDER, up)?);
            Ok(())
        })?;
        Ok(port.addr())
    }

    /// Declares regular reliable broadcast of messages of type `T`: either all correct processes
    /// deliver a message or none does. No order, any number of crashes.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn reliable<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Broadcaster<T>, Deliveries<T>), StartError> {
        self.broadcast_with(name.into(), Broadcast::Eager)
    }

    /// Declares uniform reliable broadcast of messages of type `T`: what one process delivers, even
    /// one that crashes, every correct process delivers. No order.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn uniform<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Broadcaster<T>, Deliveries<T>), StartError> {
        self.broadcast_with(name.into(), Broadcast::MajorityAck)
    }

    /// Declares first-in first-out broadcast of messages of type `T`, uniform: the messages of each
    /// process are delivered in the order in which it broadcast them.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn first_in_first_out<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Broadcaster<T>, Deliveries<T>), StartError> {
        self.broadcast_with(name.into(), Broadcast::FirstInFirstOutUniform)
    }

    /// Declares causal-order broadcast of messages of type `T`, uniform: nobody delivers a message
    /// before those that its sender had broadcast or delivered before it. An answer never comes before
    /// the question.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn causal<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Broadcaster<T>, Deliveries<T>), StartError> {
        self.broadcast_with(name.into(), Broadcast::CausalWaitingUniform)
    }

    /// Declares any broadcast that has a name, of messages of type `T`: see [`Broadcast`], which is read from its name,
    /// too.
    ///
    /// # Errors
    /// When it needs the perfect failure detector and the system is
    /// not [assumed to be synchronous](Builder::assume_synchronous), or when the name is used already.
    pub fn broadcast<T>(
        &mut self,
        name: impl Into<Coded<T>>,
        broadcast: Broadcast,
    ) -> Result<(Broadcaster<T>, Deliveries<T>), StartError> {
        self.broadcast_with(name.into(), broadcast)
    }

    fn broadcast_with<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
        broadcast: Broadcast,
    ) -> Result<(Broadcaster<T>, Deliveries<T>), StartError> {
        self.check_detector(broadcast.needs(), broadcast.name())?;
        let (flow, outlet, handles) = self.prepare(codec);
        let (inlet, keep) = (outlet.clone(), flow.clone());
        let reader = outlet.clone();
        let ordered = broadcast == TOTAL_ORDER;
        let place = if ordered {
            GroupUse::Shares
        } else {
            GroupUse::Beside
        };
        let algorithms = codec.of(&name, broadcast.algorithms());
        self.declare(&name, &algorithms, place, move |wiring| {
            let (own, me) = (flow.clone(), wiring.origin());
            let impossible = wiring
                .host
                .counters()
                .counter(wiring.host.path(), "impossible identifier");
            let up = Addr::new(move |delivery: Delivery| {
                let Delivery {
                    origin,
                    first,
                    payloads,
                } = delivery;
                if !is_possible(first) {
                    return impossible.add(1);
                }
                let first = MessageId {
                    origin,
                    sequence: first,
                };
                if payloads.is_empty() {
                    if origin == me {
                        own.skipped(first.sequence);
                    }
                    return inlet.tell(ReaderItem::Skipped(first));
                }
                if origin == me {
                    own.delivered(first.sequence, payloads.len() as u64);
                }
                inlet.tell(ReaderItem::Batch(Batch { first, payloads }));
            });
            let wait = wait_of(broadcast);
            reader.open(wiring.pressure(wait, flow.pressure()), wait.reader());
            if broadcast.may_lose_over_gaps() {
                tell_gaps(&wiring, reader);
            }
            flow.open(me, wiring.broadcast(broadcast, up)?);
            Ok(())
        })?;
        let outlet = self.keep(keep.clone(), outlet);
        if ordered {
            self.handles.ordered_flows.push(keep);
            self.handles.ordered_outlets.push(outlet);
        }
        Ok(handles)
    }

    /// Declares best-effort broadcast of messages of type `T`: when the broadcasting process
    /// crashes, some processes may have delivered and others never will. In each process's own order.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn best_effort<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Broadcaster<T>, Deliveries<T>), StartError> {
        let Coded { name, codec } = name.into();
        let (flow, outlet, handles) = self.prepare(codec);
        let (inlet, keep) = (outlet.clone(), flow.clone());
        let reader = outlet.clone();
        self.module(&name, &codec.of(&name, "best-effort"), move |wiring| {
            let (own, me) = (flow.clone(), wiring.origin());
            let undecodable = wiring
                .host
                .counters()
                .counter(wiring.host.path(), "undecodable");
            let up = Addr::new(move |Deliver { from, mut message }| {
                let Ok((origin, sequence)) = take_id(from, &mut message) else {
                    return undecodable.add(1);
                };
                if origin == me {
                    own.delivered(sequence, 1);
                }
                inlet.tell(ReaderItem::Batch(Batch {
                    first: MessageId { origin, sequence },
                    payloads: vec![message],
                }));
            });
            let wait = Wait::default();
            reader.open(wiring.pressure(wait, flow.pressure()), wait.reader());
            tell_gaps(&wiring, reader);
            let port = best_effort::over(wiring.links.lane()).attach(up);
            let requests = AtomicU64::new(0);
            flow.open(
                me,
                port.with(move |payload: Bytes| {
                    // One at a time: the flow numbers its requests under a lock.
                    let sequence = requests.fetch_add(1, Relaxed) + 1;
                    quorate_abstractions::best_effort::Broadcast(put_id(me, sequence, &payload))
                }),
            );
        })?;
        self.keep(keep, outlet);
        Ok(handles)
    }

    fn prepare<T>(&self, codec: Coding<T>) -> (Arc<Flow>, Outlet<ReaderItem>, Ends<T>) {
        let limit = self.link.maximum_message.saturating_sub(HEADS);
        let flow = Arc::new(Flow::new(self.limits, limit));
        let (outlet, intake) = Outlet::new(self.backlog);
        let deliveries = Deliveries::new(intake, codec);
        let broadcaster = Broadcaster::new(flow.clone(), codec);
        (flow, outlet, (broadcaster, deliveries))
    }

    fn keep(&mut self, flow: Arc<Flow>, outlet: Outlet<ReaderItem>) -> Arc<dyn End> {
        let outlet: Arc<dyn End> = Arc::new(outlet);
        self.handles.flows.push(flow);
        self.handles.outlets.push(outlet.clone());
        outlet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::needs::wait_for;
    use std::time::Duration;

    #[test]
    fn a_message_whose_number_nobody_counts_to_is_none() {
        let me = Origin {
            process: ProcessId::from_rank(2).unwrap(),
            incarnation: Incarnation(7),
        };
        for (sequence, is_one) in [
            (0, false),
            (1, true),
            (LAST_NUMBER, true),
            (LAST_NUMBER + 1, false),
            (u64::MAX, false),
        ] {
            let mut message = put_id(me, sequence, &Bytes::from_static(b"news"));
            let taken = take_id(me.process, &mut message).ok();
            assert_eq!(taken, is_one.then_some((me, sequence)));
        }
    }

    #[test]
    fn what_nobody_makes_good_is_waited_for_as_long_as_is_said() {
        for broadcast in Broadcast::all() {
            let wait = wait_of(broadcast);
            let seconds = match (broadcast, broadcast.needs()) {
                (TOTAL_ORDER, _) => 10,
                (_, Needs::Perfect) => 5,
                _ => 120,
            };
            let silence = Duration::from_secs(seconds);
            assert_eq!(wait, Wait::Everybody { silence }, "{broadcast:?}");
            let reader = Duration::from_secs(seconds.min(10));
            assert_eq!(wait.reader(), reader, "{broadcast:?}");
        }
        let of_majorities = Wait::Majority {
            silence: Duration::from_secs(1),
        };
        assert_eq!(wait_for(Needs::Leader), of_majorities);
    }
}
