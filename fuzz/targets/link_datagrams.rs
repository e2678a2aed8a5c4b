//! Datagrams for a perfect link in the simulator, from scratch: nothing is delivered of them, and nothing is fatal.
#![no_main]
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use quorate_abstractions::{
    fair_loss,
    link::{Deliver, Links, SendRequest, To},
};
use quorate_core::Time;
use quorate_links::perfect::{AdmissionRule, LinkSettings, PerfectLinks};
use quorate_sim::{Timed, World};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

fuzz_target!(|data: &[u8]| {
    let Ok(mut world) = World::new(2, 1, Timed::lock_step()) else {
        return;
    };
    let delivered = Arc::new(AtomicUsize::new(0));
    let mut lanes = Vec::new();
    for me in world.processes() {
        let host = world.host(me);
        let settings = LinkSettings {
            admission: AdmissionRule::CrashStop,
            ..LinkSettings::default()
        };
        let links = PerfectLinks::new(&host, settings);
        let count = delivered.clone();
        let up = world.application_with(me, move |(): (), _| {
            count.fetch_add(1, Relaxed);
        });
        let up = up.with(|_: Deliver<Bytes>| ());
        lanes.push(links.at("messages").open(up));
        let arrivals = links.arrivals();
        // Not as the first of all: there should be something to disturb.
        let mut rest = data;
        let mut at = 1;
        while let [length, more @ ..] = rest {
            let (bytes, after) = more.split_at(more.len().min(usize::from(*length)));
            rest = after;
            at += 1;
            let arrive = fair_loss::Indication::Arrive {
                bytes: Bytes::copy_from_slice(bytes),
                segment: bytes.len().max(1),
            };
            if !bytes.is_empty() {
                let time = Time::from_nanos(at * 50_000_000);
                world.request(me, time, &arrivals, arrive);
            }
        }
        let below = world.fair_loss(me, links.arrivals());
        if links.start(below).is_err() {
            return;
        }
    }
    let all: Vec<_> = world.processes().collect();
    for (me, lane) in all.iter().zip(&lanes) {
        let message = Bytes::from_static(b"hello");
        let to = To::One(all[1 - me.index()]);
        world.request(*me, Time::ZERO, lane, SendRequest { to, message });
    }
    world.run();
    // Datagrams are not authenticated here, so that a lucky one may exclude a process; none may deliver.
    assert!(delivered.load(Relaxed) <= 2);
});
