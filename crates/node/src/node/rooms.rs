//! Which modules of this process have no room at the moment, and who slows them.
use quorate_abstractions::pressure::{Hindrance, Room};
use quorate_core::Name;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;

/// What the link says of the room of the modules. Clones share it.
#[derive(Clone)]
pub struct Rooms(Arc<watch::Sender<BTreeMap<String, Hindrance>>>);

impl Default for Rooms {
    /// All have room.
    fn default() -> Self {
        Rooms(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl Rooms {
    /// The link tells of a module.
    pub fn upon_room(&self, (module, room): (Name, Room)) {
        self.0.send_modify(|slowed| {
            match room {
                Room::Open => slowed.remove(module.as_str()),
                Room::Full(by) => slowed.insert(module.to_string(), by),
            };
        });
    }

    /// Waits until a module has room.
    pub async fn room_for(&self, module: &str) {
        let mut slowed = self.0.subscribe();
        // The sender lives as long as this.
        let _ = slowed.wait_for(|slowed| !slowed.contains_key(module)).await;
    }

    /// What `/status` says of it.
    pub fn to_json(&self) -> Value {
        let slowed = self.0.borrow();
        let slowed = slowed.iter().map(|(module, by)| {
            json!({
                "module": module,
                "by": by.by.rank(),
                "owed": by.owed,
                "announced": by.announced,
            })
        });
        slowed.collect()
    }
}
