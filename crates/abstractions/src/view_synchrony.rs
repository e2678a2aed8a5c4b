//! View-synchronous broadcast: messages are broadcast and delivered in views, and processes that pass
//! from one view to the next together have delivered the same messages in it.
//!
//! - **VS1 view inclusion** (safety): a process that delivers m in its view v delivers it in the view in
//!   which m was broadcast.
//! - **VS2 … VS5**: the views are those of [group membership](crate::group_membership), GMP1 … GMP4. With
//!   joins (an algorithm says so), GMP1 keeps the increasing identifiers only, and GMP4 becomes: whoever
//!   is outside a view has crashed, has not joined yet, or is told so.
//! - **VS6 validity** (liveness): a correct process that stays a member delivers its own broadcasts.
//! - **VS7 no duplication** (safety). **VS8 no creation** (safety).
//! - **VS9 agreement** (safety once both have installed the next view): processes that install v and the
//!   view after it delivered the same messages in v.
//! - **VS10 nothing is swallowed** (with joins; safety): who is told that it is outside is told, too, which of its
//!   broadcasts the others will not hear; those alone are said to be lost for certain.
//!
//! # The contract of the user
//! Upon [`Indication::Block`] the user answers [`Request::BlockOk`], when it likes; until the next view it
//! is blocked. What it broadcasts while blocked is not lost: it is broadcast in the next view, first of
//! all. A [`Request::BlockOk`] that nobody asked for is dropped, and counted.
//!
//! Where processes join, the user answers [`Indication::StateWanted`] with its state at that point of its
//! deliveries, or declines, and another member is asked: it comes while the user is blocked, and until somebody has
//! given a state the view does not change. Who
//! joins gets that state, then perhaps messages of the view before which the state lacks, then its view.
use crate::group_membership::View;
use bytes::Bytes;
use quorate_core::{MessageId, Observation, Observe, ProcessSet, message::digest};

/// What is requested, and what is indicated.
pub type Port = (Request, Indication);

/// What is requested.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// A broadcast of this payload, in the present view, or in the next one while blocked.
    Broadcast(Bytes),
    /// The user broadcasts nothing more in the present view: the answer to [`Indication::Block`].
    BlockOk,
    /// The user's state, for those that want to be in the view after the one with this identifier: the
    /// answer to [`Indication::StateWanted`].
    State {
        view: u64,
        /// The state, opaque.
        state: Bytes,
    },
    /// The user does not give its state for those: another member is asked.
    Decline { view: u64 },
    /// This process, which is outside, asks to become a member again, without its state.
    Join,
}

/// What is indicated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Indication {
    /// A view is installed.
    View {
        view: View,
        /// Those of its members that were not in the view before. Empty where nobody joins.
        newcomers: ProcessSet,
    },
    /// The view is about to change: broadcast nothing more in it, and say so.
    Block,
    /// A delivery.
    Deliver(Deliver),
    /// Processes that want to be in the view after this one want the user's state as it is now.
    StateWanted { view: u64 },
    /// This process joins: its state is this from now on. Comes before the view is indicated, and before
    /// those messages of the view before that the state lacks.
    State(Bytes),
    /// The others have installed a view without this process, or, where processes are started again, it is a later
    /// start: then it hears this first. It may ask to join.
    Excluded {
        /// The identifier of that view.
        view: u64,
    },
    /// A broadcast of this process, delivered here in the view that it was excluded from. Comes right after that
    /// is told, in the order of the broadcasts.
    Lost(Lost),
}

/// A broadcast that the others do not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// The identifier of the broadcast.
    pub id: MessageId,
    pub payload: Bytes,
    /// No member of the next view has delivered it, nor will. Otherwise this process was out of reach when that
    /// view was decided, and does not know.
    pub is_certain: bool,
}

/// A delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliver {
    /// In which view: the present one.
    pub view: u64,
    /// Whose broadcast this is, and its sequence number.
    pub id: MessageId,
    pub payload: Bytes,
}

impl Observe for Request {
    fn observe(&self) -> Observation {
        match self {
            Request::Broadcast(payload) => {
                Observation::request("Broadcast").digest(digest(payload))
            }
            Request::BlockOk => Observation::request("BlockOk"),
            Request::State { view, state } => Observation::request("State")
                .instance(*view)
                .digest(digest(state)),
            Request::Decline { view } => Observation::request("Decline").instance(*view),
            Request::Join => Observation::request("Join"),
        }
    }
}

impl Observe for Indication {
    fn observe(&self) -> Observation {
        match self {
            Indication::View { view, .. } => view.observe(),
            Indication::Block => Observation::indication("Block"),
            Indication::Deliver(deliver) => deliver.observe(),
            Indication::StateWanted { view } => {
                Observation::indication("StateWanted").instance(*view)
            }
            Indication::State(state) => Observation::indication("State").digest(digest(state)),
            Indication::Excluded { view } => Observation::indication("Excluded").instance(*view),
            Indication::Lost(lost) => lost.observe(),
        }
    }
}

impl Observe for Deliver {
    fn observe(&self) -> Observation {
        Observation::indication("Deliver")
            .message(self.id)
            .instance(self.view)
            .digest(digest(&self.payload))
    }
}

impl Observe for Lost {
    fn observe(&self) -> Observation {
        Observation::indication(if self.is_certain { "Lost" } else { "Doubtful" })
            .message(self.id)
            .digest(digest(&self.payload))
    }
}
