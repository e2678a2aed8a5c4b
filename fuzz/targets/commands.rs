//! The commands of the replicated store: whatever is decoded can be applied.
#![no_main]
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use quorate_services::kv::{Command, Store};

fuzz_target!(|data: &[u8]| {
    let payload = Bytes::copy_from_slice(data);
    if let Ok(commands) = Command::decode_batch(payload) {
        let mut store = Store::default();
        for command in commands {
            let _ = store.apply(&command);
        }
    }
});
