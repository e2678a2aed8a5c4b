//! The handles of view synchrony: a group whose members change while messages flow.
mod order;
mod wiring;

use super::{
    Builder, Wiring,
    codec::Coded,
    flow::Flow,
    handles::{Broadcaster, Delivery, Permit, TryBroadcastError},
    late_address::LateAddress,
    modules::HEADS,
    outlet::{Cost, Intake, OVERHEAD, Outlet},
};
use crate::error::{Error, StartError, StreamError};
use bytes::Bytes;
use futures_core::Stream;
use quorate_abstractions::{
    group_membership::View,
    pressure::Wait,
    view_synchrony::{self, Deliver, Indication, Request},
};
use quorate_core::{Addr, MessageId, ProcessSet};
use quorate_stacks::{needs::NeedsPerfect, views::Views};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tracing::{Span, info, warn};

/// Broadcasts messages of type `T` in a group with views. Clones share the module's window.
pub struct Group<T> {
    broadcaster: Broadcaster<T>,
    address: LateAddress<Request>,
    /// Where nobody joins: the messages, of which there are no more once this process leaves.
    until_it_leaves: Option<Arc<Flow>>,
}

crate::debug::opaque!(Group<T>);

impl<T> Clone for Group<T> {
    fn clone(&self) -> Self {
        Group {
            broadcaster: self.broadcaster.clone(),
            address: self.address.clone(),
            until_it_leaves: self.until_it_leaves.clone(),
        }
    }
}

impl<T> Group<T> {
    /// Waits for room in the window, and broadcasts. The message goes to the present view; or to the next
    /// one, while the view changes; or to the first one after this process has joined, while it is
    /// excluded or leaves.
    ///
    /// # Errors
    /// As [`Broadcaster::broadcast`].
    pub async fn broadcast(&self, message: T) -> Result<MessageId, Error> {
        self.broadcaster.broadcast(message).await
    }

    /// Waits for room for one message.
    ///
    /// # Errors
    /// As [`Broadcaster::reserve`].
    pub async fn reserve(&self) -> Result<Permit<'_, T>, Error> {
        self.broadcaster.reserve().await
    }

    /// Broadcasts, if there is room now.
    ///
    /// # Errors
    /// As [`Broadcaster::try_broadcast`].
    pub fn try_broadcast(&self, message: T) -> Result<MessageId, TryBroadcastError<T>> {
        self.broadcaster.try_broadcast(message)
    }

    /// Broadcasts, and waits until this process has delivered the message. If this process is excluded from
    /// the view in which it delivered the message, the others may never deliver it.
    ///
    /// # Errors
    /// As [`Broadcaster::deliver`].
    pub async fn deliver(&self, message: T) -> Result<MessageId, Error> {
        self.broadcaster.deliver(message).await
    }

    /// The number of own messages that are broadcast and not yet delivered here.
    pub fn pending(&self) -> u64 {
        self.broadcaster.pending()
    }

    /// Asks to become a member again, after [`Event::Excluded`] or [`Event::Left`]. The next event is then
    /// [`Event::State`]. If this process is a member, the call has no effect.
    pub fn join(&self) {
        self.address.clone().addr().send(Request::Join);
    }

    /// Asks to leave. What was broadcast before is delivered; then the others install a view without this
    /// process, which is told so by [`Event::Left`], or by [`Event::Excluded`] if it is excluded before. Before the
    /// node starts, and before this process is a member, for instance while it [joins](Group::join), the wish is kept
    /// until it is one. If it is outside, and has not asked to join, the call has no effect.
    ///
    /// With [primary views](Builder::views) the process may [join](Group::join) again, and leaves only as soon as
    /// a majority of all processes are members without it. Where nobody joins, further broadcasts are refused
    /// ([`Error::Leaves`]), and the node must go on until it stops for good, because the others may wait for it.
    pub fn leave(&self) {
        if let Some(flow) = &self.until_it_leaves {
            flow.close(&Error::Leaves);
        }
        self.address.send_or_keep(Request::Leave);
    }
}

/// What happens in a group, in order.
#[derive(Debug)]
pub enum Event<T> {
    /// A view is installed.
    View {
        view: View,
        /// The members that were not in the view before.
        newcomers: ProcessSet,
    },
    /// A message is delivered, in the present view.
    Deliver(Delivery<T>),
    /// Processes want to join. Answer with the state after all deliveries so far. The view does not change
    /// before the answer.
    StateWanted(StateWanted),
    /// This process joins, with this state in place of its own.
    State(Bytes),
    /// The others have installed this view without this process, which may [join](Group::join) again. It
    /// may be the only process to have delivered some messages since the view before: its state is void.
    ///
    /// A process that was started again gets this event first, once it has its seat.
    Excluded {
        /// The identifier of that view.
        view: u64,
    },
    /// A broadcast of this process, delivered here, that the others do not have. These events come right
    /// after [`Excluded`](Event::Excluded), in the order of the broadcasts. This process may broadcast the
    /// message again.
    Lost(Lost<T>),
    /// This process has [left](Group::leave): the others have installed this view without it, and have delivered
    /// what it has delivered.
    Left {
        /// The identifier of that view.
        view: u64,
    },
}

/// A broadcast that the others do not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost<T> {
    pub id: MessageId,
    pub message: T,
    /// If true, no member of the next view has delivered the message, nor ever will. If false, this process
    /// was out of reach when that view was decided, and cannot learn any more which of its last messages
    /// the members have.
    pub is_certain: bool,
}

/// A request for the state of this process. If it is dropped without an answer, this process declines, and
/// another member is asked. If all members decline, nobody joins, and broadcasts wait until a member that
/// wants to join, or one that declines, is gone.
#[must_use = "another member is asked when it is dropped"]
pub struct StateWanted {
    view: u64,
    limit: usize,
    is_given: AtomicBool,
    address: Addr<Request>,
}

impl StateWanted {
    /// The identifier of the view after which the processes join.
    pub fn view(&self) -> u64 {
        self.view
    }

    /// Gives the state.
    ///
    /// # Errors
    /// [`TooLarge`](Error::TooLarge) when no message can carry it.
    pub fn give(&self, state: Bytes) -> Result<(), Error> {
        if state.len() > self.limit {
            let (size, limit) = (state.len(), self.limit);
            return Err(Error::TooLarge { size, limit });
        }
        self.is_given.store(true, Relaxed);
        let view = self.view;
        self.address.send(Request::State { view, state });
        Ok(())
    }
}

impl Drop for StateWanted {
    fn drop(&mut self) {
        if !self.is_given.load(Relaxed) {
            let view = self.view;
            self.address.send(Request::Decline { view });
        }
    }
}

impl std::fmt::Debug for StateWanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateWanted({})", self.view)
    }
}

impl Cost for Indication {
    fn cost(&self) -> usize {
        OVERHEAD
            + match self {
                Indication::Deliver(deliver) => deliver.payload.len(),
                Indication::Lost(lost) => lost.payload.len(),
                Indication::State(state) => state.len(),
                _ => 0,
            }
    }
}

/// What happens in a group: a [`Stream`] that ends when the node stops.
///
/// Events that are not read wait, up to the builder's limit, as for [`Deliveries`](super::Deliveries). A
/// reader that reads nothing at all delays the others for 1 second, or 5 if the algorithm stands on the
/// perfect failure detector. If the events are dropped, this process gives nobody its state: another member
/// is asked. A member that keeps the events and stops reading blocks the group while a process wants to
/// join.
pub struct Events<T> {
    intake: Intake<Indication>,
    decode: fn(Bytes) -> Option<T>,
    address: Addr<Request>,
    limit: usize,
}

crate::debug::opaque!(Events<T>);

impl<T> Events<T> {
    fn event(&self, indication: Indication) -> Option<Result<Event<T>, StreamError>> {
        Some(Ok(match indication {
            Indication::View { view, newcomers } => Event::View { view, newcomers },
            Indication::Deliver(Deliver { id, payload, .. }) => {
                let Some(message) = (self.decode)(payload) else {
                    return Some(Err(StreamError::Undecodable { id }));
                };
                let origin = id.origin.process;
                Event::Deliver(Delivery {
                    id,
                    origin,
                    message,
                })
            }
            Indication::StateWanted { view } => Event::StateWanted(StateWanted {
                view,
                limit: self.limit,
                is_given: AtomicBool::new(false),
                address: self.address.clone(),
            }),
            Indication::State(state) => Event::State(state),
            Indication::Excluded { view } => Event::Excluded { view },
            Indication::Left { view } => Event::Left { view },
            Indication::Lost(view_synchrony::Lost {
                id,
                payload,
                is_certain,
            }) => {
                let Some(message) = (self.decode)(payload) else {
                    return Some(Err(StreamError::Undecodable { id }));
                };
                Event::Lost(Lost {
                    id,
                    message,
                    is_certain,
                })
            }
            Indication::Block => return None,
        }))
    }
}

impl<T> Drop for Events<T> {
    fn drop(&mut self) {
        while let Some(indication) = self.intake.take() {
            if let Indication::StateWanted { view } = indication {
                self.address.send(Request::Decline { view });
            }
        }
    }
}

impl<T> Stream for Events<T> {
    type Item = Result<Event<T>, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match std::task::ready!(this.intake.poll_next(cx)) {
                Some(Ok(indication)) => {
                    if let Some(event) = this.event(indication) {
                        return Poll::Ready(Some(event));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Logs the indications of views that an operator wants to know.
pub(super) fn tell_log(span: &Span, indication: &Indication) {
    match indication {
        Indication::View { view, newcomers } => span.in_scope(|| {
            info!(view = view.id, members = ?view.members, ?newcomers, "installed");
        }),
        Indication::Excluded { view } => span.in_scope(|| {
            warn!(
                view,
                "the others have installed a view without this process"
            );
        }),
        Indication::Left { view } => span.in_scope(|| info!(view, "left")),
        _ => {}
    }
}

/// Groups.
impl Builder {
    /// Declares a group with primary views: its members change while messages of type `T` flow, and
    /// processes that pass from one view to the next have delivered the same messages. A process that is
    /// excluded by mistake is told so, and is told [which of its messages the others will not
    /// deliver](Event::Lost). It may join again, and gets the state. The group survives the crash of a
    /// minority.
    ///
    /// A process that was started again is put into its seat by the others, as with [replicated
    /// machines](Builder::replicated), with which the group shares an order. It gets the event
    /// [`Excluded`](Event::Excluded), and may join like any other process. Its earlier start is no longer a
    /// member as soon as the others hear of the new one. (With
    /// [`GroupOrder::ByConsensus`](super::GroupOrder::ByConsensus) the group has a consensus of its own,
    /// and no process is put into a seat.)
    ///
    /// Only members keep the state. A process that is outside counts as one that is down: there must always
    /// be a member left. A rolling restart waits for [`Event::View`] at each process before it goes on to
    /// the next one. While fewer than a majority are members or ask to become members, nobody delivers
    /// anything in a view that is to change.
    ///
    /// The handle answers the indication `Block`: messages that are broadcast while the view changes go to
    /// the next view.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn views<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Group<T>, Events<T>), StartError> {
        self.views_of(name.into(), Views::Primary)
    }

    /// Like [`views`](Builder::views), by this algorithm, which can also be parsed from its name: the
    /// primary one; or one in which nobody joins, and which survives any number of crashes.
    ///
    /// # Errors
    /// When it needs the perfect failure detector and the system is
    /// not [assumed to be synchronous](Builder::assume_synchronous), or when the name is used already.
    pub fn views_with<T>(
        &mut self,
        name: impl Into<Coded<T>>,
        views: Views,
    ) -> Result<(Group<T>, Events<T>), StartError> {
        self.views_of(name.into(), views)
    }

    fn views_of<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
        views: Views,
    ) -> Result<(Group<T>, Events<T>), StartError> {
        if views.needs_perfect() && self.synchrony.is_none() {
            return Err(NeedsPerfect(views.name()).into());
        }
        // A view change carries the unstable messages of all processes.
        let limit = self.link.maximum_message.saturating_sub(HEADS) / 2;
        let flow = Arc::new(Flow::new(self.limits, limit / self.processes()));
        let (outlet, intake) = Outlet::new(self.backlog);
        let address = LateAddress::default();
        let (opened, inlet, own) = (address.clone(), outlet.clone(), flow.clone());
        let back = address.clone().addr();
        let reader = outlet.clone();
        // The next view is formed without silent processes.
        let wait = if views.needs_perfect() {
            Wait::for_crash_stop()
        } else {
            Wait::for_majority()
        };
        let is_over_the_order = views == Views::Primary;
        let algorithms = if is_over_the_order {
            "views:primary"
        } else {
            views.algorithms()
        };
        let algorithms = codec.of(&name, algorithms);
        let wire = move |wiring: Wiring| {
            let (me, counted) = (wiring.origin(), own.clone());
            let span = wiring.span.clone();
            let up = Addr::new(move |indication: Indication| {
                tell_log(&span, &indication);
                match &indication {
                    Indication::Block => back.send(Request::BlockOk),
                    Indication::Deliver(deliver) if deliver.id.origin == me => {
                        counted.delivered(deliver.id.sequence, 1);
                    }
                    _ => {}
                }
                let wanted = match &indication {
                    Indication::StateWanted { view } => Some(*view),
                    _ => None,
                };
                let has_reader = inlet.hand(indication);
                if let Some(view) = wanted.filter(|_| !has_reader) {
                    back.send(Request::Decline { view });
                }
            });
            reader.open(wiring.pressure(wait, own.pressure()), wait.reader());
            let requests = wiring.views(views, up)?;
            opened.open(requests.clone());
            own.open(me, requests.with(Request::Broadcast));
            Ok(())
        };
        if is_over_the_order {
            self.module_over_the_order(&name, &algorithms, wire)?;
            self.order.over_the_order += 1;
        } else {
            self.fallible_module(&name, &algorithms, wire)?;
        }
        let events = Events {
            intake,
            decode: codec.decode,
            address: address.clone().addr(),
            limit,
        };
        let group = Group {
            broadcaster: Broadcaster::new(flow.clone(), codec),
            address,
            until_it_leaves: (views != Views::Primary).then(|| flow.clone()),
        };
        let outlet = Arc::new(outlet);
        if is_over_the_order {
            self.handles.ordered_flows.push(flow.clone());
            self.handles.ordered_outlets.push(outlet.clone());
        }
        self.handles.flows.push(flow);
        self.handles.outlets.push(outlet);
        Ok((group, events))
    }
}
