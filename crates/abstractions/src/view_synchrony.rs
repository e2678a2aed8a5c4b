//! View-synchronous broadcast: messages are broadcast and delivered in views, and processes that pass
//! from one view to the next together have delivered the same messages in it.
//!
//! - **VS1 view inclusion** (safety): a process that delivers m in its view v delivers it in the view in
//!   which m was broadcast. That is none that the origin had left, or had answered `Block` in, when it was
//!   asked to broadcast m.
//! - **VS2 … VS5**: the views are those of [group membership](crate::group_membership), GMP1 … GMP4. With
//!   joins (an algorithm says so), GMP1 keeps only the increasing identifiers, and GMP4 becomes: a process
//!   outside a view has crashed, has not joined yet, or is told that it is outside or has left.
//! - **VS6 validity** (liveness): what a correct process that stays a member broadcasts in v, it and every other
//!   correct process that stays a member deliver in v.
//! - **VS7 no duplication** (safety). **VS8 no creation** (safety).
//! - **VS9 agreement** (safety once both have installed a later view, liveness in the last one): processes that
//!   install v and a later view or leave after v, and correct ones that are in v at the end, delivered the same
//!   messages in v.
//!   With joins: what a process that joins knows, by its state and the deliveries before its view, is the same.
//! - **UVS9 uniform agreement** (an algorithm says so; liveness): what any process delivers in v, even one that
//!   crashes, every correct process of v delivers in v.
//! - **VS10 nothing is swallowed** (with joins; safety): a process that is told that it is outside is also
//!   told which of its broadcasts the others will not hear; only those are said to be lost for certain.
//! - **VS11 leaving** (liveness): a correct process that asks to leave is told that it has left, and in the end
//!   it is in the view of no correct process. With joins: or it is told that it is excluded; it leaves only
//!   if a majority of Π remains; and if it asks while it joins, or before its first view, it leaves once it is a
//!   member. A process that is outside, and has not asked to join, has nothing to leave.
//! - **VS12 no return** (safety): a process is told that it has left only if it has asked, when it has delivered
//!   what it had been asked to broadcast before, and only of a view without it; it installs no view after that,
//!   unless it asks to join.
//!
//! # The contract of the user
//! When it gets [`Indication::Block`], the user answers [`Request::BlockOk`] at a time of its choice; until
//! the next view it is blocked. Its broadcasts while it is blocked are not lost: they are broadcast in the
//! next view, before any others. A [`Request::BlockOk`] without a preceding `Block` is dropped, and counted.
//!
//! A user that has asked to leave still answers `Block`. What it asked to broadcast before is broadcast, and the
//! process leaves after that. What it asks to broadcast afterwards is broadcast while the process is still a
//! member, or waits until it joins again; where nobody joins, it is dropped, and counted.
//!
//! Where processes join, the user answers [`Indication::StateWanted`] with its state at that point of its
//! deliveries, or it declines, and another member is asked. The indication comes while the user is blocked,
//! and the view does not change until some member has given a state. A joining process gets that state, then
//! any messages of the view before that the state lacks, then its view.
use crate::group_membership::View;
use bytes::Bytes;
use quorate_core::{MessageId, Observation, Observe, ProcessSet, message::digest};

/// What is requested, and what is indicated.
pub type Port = (Request, Indication);

/// What is requested.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// A broadcast of this payload in the present view or, while blocked, in the next one.
    Broadcast(Bytes),
    /// The user broadcasts nothing more in the present view: the answer to [`Indication::Block`].
    BlockOk,
    /// The user's state, for the processes that want to be in the view after `view`: the answer to
    /// [`Indication::StateWanted`].
    State {
        view: u64,
        /// The state, opaque.
        state: Bytes,
    },
    /// The user does not give its state to those processes: another member is asked.
    Decline { view: u64 },
    /// This process, which is outside, asks to become a member again, without its state.
    Join,
    /// This process asks to leave, once it has broadcast what it was asked to broadcast before, and is a member.
    Leave,
}

/// What is indicated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Indication {
    /// A view is installed.
    View {
        view: View,
        /// The members that were not in the view before. Empty if no process joins.
        newcomers: ProcessSet,
    },
    /// The view is about to change: broadcast nothing more in it, and answer [`Request::BlockOk`].
    Block,
    /// A delivery.
    Deliver(Deliver),
    /// Processes that want to be in the view after this one want the user's state as it is now.
    StateWanted { view: u64 },
    /// This process joins: from now on this is its state. Comes before the view is indicated, and before the
    /// messages of the view before that the state lacks.
    State(Bytes),
    /// The others have installed a view without this process. Where processes can be restarted, a restarted
    /// process gets this first. It may ask to join.
    Excluded {
        /// The identifier of that view.
        view: u64,
    },
    /// A broadcast of this process that was delivered here in the view from which it was excluded. Comes
    /// right after `Excluded`, in the order of the broadcasts.
    Lost(Lost),
    /// This process has left, as it has asked: the others have installed a view without it, and have delivered
    /// what it has delivered. Where processes join, it may ask to join again.
    Left {
        /// The identifier of that view.
        view: u64,
    },
}

/// A broadcast that the others do not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// The identifier of the broadcast.
    pub id: MessageId,
    pub payload: Bytes,
    /// Whether it is certain that no member of the next view has delivered the broadcast or will deliver it.
    /// If `false`, this process was out of reach when that view was decided, and does not know.
    pub is_certain: bool,
}

/// A delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliver {
    /// The view of the delivery, which is the present one.
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
            Request::Leave => Observation::request("Leave"),
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
            Indication::Left { view } => Observation::indication("Left").instance(*view),
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
