//! The disturbances of channels, several of which may hold at the same time.
use super::super::{group::Group, schedule::Disturbance};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How long a replica may take to accept a fault: longer than any pause.
const OBEY: Duration = Duration::from_mins(3);

/// For each channel the disturbances that hold, by the step that began each. The one of the last step counts.
type Held = BTreeMap<(usize, usize), BTreeMap<usize, Disturbance>>;

/// Sets and removes the disturbances of channels.
pub struct Faults {
    group: Rc<Group>,
    held: RefCell<Held>,
}

impl Faults {
    /// No disturbance.
    pub fn new(group: Rc<Group>) -> Self {
        Faults {
            group,
            held: RefCell::default(),
        }
    }

    /// Begins a disturbance of channels.
    pub async fn begin(
        &self,
        step: usize,
        channels: &[(usize, usize)],
        disturbance: Disturbance,
    ) -> Result<()> {
        for channel in channels {
            let mut held = self.held.borrow_mut();
            held.entry(*channel).or_default().insert(step, disturbance);
        }
        self.set(channels).await
    }

    /// Ends the disturbance of a step.
    pub async fn end(&self, step: usize, channels: &[(usize, usize)]) -> Result<()> {
        for channel in channels {
            if let Some(held) = self.held.borrow_mut().get_mut(channel) {
                held.remove(&step);
            }
        }
        self.set(channels).await
    }

    /// Sets the disturbances of a replica's outgoing channels again after it was started again: it has
    /// forgotten them.
    pub async fn set_again(&self, rank: usize) -> Result<()> {
        let channels: Vec<(usize, usize)> = self.held.borrow().keys().copied().collect();
        let own: Vec<_> = channels
            .into_iter()
            .filter(|(from, _)| *from == rank)
            .collect();
        self.set(&own).await
    }

    async fn set(&self, channels: &[(usize, usize)]) -> Result<()> {
        let orders = channels.iter().map(|channel| self.set_one(*channel));
        futures::future::try_join_all(orders).await.map(|_| ())
    }

    /// Tells a replica the present disturbance of a channel, until it has accepted it. A replica that is down
    /// is told when it is back.
    async fn set_one(&self, (from, to): (usize, usize)) -> Result<()> {
        let begun = Instant::now();
        loop {
            let order = {
                let held = self.held.borrow();
                let last = held.get(&(from, to)).and_then(|held| held.values().last());
                json_of(last)
            };
            let Err(error) = self.group.set_fault(from, to, order).await else {
                return Ok(());
            };
            if !self.group.runs(from) {
                return Ok(());
            }
            if begun.elapsed() > OBEY {
                bail!("p{from} does not obey: {error:#}");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

fn json_of(disturbance: Option<&Disturbance>) -> Value {
    match disturbance {
        None => json!({}),
        Some(Disturbance::Cut) => json!({ "cut": true }),
        Some(Disturbance::Worse {
            loss,
            duplicate,
            delay,
            jitter,
        }) => json!({
            "loss": f64::from(*loss) / 100.0,
            "duplicate": f64::from(*duplicate) / 100.0,
            "delay_ms": delay,
            "jitter_ms": jitter,
        }),
    }
}
