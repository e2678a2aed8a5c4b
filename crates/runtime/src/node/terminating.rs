//! The handles of terminating broadcast: a process that waits for a source's next message always gets an
//! answer.
use super::{
    Builder, Crashes, Wiring,
    codec::Coded,
    flow::Flow,
    handles::{Broadcaster, Permit, TryBroadcastError},
    modules::HEADS,
    outlet::{Cost, Intake, OVERHEAD, Outlet},
};
use crate::error::{Error, StartError, StreamError};
use bytes::Bytes;
use futures_core::Stream;
use quorate_abstractions::{
    perfect::Crash,
    pressure::Wait,
    terminating::{self, Broadcast, Deliver},
};
use quorate_core::{Addr, MessageId, ProcessId, ProcessSet};
use quorate_stacks::{needs::NeedsPerfect, stack};
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::watch;

/// Broadcasts messages of type `T`, as a source of one terminating broadcast of a node. Clones share
/// the module's window.
pub struct Source<T>(Broadcaster<T>);

impl<T> Clone for Source<T> {
    fn clone(&self) -> Self {
        Source(self.0.clone())
    }
}

impl<T> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl<T> Source<T> {
    /// Waits for room in the window, and broadcasts the next message of this process. If this process
    /// crashes now, either all others get the message, or all learn that this process is faulty.
    ///
    /// # Errors
    /// As [`Broadcaster::broadcast`].
    pub async fn broadcast(&self, message: T) -> Result<MessageId, Error> {
        self.0.broadcast(message).await
    }

    /// Waits for room for one message.
    ///
    /// # Errors
    /// As [`Broadcaster::reserve`].
    pub async fn reserve(&self) -> Result<Permit<'_, T>, Error> {
        self.0.reserve().await
    }

    /// Broadcasts, if there is room now.
    ///
    /// # Errors
    /// As [`Broadcaster::try_broadcast`].
    pub fn try_broadcast(&self, message: T) -> Result<MessageId, TryBroadcastError<T>> {
        self.0.try_broadcast(message)
    }

    /// The number of own messages that are broadcast and not yet delivered here.
    pub fn pending(&self) -> u64 {
        self.0.pending()
    }
}

/// The outcome for one message of a source. It is the same at every process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content<T> {
    Message(T),
    /// The source is faulty: it has no further messages.
    SenderFaulty,
}

/// The answer about the next message of a source, which comes even if the source has crashed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<T> {
    pub source: ProcessId,
    /// The sequence number of the message, counted from 1.
    pub number: u64,
    pub outcome: Content<T>,
}

impl Cost for Deliver {
    fn cost(&self) -> usize {
        OVERHEAD
            + match &self.outcome {
                terminating::Content::Message(payload) => payload.len(),
                terminating::Content::SenderFaulty => 0,
            }
    }
}

/// The answers about all sources, those about one source in the order of its messages: a [`Stream`] that
/// ends when the node stops.
///
/// Answers that are not read wait, up to the builder's limit, as for
/// [`Deliveries`](super::Deliveries). A payload that is no `T` gives
/// [`StreamError::UndecodableAnswer`], and the stream goes on.
pub struct Answers<T> {
    intake: Intake<Deliver>,
    decode: fn(Bytes) -> Option<T>,
}

crate::debug::opaque!(Answers<T>);

impl<T> Answers<T> {
    fn answer(&self, delivery: Deliver) -> Result<Answer<T>, StreamError> {
        let Deliver {
            source,
            number,
            outcome,
        } = delivery;
        let outcome = match outcome {
            terminating::Content::SenderFaulty => Content::SenderFaulty,
            terminating::Content::Message(payload) => {
                let undecodable = StreamError::UndecodableAnswer { of: source, number };
                Content::Message((self.decode)(payload).ok_or(undecodable)?)
            }
        };
        Ok(Answer {
            source,
            number,
            outcome,
        })
    }
}

impl<T> Stream for Answers<T> {
    type Item = Result<Answer<T>, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = std::task::ready!(this.intake.poll_next(cx));
        Poll::Ready(next.map(|delivery| this.answer(delivery?)))
    }
}

/// Terminating broadcast.
impl Wiring {
    /// Starts terminating broadcast here.
    ///
    /// # Errors
    /// When there is no perfect failure detector.
    pub fn terminating(&self, up: Addr<Deliver>) -> Result<Addr<Broadcast>, NeedsPerfect> {
        let perfect = self.perfect.as_ref().ok_or(NeedsPerfect("terminating"))?;
        Ok(stack::terminating(&self.host, &self.links, perfect, up))
    }

    /// Starts terminating broadcast over regular consensus here.
    ///
    /// # Errors
    /// When there is no perfect failure detector.
    pub fn terminating_regular(&self, up: Addr<Deliver>) -> Result<Addr<Broadcast>, NeedsPerfect> {
        let perfect = self.perfect.as_ref().ok_or(NeedsPerfect("terminating"))?;
        Ok(stack::terminating_regular(
            &self.host,
            &self.links,
            perfect,
            up,
        ))
    }
}

/// P, derived.
impl Builder {
    /// Declares the perfect failure detector as it follows from terminating broadcast: each process broadcasts a
    /// message a second, and whoever is called faulty is reported. It stands on P itself, so that
    /// [`crashes`](super::Node::crashes) are there sooner: it shows that the one is as hard as the other.
    ///
    /// # Errors
    /// When the system is not [assumed to be synchronous](Builder::assume_synchronous), or when the name is used
    /// already.
    pub fn crashes_from_terminating(&mut self, name: &str) -> Result<Crashes, StartError> {
        if self.synchrony.is_none() {
            return Err(NeedsPerfect("crashes").into());
        }
        let (crashed, seen) = watch::channel(ProcessSet::EMPTY);
        self.module(name, stack::FROM_TERMINATING, move |wiring| {
            if let Some(perfect) = &wiring.perfect {
                let reports = stack::from_terminating(&wiring.host, &wiring.links, perfect);
                reports.send(Addr::new(move |Crash(process)| {
                    crashed.send_modify(|crashed| {
                        crashed.insert(process);
                    });
                }));
            }
        })?;
        Ok(Crashes::of(seen))
    }
}

/// Terminating broadcast.
impl Builder {
    /// Declares uniform terminating broadcast of messages of type `T`, over the perfect failure detector.
    /// For the next message of a source, either all processes deliver it, or all learn that the source is
    /// faulty. It tolerates any number of crashes.
    ///
    /// There is no answer about a source that is alive and silent: it should broadcast when others wait for
    /// it.
    ///
    /// # Errors
    /// When the system is not [assumed to be synchronous](Builder::assume_synchronous), or when the
    /// name is used already.
    pub fn terminating<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Source<T>, Answers<T>), StartError> {
        self.terminating_of(name.into(), true)
    }

    /// Like [`terminating`](Builder::terminating), over regular consensus: agreement binds correct
    /// processes only. A process that crashes may have delivered a message although the others learn that
    /// its source is faulty.
    ///
    /// # Errors
    /// As [`terminating`](Builder::terminating).
    pub fn terminating_regular<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<(Source<T>, Answers<T>), StartError> {
        self.terminating_of(name.into(), false)
    }

    fn terminating_of<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
        is_uniform: bool,
    ) -> Result<(Source<T>, Answers<T>), StartError> {
        if self.synchrony.is_none() {
            return Err(NeedsPerfect("terminating").into());
        }
        let algorithms = if is_uniform {
            stack::TERMINATING
        } else {
            stack::TERMINATING_REGULAR
        };
        let limit = self.link.maximum_message.saturating_sub(HEADS);
        let flow = Arc::new(Flow::new(self.limits, limit));
        let (outlet, intake) = Outlet::new(self.backlog);
        let (inlet, own) = (outlet.clone(), flow.clone());
        let reader = outlet.clone();
        self.fallible_module(&name, &codec.of(&name, algorithms), move |wiring| {
            let (me, counted) = (wiring.origin(), own.clone());
            let up = Addr::new(move |delivery: Deliver| {
                let is_message = delivery.outcome != terminating::Content::SenderFaulty;
                if is_message && delivery.source == me.process {
                    counted.delivered(delivery.number, 1);
                }
                inlet.tell(delivery);
            });
            let wait = Wait::for_crash_stop();
            reader.open(wiring.pressure(wait, own.pressure()), wait.reader());
            let port = if is_uniform {
                wiring.terminating(up)?
            } else {
                wiring.terminating_regular(up)?
            };
            own.open(me, port.with(|payload| Broadcast { payload }));
            Ok(())
        })?;
        let source = Source(Broadcaster::new(flow.clone(), codec));
        self.handles.flows.push(flow);
        self.handles.outlets.push(Arc::new(outlet));
        let decode = codec.decode;
        Ok((source, Answers { intake, decode }))
    }
}
