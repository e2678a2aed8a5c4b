//! Where requests enter a module, known before the module is wired.
use quorate_core::Addr;
use std::sync::{Arc, OnceLock};

/// An address that is not known yet.
pub(super) struct LateAddress<T>(Arc<OnceLock<Addr<T>>>);

impl<T> Default for LateAddress<T> {
    fn default() -> Self {
        LateAddress(Arc::default())
    }
}

impl<T> Clone for LateAddress<T> {
    fn clone(&self) -> Self {
        LateAddress(self.0.clone())
    }
}

impl<T: 'static> LateAddress<T> {
    pub(super) fn open(&self, addr: Addr<T>) {
        // Wired once, by the builder that made the port.
        let _ = self.0.set(addr);
    }

    pub(super) fn addr(self) -> Addr<T> {
        Addr::new(move |value| {
            if let Some(addr) = self.0.get() {
                addr.send(value);
            }
        })
    }
}
