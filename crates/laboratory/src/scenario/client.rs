//! Clients of shared objects: on each object a process makes one operation after the other.
use super::draw::Draw;
use crate::wiring::{Action, Audience, Objects, Operation};
use bytes::Bytes;
use quorate_core::{Addr, ProcessId};
use quorate_sim::World;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The remaining operations of a process on one object.
struct Client {
    operate: Addr<Operation>,
    /// The operation in flight is the first.
    operations: VecDeque<Operation>,
}

/// The clients of all processes, by process and object.
#[derive(Clone, Default)]
pub(super) struct Clients(Arc<Mutex<BTreeMap<(ProcessId, u64), Client>>>);

impl Clients {
    fn clients(&self) -> MutexGuard<'_, BTreeMap<(ProcessId, u64), Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next operation when one has ended.
    pub(super) fn audience(&self) -> Audience {
        let clients = self.clone();
        Arc::new(move |p, observation, _| {
            if let Some(number) = observation.instance {
                clients.ended(p, number);
            }
        })
    }

    fn ended(&self, p: ProcessId, number: u64) {
        let next = {
            let mut clients = self.clients();
            let mut of_p = clients.range_mut((p, 0)..=(p, u64::MAX));
            let ended = of_p.find(|(_, client)| {
                let first = client.operations.front();
                first.is_some_and(|operation| operation.number == number)
            });
            let Some((_, client)) = ended else { return };
            client.operations.pop_front();
            let next = client.operations.front().cloned();
            next.map(|operation| (client.operate.clone(), operation))
        };
        if let Some((operate, operation)) = next {
            operate.send(operation);
        }
    }

    /// Draws the operations of `p` on the objects: `requests` operations in all, begun at some moment.
    pub(super) fn begin(
        &self,
        world: &World,
        p: ProcessId,
        objects: &Objects,
        requests: u64,
        draw: &mut Draw,
    ) {
        let may_write = objects.writer.is_none_or(|writer| writer == p);
        let mut drawn: BTreeMap<u64, VecDeque<Operation>> = BTreeMap::new();
        for number in 1..=requests {
            let object = 1 + draw.below(objects.count);
            let writes = draw.below(2) == 0;
            let action = match (may_write, objects.readable) {
                (false, false) => continue,
                (true, false) => true,
                (false, true) => false,
                (true, true) => writes,
            };
            let action = if action {
                Action::Write(Bytes::from(format!("{p}.{number}")))
            } else {
                Action::Read
            };
            let operations = drawn.entry(object).or_default();
            if (operations.len() as u64) < objects.most {
                operations.push_back(Operation {
                    number,
                    object,
                    action,
                });
            }
        }
        for (object, operations) in drawn {
            if let Some(first) = operations.front() {
                world.request(p, draw.moment(), &objects.operate, first.clone());
            }
            let client = Client {
                operate: objects.operate.clone(),
                operations,
            };
            self.clients().insert((p, object), client);
        }
    }
}
