//! The stream of group membership: the views on which all processes agree.
use super::{
    Builder,
    outlet::{Cost, Intake, OVERHEAD, Outlet},
};
use crate::error::{StartError, StreamError};
use futures_core::Stream;
use quorate_abstractions::group_membership::View;
use quorate_core::Addr;
use quorate_stacks::{needs::NeedsPerfect, stack};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tracing::info;

impl Cost for View {
    fn cost(&self) -> usize {
        OVERHEAD
    }
}

/// The views of a group, in order; the first has all processes. A [`Stream`] that ends when the node stops.
pub struct Members(Intake<View>);

crate::debug::opaque!(Members);

impl Stream for Members {
    type Item = Result<View, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().0.poll_next(cx)
    }
}

/// Group membership.
impl Builder {
    /// Declares group membership, over the perfect failure detector: the processes agree, view by view, on
    /// which processes have crashed. It tolerates any number of crashes; no process joins.
    ///
    /// # Errors
    /// When the system is not [assumed to be synchronous](Builder::assume_synchronous), or when the
    /// name is used already.
    pub fn membership(&mut self, name: &str) -> Result<Members, StartError> {
        if self.synchrony.is_none() {
            return Err(NeedsPerfect("group-membership").into());
        }
        let (outlet, intake) = Outlet::new(self.backlog);
        let inlet = outlet.clone();
        self.module(name, stack::GROUP_MEMBERSHIP, move |wiring| {
            let span = wiring.span.clone();
            let up = Addr::new(move |view: View| {
                let View { id, members } = &view;
                span.in_scope(|| info!(view = id, ?members, "installed"));
                inlet.tell(view);
            });
            if let Some(perfect) = &wiring.perfect {
                stack::group_membership(&wiring.host, &wiring.links, perfect, up);
            }
        })?;
        self.handles.outlets.push(Arc::new(outlet));
        Ok(Members(intake))
    }
}
