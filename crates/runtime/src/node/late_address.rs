//! Where requests enter a module, known before the module is wired.
use quorate_core::Addr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// An address that is not known yet.
pub(super) struct LateAddress<T>(Arc<Late<T>>);

struct Late<T> {
    addr: OnceLock<Addr<T>>,
    /// A request that waits until the address is known.
    kept: Mutex<Option<T>>,
}

impl<T> Default for LateAddress<T> {
    fn default() -> Self {
        LateAddress(Arc::new(Late {
            addr: OnceLock::new(),
            kept: Mutex::new(None),
        }))
    }
}

impl<T> Clone for LateAddress<T> {
    fn clone(&self) -> Self {
        LateAddress(self.0.clone())
    }
}

impl<T: Send + 'static> LateAddress<T> {
    /// From now on requests go to `addr`; first the one that was kept.
    pub(super) fn open(&self, addr: Addr<T>) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = kept.take() {
            addr.send(value);
        }
        // Wired once, by the builder that made the port.
        let _ = self.0.addr.set(addr);
    }

    /// Sends it, or keeps it until the address is known, in place of one that was kept before.
    #[cfg(feature = "membership")]
    pub(super) fn send_or_keep(&self, value: T) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match self.0.addr.get() {
            Some(addr) => addr.send(value),
            None => *kept = Some(value),
        }
    }

    /// An address that drops what comes before it is known.
    pub(super) fn addr(self) -> Addr<T> {
        Addr::new(move |value| {
            if let Some(addr) = self.0.addr.get() {
                addr.send(value);
            }
        })
    }
}
