//! Takes up changed settings while the node runs: all that can be taken up, or nothing.
//!
//! Whoever has something that can be read anew adds it to the list. Each prepares the change first, which may fail; when
//! all are prepared, all changes are made, which cannot fail.
use crate::settings::{NodeSettings, Source};
use anyhow::{Context, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// A change that is prepared: it cannot fail any more.
pub type Change = Box<dyn FnOnce() + Send>;

type Prepare = Box<dyn Fn(&NodeSettings) -> Result<Change> + Send + Sync>;

/// What can be read anew. Clones share it.
#[derive(Clone)]
pub struct Reload(Arc<Shared>);

struct Shared {
    source: Source,
    /// They say where the ports stand, whatever the file says later.
    started: NodeSettings,
    /// One reload at a time holds the list.
    items: Mutex<Vec<(&'static str, Prepare)>>,
}

/// What a reload has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reloaded {
    /// What was taken up.
    pub items: Vec<&'static str>,
    /// Whether there are other changes, which need a restart.
    pub needs_restart: bool,
}

impl Reload {
    /// An empty list, for a node that was started with these settings of this source.
    pub fn new(source: Source, started: NodeSettings) -> Self {
        Reload(Arc::new(Shared {
            source,
            started,
            items: Mutex::new(Vec::new()),
        }))
    }

    fn items(&self) -> MutexGuard<'_, Vec<(&'static str, Prepare)>> {
        self.0.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what `prepare` prepares from new settings.
    pub fn add(
        &self,
        name: &'static str,
        prepare: impl Fn(&NodeSettings) -> Result<Change> + Send + Sync + 'static,
    ) {
        self.items().push((name, Box::new(prepare)));
    }

    /// Reads the settings anew, and takes up what can be taken up.
    ///
    /// # Errors
    /// When something cannot be read, or not be taken up. Then nothing has changed.
    pub async fn reload(&self) -> Result<Reloaded> {
        let shared = self.clone();
        let reloaded = tokio::task::spawn_blocking(move || shared.reload_now()).await;
        let reloaded = reloaded.context("the reload was interrupted").flatten();
        match &reloaded {
            Ok(Reloaded {
                items,
                needs_restart,
            }) => {
                info!("read anew: {}", items.join(", "));
                if *needs_restart {
                    warn!("other settings have changed, too: they need a restart");
                }
            }
            Err(error) => warn!("nothing was read anew, all stays as it is: {error:#}"),
        }
        reloaded
    }

    fn reload_now(&self) -> Result<Reloaded> {
        let started = &self.0.started;
        let items = self.items();
        let settings = self.0.source.clone().load()?;
        // The ports stay where they are, whatever the new settings say of them.
        if !started.insecure {
            settings
                .doors
                .ensure_locked(started.client, started.admin)?;
        }
        let mut changes = Vec::new();
        for (name, prepare) in &*items {
            changes.push(prepare(&settings).with_context(|| (*name).to_owned())?);
        }
        for change in changes {
            change();
        }
        Ok(Reloaded {
            items: items.iter().map(|(name, _)| *name).collect(),
            needs_restart: settings.without_doors() != started.without_doors(),
        })
    }

    /// Reloads upon each SIGHUP, for ever.
    pub fn upon_hangup(&self) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("cannot wait for signals")?;
        let reload = self.clone();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                // What came of it stands in the log.
                let _ = reload.reload().await;
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret_file;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[tokio::test]
    async fn all_is_taken_up_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let write = |text: &str| {
            let _ = std::fs::remove_file(&path);
            let text = format!("id = 1\npeers = ['127.0.0.1:7101']\n{text}");
            secret_file::create(&path, text.as_bytes(), "x").unwrap();
        };
        write("");
        let source = Source::of_file(&path);
        let started = source.clone().load().unwrap();
        let changed = Arc::new(AtomicUsize::new(0));
        let reload = Reload::new(source, started);
        for (name, fails) in [("one", false), ("other", true)] {
            let changed = changed.clone();
            reload.add(name, move |settings| {
                anyhow::ensure!(!(fails && settings.insecure), "not like that");
                let changed = changed.clone();
                Ok(Box::new(move || {
                    changed.fetch_add(1, Relaxed);
                }))
            });
        }
        let good = |needs_restart| Reloaded {
            items: vec!["one", "other"],
            needs_restart,
        };
        assert_eq!(reload.reload().await.unwrap(), good(false));
        assert_eq!(changed.load(Relaxed), 2);

        write("insecure = true\n");
        let words = format!("{:#}", reload.reload().await.unwrap_err());
        assert_eq!(words, "other: not like that");
        write("nonsense = true\n");
        let words = format!("{:#}", reload.reload().await.unwrap_err());
        assert!(words.contains("nonsense"), "{words}");
        assert_eq!(changed.load(Relaxed), 2, "nothing was changed");

        write("window = 7\n");
        assert_eq!(reload.reload().await.unwrap(), good(true));
        write(
            "[users.alice]\nrights = ['read']\npassword_sha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'\n",
        );
        assert_eq!(
            reload.reload().await.unwrap(),
            good(false),
            "users need no restart"
        );
        assert_eq!(changed.load(Relaxed), 6);
    }

    #[tokio::test]
    async fn a_port_that_others_reach_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let write = |text: &str| {
            let text = format!("id = 1\npeers = ['127.0.0.1:7101']\n{text}");
            std::fs::write(&path, text).unwrap();
        };
        let locked = "client_tls = { certificate = 'c', key = 'k', client_ca = 'a' }\n";
        write(&format!("client = '0.0.0.0:6379'\n{locked}"));
        let source = Source::of_file(&path);
        let reload = Reload::new(source.clone(), source.load().unwrap());
        assert!(reload.reload().await.is_ok());
        // These would do for another start.
        for text in [
            "client = '127.0.0.1:6379'\n",
            "insecure = true\nclient = '0.0.0.0:6379'\n",
        ] {
            write(text);
            let words = format!("{:#}", reload.reload().await.unwrap_err());
            assert!(
                words.contains("0.0.0.0:6379") && words.contains("`[users]`"),
                "{words}"
            );
        }
    }
}
