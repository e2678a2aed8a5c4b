//! The order of the group, as a node declares and starts it.
pub(super) use super::group::Group;

use super::{
    Builder, GroupOrder, Unreadable, Wiring,
    modules::{HEADS, Module, ORDER},
    sight::Sight,
};
use crate::{
    error::{Error, StartError},
    host::TokioHost,
};
use quorate_abstractions::pressure::Wait;
use quorate_broadcast::by_consensus;
use quorate_core::{Addr, Host, message::Origin};
use quorate_links::perfect::{self, PerfectLinks};
use std::sync::Arc;

/// What a module has to do with the order of the group, where there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupUse {
    /// Nothing.
    Beside,
    Shares,
    /// It shares it, if that order puts processes into seats, and has lanes of its own under it.
    #[cfg_attr(
        not(feature = "membership"),
        expect(dead_code, reason = "only views are there")
    )]
    Over,
}

/// What is declared of total order, and of the order of the group.
#[derive(Default)]
pub(super) struct Chosen {
    total_order: by_consensus::OrderSettings,
    group_order: GroupOrder,
    /// How many modules keep a state in the order of the group: then there is one.
    pub(super) stateful: usize,
    /// How many stand on the order of the group, if it puts processes into seats: then there is one, too.
    pub(super) over_the_order: usize,
}

impl Chosen {
    /// The settings that must not be zero, and whether they are.
    pub(super) fn zeros(&self) -> [(&'static str, bool); 3] {
        let by_consensus::OrderSettings {
            instances,
            batches,
            proposal,
            ..
        } = self.total_order;
        [
            ("total order's `instances`", instances == 0),
            ("total order's `batches`", batches == 0),
            ("total order's `proposal`", proposal == 0),
        ]
    }
}

/// What is chosen.
impl Builder {
    /// How much total order has in flight at a time. Batches are kept below what the link carries,
    /// whatever is said here.
    #[must_use]
    pub fn total_order_settings(mut self, settings: by_consensus::OrderSettings) -> Self {
        self.order.total_order = settings;
        self
    }

    /// What orders the commands of [replicated machines](Builder::replicated), and with them the plain total
    /// orders of the node; by leader, the changes of [primary views](Builder::views), too. The same on every process.
    /// Default: by leader.
    #[must_use]
    pub fn group_order(mut self, order: GroupOrder) -> Self {
        self.order.group_order = order;
        self
    }
}

/// What is declared.
impl Builder {
    /// As [`module`](Builder::module), for one that shares the order of the group where there is one.
    pub(super) fn ordered_module(
        &mut self,
        name: &str,
        algorithms: &str,
        wire: impl FnOnce(Wiring) -> Result<(), StartError> + Send + 'static,
    ) -> Result<(), StartError> {
        self.declare(name, algorithms, GroupUse::Shares, wire)
    }
}

/// What is started.
impl Builder {
    /// The settings of total order, with batches that the link carries.
    pub(super) fn fitting_total_order(&self) -> by_consensus::OrderSettings {
        let most = self.link.maximum_message.saturating_sub(HEADS);
        by_consensus::OrderSettings {
            batch_bytes: self.order.total_order.batch_bytes.min(most),
            ..self.order.total_order
        }
    }

    /// Names the order, and who shares it, among what processes compare.
    pub(super) fn name_order(&self, settings: &mut perfect::LinkSettings) {
        if self.has_group() {
            let ordered = self.modules.iter().filter(|(_, it)| self.is_ordered(it));
            let names: Vec<&str> = ordered.map(|(name, _)| name.as_str()).collect();
            let by = self.order.group_order.algorithms();
            let order = [" ", ORDER, ":", &names.join(","), " ", by].concat();
            settings.stack.push_str(&order);
            settings.rejoin = self.rejoins().then(|| ORDER.to_owned());
        }
    }

    /// Whether a process that was started again is put into its seat.
    pub(super) fn rejoins(&self) -> bool {
        self.has_group() && self.order.group_order == GroupOrder::ByLeader
    }

    /// Whether there is an order of the group.
    fn has_group(&self) -> bool {
        self.order.stateful > 0
            || self.order.over_the_order > 0 && self.order.group_order == GroupOrder::ByLeader
    }

    /// Whether a module has to do with that order.
    pub(super) fn is_ordered(&self, module: &Module) -> bool {
        match module.group_use {
            GroupUse::Beside => false,
            GroupUse::Shares => true,
            GroupUse::Over => self.rejoins(),
        }
    }

    /// Starts the order of the group, now that all who share it are known.
    pub(super) fn start_group(
        &self,
        group: &Group,
        of_node: &Wiring,
        status: &Arc<Sight>,
    ) -> Result<(), StartError> {
        // The task may outlast the node for a while.
        let of_order = Arc::downgrade(status);
        let told = Addr::new(move |news| {
            if let Some(sight) = of_order.upgrade() {
                sight.change(|now| now.upon_group(news));
            }
        });
        let (host, order) = (&of_node.host, self.order.group_order);
        let task = group.start(host, order, &of_node.below(), self.backlog, told)?;
        self.act_upon_order(host, task);
        Ok(())
    }

    /// The order that the replicated machines, the views and the plain total orders of the node share.
    pub(super) fn group(&self, host: &TokioHost, links: &PerfectLinks<TokioHost>) -> Option<Group> {
        if !self.has_group() {
            return None;
        }
        let me = Origin {
            process: host.me(),
            incarnation: host.incarnation(),
        };
        let ordered = self.modules.values().filter(|it| self.is_ordered(it));
        // What is missed is made good by a state only: by consensus there is none, and plain orders keep none.
        let has_no_state = self.order.group_order == GroupOrder::ByConsensus;
        let wait =
            if has_no_state || ordered.count() > self.order.stateful + self.order.over_the_order {
                Wait::for_order_without_state()
            } else {
                Wait::for_majority()
            };
        Some(Group::new(me, links, wait))
    }

    /// A machine that panics, or a state that cannot be read, stops the node.
    fn act_upon_order(
        &self,
        host: &TokioHost,
        task: impl Future<Output = Result<(), Unreadable>> + Send + 'static,
    ) {
        let (handles, stopped) = (self.handles.clone(), host.clone());
        tokio::spawn(async move {
            let error = match tokio::spawn(task).await {
                Ok(Ok(())) => return,
                Ok(Err(Unreadable)) => Error::UnreadableState,
                Err(error) => Error::Panicked(error.to_string()),
            };
            tracing::error!(%error, "stopped");
            handles.abandon(&error, Some(&error));
            // The first that says so is the reason.
            let _ = handles.failure.set(error);
            stopped.shared.stop();
        });
    }
}
