//! The names of module instances.
use std::{fmt, sync::Arc};

/// The name of a module instance, as a path: `kv/total-order/uniform`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The root: the empty path.
    pub fn root() -> Self {
        Name(Arc::from(""))
    }

    /// The path one step further down.
    #[must_use]
    pub fn at(&self, segment: &str) -> Self {
        if self.0.is_empty() {
            Name(Arc::from(segment))
        } else {
            Name(format!("{}/{segment}", self.0).into())
        }
    }

    /// The path, segments separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl From<&str> for Name {
    fn from(path: &str) -> Self {
        Name(Arc::from(path))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
