//! A node without broadcasts: nothing orders anything.
use super::{Builder, Wiring, modules::Module, sight::Sight};
use crate::{error::StartError, host::TokioHost};
use quorate_abstractions::pressure::{Backlog, Wait};
use quorate_core::Addr;
use quorate_links::perfect::{self, PerfectLinks};
use std::sync::Arc;

/// What a module has to do with the order of the group: nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupUse {
    Beside,
}

/// Nothing is declared.
#[derive(Default)]
pub(super) struct Chosen {}

/// There is none.
pub(super) enum Group {}

impl Chosen {
    #[expect(clippy::unused_self, reason = "as where there is an order")]
    pub(super) fn zeros(&self) -> [(&'static str, bool); 0] {
        []
    }
}

impl Group {
    pub(super) fn links_of(&self, _: &str, _: GroupUse) -> PerfectLinks<TokioHost> {
        match *self {}
    }

    pub(super) fn wait(&self) -> Wait {
        match *self {}
    }

    pub(super) fn backlog(&self) -> Addr<Backlog> {
        match *self {}
    }
}

#[expect(clippy::unused_self, reason = "as where there is an order")]
impl Builder {
    pub(super) fn name_order(&self, _: &mut perfect::LinkSettings) {}

    pub(super) fn rejoins(&self) -> bool {
        false
    }

    pub(super) fn is_ordered(&self, _: &Module) -> bool {
        false
    }

    pub(super) fn group(&self, _: &TokioHost, _: &PerfectLinks<TokioHost>) -> Option<Group> {
        None
    }

    pub(super) fn start_group(
        &self,
        group: &Group,
        _: &Wiring,
        _: &Arc<Sight>,
    ) -> Result<(), StartError> {
        match *group {}
    }
}
