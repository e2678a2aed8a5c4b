//! Leadership with a fence: the holder of the present term, and the term's place in the order.
//!
//! It stands on a replicated machine: whoever Ω trusts claims the next term by a command, and the place of the
//! claim in the order is the term's fence. So terms are ordered, and known by the same fence everywhere.
use super::{Abandon, Builder, Chunk, Items, Machine, Replicated, SubmitError, Unreadable, View};
use crate::error::{Error, StartError};
use quorate_abstractions::{eventually_perfect::Reach, leader::Trust};
use quorate_core::{Addr, ProcessId};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The holder of a term.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holder {
    pub process: ProcessId,
    /// The place of the claim in the order. It is higher than those of all earlier terms.
    pub fence: u64,
}

/// The newest term.
#[derive(Default)]
struct Terms {
    newest: Option<Holder>,
    told: watch::Sender<Option<Holder>>,
}

impl Machine for Terms {
    type Command = ();
    type Reply = u64;

    fn apply(&mut self, position: u64, origin: ProcessId, (): ()) -> u64 {
        self.newest = Some(Holder {
            process: origin,
            fence: position,
        });
        self.told.send_replace(self.newest);
        position
    }

    fn snapshot(&self) -> View {
        Items::view(self.newest)
    }

    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable> {
        self.newest = chunk.items()?.pop();
        Ok(())
    }

    fn take_over(&mut self, before: Self) {
        self.told = before.told;
        self.told.send_replace(self.newest);
    }
}

/// A term of this process. Every recipient of its writes must compare fences: of two terms the one with the
/// higher fence counts, and a write with a lower fence is refused. The reason is that a process that is
/// paused or cut off learns too late that its term is over.
#[derive(Debug)]
pub struct Term {
    fence: u64,
    lost: CancellationToken,
}

impl Term {
    /// The number to be sent with every write in this term.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// A token that is cancelled when this process learns that the term is over: another term has begun, Ω
    /// trusts another process, this process is cut off from a majority, or the node has stopped or may not
    /// take part.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.lost.cancel();
    }
}

/// Campaigns for the terms of one leadership, and shows their holders. Clones are handles on the same
/// leadership. Only one task of a process should campaign, because each claim ends the term before it, even
/// a term of the same process.
#[derive(Clone)]
pub struct Leadership {
    me: ProcessId,
    terms: Replicated<Terms>,
    newest: watch::Receiver<Option<Holder>>,
    trusted: watch::Receiver<Option<ProcessId>>,
    /// Whether this process is known to be cut off from a majority.
    cut_off: watch::Receiver<bool>,
    ended: Arc<Ended>,
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = *self.newest.borrow();
        f.debug_struct("Leadership")
            .field("newest", &newest)
            .finish_non_exhaustive()
    }
}

/// Cancels the token when the node has stopped, or may not take part.
struct Ended(CancellationToken);

impl Abandon for Ended {
    fn close(&self, _: &Error) {
        self.0.cancel();
    }

    fn abandon(&self, _: &Error) {
        self.0.cancel();
    }
}

impl Leadership {
    /// Waits until Ω trusts this process, and claims the next term. A call that is dropped may have claimed
    /// a term. Then nobody leads in that term, until another one is claimed.
    ///
    /// # Errors
    /// When the node has stopped or this process may not take part.
    pub async fn acquired(&self) -> Result<Term, Error> {
        let mut trusted = self.trusted.clone();
        loop {
            tokio::select! {
                trusted = trusted.wait_for(|trusted| *trusted == Some(self.me)) => {
                    trusted.map_err(|_| Error::Stopped)?;
                }
                () = self.ended.0.cancelled() => {}
            }
            match self.terms.submit(()).await {
                Ok(fence) => return Ok(self.watched(fence)),
                // It is unknown whether this claim succeeded. The next claim is for another term.
                Err(SubmitError::OutcomeUnknown) => {}
                Err(SubmitError::NotSubmitted(error)) => return Err(error),
            }
        }
    }

    /// The newest term that this process knows. A later one may have begun since.
    pub fn holder(&self) -> watch::Receiver<Option<Holder>> {
        self.newest.clone()
    }

    fn watched(&self, fence: u64) -> Term {
        let lost = CancellationToken::new();
        let (token, me) = (lost.clone(), self.me);
        let (mut newest, mut trusted) = (self.newest.clone(), self.trusted.clone());
        let mut cut_off = self.cut_off.clone();
        let ended = self.ended.clone();
        tokio::spawn(async move {
            tokio::select! {
                // On an error the node has stopped.
                _ = newest.wait_for(|newest| newest.is_some_and(|newest| newest.fence > fence)) => {}
                _ = trusted.wait_for(|trusted| *trusted != Some(me)) => {}
                _ = cut_off.wait_for(|is_cut_off| *is_cut_off) => {}
                () = ended.0.cancelled() => {}
                () = token.cancelled() => {}
            }
            token.cancel();
        });
        Term { fence, lost }
    }
}

impl Builder {
    /// Declares a leadership: one process at a time holds a term of it, and learns when the term is over.
    /// Each term has a fence: the place of its claim in the order that the leadership shares with the
    /// node's [replicated machines](Builder::replicated). It behaves at restarts like those machines.
    ///
    /// ```no_run
    /// # async fn lead(mut builder: quorate_runtime::Builder) -> Result<(), Box<dyn std::error::Error>> {
    /// let leadership = builder.leadership("writer")?;
    /// let node = builder.start().await?;
    /// loop {
    ///     let term = leadership.acquired().await?;
    ///     tokio::select! {
    ///         () = write_with(term.fence()) => {}
    ///         () = term.lost().cancelled() => {}
    ///     }
    /// }
    /// # }
    /// # async fn write_with(fence: u64) {}
    /// ```
    ///
    /// # Errors
    /// When the name is used already.
    pub fn leadership(&mut self, name: &str) -> Result<Leadership, StartError> {
        let terms = Terms::default();
        let newest = terms.told.subscribe();
        let (told, trusted) = watch::channel(None);
        let trust = Addr::new(move |Trust(leader)| _ = told.send_replace(Some(leader)));
        let (told, cut_off) = watch::channel(false);
        let me = self.me;
        let reach =
            Addr::new(move |reach: Reach| _ = told.send_replace(reach.cut_off.contains(me)));
        let terms =
            self.replicated_with(name.into(), "leadership replicated", terms, move |wiring| {
                wiring.leader.send(trust);
                wiring.reach.send(reach);
            })?;
        let ended = Arc::new(Ended(CancellationToken::new()));
        self.handles.machines.push(ended.clone());
        Ok(Leadership {
            me: self.me,
            terms,
            newest,
            trusted,
            cut_off,
            ended,
        })
    }
}
