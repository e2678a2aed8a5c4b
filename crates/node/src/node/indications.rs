//! What total order indicates, on its way from the protocol thread to the replica, who may be slow: what
//! waits for it is measured, and beyond a limit nothing more is taken from the other replicas.
use quorate_abstractions::{
    pressure::Backlog,
    reconfigurable::{Indication, Restore},
};
use quorate_core::Addr;
use quorate_runtime::backlog::{AtTheLimit, Meter};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The most bytes that wait for the replica, but for what was under way when that was reached. From half of
/// them on the others are slowed.
pub const LIMIT: usize = 32 << 20;

/// What an indication costs beside its bytes.
const OVERHEAD: usize = 64;

/// What total order indicates, in its order.
pub struct Indications {
    waiting: mpsc::UnboundedReceiver<Indication>,
    meter: Arc<Meter>,
}

/// Where total order indicates, and where that comes out; `link` is told when too much waits.
pub fn channel(link: Addr<Backlog>) -> (Addr<Indication>, Indications) {
    let (up, waiting) = mpsc::unbounded_channel();
    let meter = Arc::new(Meter::new(LIMIT));
    meter.open(link, AtTheLimit::TakeNothing);
    let measured = meter.clone();
    let up = Addr::new(move |indication| {
        measured.grow(cost(&indication));
        // Once the receiver is gone the replica is stopping, and nobody waits for deliveries.
        let _ = up.send(indication);
    });
    (up, Indications { waiting, meter })
}

impl Indications {
    /// Takes up to so many of those that wait; waits for one at least. 0: there will be none.
    pub async fn recv_many(&mut self, into: &mut Vec<Indication>, most: usize) -> usize {
        let taken = self.waiting.recv_many(into, most).await;
        for indication in &into[into.len() - taken..] {
            self.meter.shrink(cost(indication));
        }
        taken
    }
}

impl Drop for Indications {
    fn drop(&mut self) {
        self.meter.end();
    }
}

fn cost(indication: &Indication) -> usize {
    match indication {
        Indication::Deliver(delivery) => {
            let payloads = delivery.payloads.iter();
            payloads.map(|payload| payload.len() + OVERHEAD).sum()
        }
        Indication::Restore(Restore::Chunk(chunk)) => chunk.len() + OVERHEAD,
        Indication::Restore(Restore::Begin | Restore::Whole | Restore::Abandoned)
        | Indication::Configuration(_)
        | Indication::StateWanted { .. } => OVERHEAD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_abstractions::total_order::Deliver;
    use quorate_core::{Incarnation, ProcessId, message::Origin};
    use std::sync::Mutex;

    fn delivery(first: u64, length: usize) -> Indication {
        let origin = Origin {
            process: ProcessId::from_rank(1).unwrap(),
            incarnation: Incarnation(1),
        };
        Indication::Deliver(Deliver {
            origin,
            first,
            payloads: vec![Bytes::from(vec![0; length])],
        })
    }

    #[tokio::test]
    async fn a_replica_that_stands_still_stops_what_comes_and_goes_on_where_it_was() {
        let said: Arc<Mutex<Vec<Backlog>>> = Arc::default();
        let told = said.clone();
        let link = Addr::new(move |backlog| told.lock().unwrap().push(backlog));
        let (up, mut indications) = channel(link);
        let length = LIMIT / 16;
        for first in 1..=16 {
            up.send(delivery(first, length));
        }
        assert_eq!(
            *said.lock().unwrap(),
            [Backlog::Full, Backlog::Over, Backlog::Stuck]
        );
        let mut taken = Vec::new();
        assert_eq!(indications.recv_many(&mut taken, 4).await, 4);
        assert_eq!(said.lock().unwrap().last(), Some(&Backlog::Stuck));
        assert_eq!(indications.recv_many(&mut taken, 5).await, 5);
        assert_eq!(said.lock().unwrap().last(), Some(&Backlog::Full));
        assert_eq!(indications.recv_many(&mut taken, 16).await, 7);
        assert_eq!(said.lock().unwrap().last(), Some(&Backlog::Open));
        assert!((1..=16).map(|first| delivery(first, length)).eq(taken));
    }
}
