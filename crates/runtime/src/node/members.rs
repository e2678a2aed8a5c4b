//! The stream of group membership: the views on which all processes agree.
use super::{
    Builder,
    late_address::LateAddress,
    outlet::{Cost, Intake, OVERHEAD, Outlet},
};
use crate::error::{StartError, StreamError};
use futures_core::Stream;
use quorate_abstractions::group_membership::{Indication, Request, View};
use quorate_core::Addr;
use quorate_stacks::{needs::NeedsPerfect, stack};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tracing::info;

impl Cost for Indication {
    fn cost(&self) -> usize {
        OVERHEAD
    }
}

/// What happens in a group membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MembersEvent {
    /// A view is installed.
    View(View),
    /// This process has left, as it has [asked](Members::leave): the others go on with this view. It is the last
    /// event.
    Left(View),
}

/// The views of a group, in order; the first has all processes. A [`Stream`] that ends when the node stops.
pub struct Members {
    intake: Intake<Indication>,
    address: LateAddress<Request>,
}

crate::debug::opaque!(Members);

impl Members {
    /// Asks to leave: the next view is without this process, which is told so by [`MembersEvent::Left`]. It does
    /// not come back, but its node must go on, because the others may wait for it, until it stops for good. Before the
    /// node starts, the wish is kept until then.
    pub fn leave(&self) {
        self.address.send_or_keep(Request::Leave);
    }
}

impl Stream for Members {
    type Item = Result<MembersEvent, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.get_mut().intake.poll_next(cx));
        let event = |indication| match indication {
            Indication::View(view) => MembersEvent::View(view),
            Indication::Left(view) => MembersEvent::Left(view),
        };
        Poll::Ready(next.map(|item| item.map(event)))
    }
}

/// Group membership.
impl Builder {
    /// Declares group membership, over the perfect failure detector: the processes agree, view by view, on
    /// which processes have crashed or [have left](Members::leave). It tolerates any number of crashes; no
    /// process joins.
    ///
    /// # Errors
    /// When the system is not [assumed to be synchronous](Builder::assume_synchronous), or when the
    /// name is used already.
    pub fn membership(&mut self, name: &str) -> Result<Members, StartError> {
        if self.synchrony.is_none() {
            return Err(NeedsPerfect("group-membership").into());
        }
        let (outlet, intake) = Outlet::new(self.backlog);
        let (inlet, address) = (outlet.clone(), LateAddress::default());
        let opened = address.clone();
        self.module(name, stack::GROUP_MEMBERSHIP, move |wiring| {
            let span = wiring.span.clone();
            let up = Addr::new(move |indication: Indication| {
                span.in_scope(|| match &indication {
                    Indication::View(View { id, members }) => {
                        info!(view = id, ?members, "installed");
                    }
                    Indication::Left(View { id, members }) => info!(view = id, ?members, "left"),
                });
                inlet.tell(indication);
            });
            if let Some(perfect) = &wiring.perfect {
                let requests = stack::group_membership(&wiring.host, &wiring.links, perfect, up);
                opened.open(requests);
            }
        })?;
        self.handles.outlets.push(Arc::new(outlet));
        Ok(Members { intake, address })
    }
}
