//! The modules that can be declared on a node.
use super::{Builder, Wiring, order::GroupUse};
use crate::error::StartError;

/// What the layers between a handle and the link add to a message, at most.
#[cfg(feature = "links")]
pub(super) const HEADS: usize = 1024;

/// Where the order of the group is. No module has this name.
pub(super) const ORDER: &str = "group-order";

/// What flooding needs of a datagram of the link, which takes 26 bytes of it.
pub(super) const LEAST_DATAGRAM: usize = 1024 + 26;

type Wire = Box<dyn FnOnce(Wiring) -> Result<(), StartError> + Send>;

/// A module that was declared.
pub(super) struct Module {
    pub(super) algorithms: String,
    pub(super) wire: Wire,
    pub(super) group_use: GroupUse,
}

/// What is declared.
impl Builder {
    /// Declares a module by its wiring function `wire`, which is called when the node starts. `algorithms`
    /// names the algorithms of the module; processes whose modules differ do not talk to each other.
    ///
    /// All modules are declared through this function. An application's own algorithms can be, too;
    /// [`custom`](Builder::custom) is simpler, and gives them handles.
    ///
    /// # Errors
    /// When the name is used already, or is no segment of a path.
    pub fn module(
        &mut self,
        name: &str,
        algorithms: &str,
        wire: impl FnOnce(Wiring) + Send + 'static,
    ) -> Result<(), StartError> {
        self.declare(name, algorithms, GroupUse::Beside, |wiring| {
            wire(wiring);
            Ok(())
        })
    }

    /// As [`module`](Builder::module), where the wiring may fail: then the node does not start.
    #[cfg(any(feature = "broadcast", feature = "shared-memory"))]
    pub(crate) fn fallible_module(
        &mut self,
        name: &str,
        algorithms: &str,
        wire: impl FnOnce(Wiring) -> Result<(), StartError> + Send + 'static,
    ) -> Result<(), StartError> {
        self.declare(name, algorithms, GroupUse::Beside, wire)
    }

    pub(super) fn declare(
        &mut self,
        name: &str,
        algorithms: &str,
        group_use: GroupUse,
        wire: impl FnOnce(Wiring) -> Result<(), StartError> + Send + 'static,
    ) -> Result<(), StartError> {
        if name.is_empty() || name.contains('/') {
            return Err(StartError::BadName(name.to_owned()));
        }
        if name == ORDER || self.modules.contains_key(name) {
            return Err(StartError::UsedTwice(name.to_owned()));
        }
        let module = Module {
            algorithms: algorithms.to_owned(),
            wire: Box::new(wire),
            group_use,
        };
        self.modules.insert(name.to_owned(), module);
        Ok(())
    }
}
