//! A star: five processes of which only the hub reaches the others. The hub leads total order, whatever its
//! rank, and no other process disturbs it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_abstractions::{
    Subscribe,
    leader::Trust,
    link::{self, Links},
    total_order::{Broadcast, Deliver},
};
use quorate_broadcast::by_leader::{self, Message};
use quorate_consensus::ballots;
use quorate_core::{
    Addr, Host, ProcessId, Time,
    wire::{self, Wire},
};
use quorate_detectors::{increasing_timeout, lowest_rank};
use quorate_sim::testing::p;
use quorate_sim::{IdealLinks, Timed, World};
use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

const PROCESSES: usize = 5;
/// When the channels between leaves are cut, for good.
const CUT: Time = Time::from_nanos(1_000_000_000);
/// By this time every process knows it.
const SETTLED: Time = Time::from_nanos(3_000_000_000);
const END: Time = Time::from_nanos(63_000_000_000);

/// What happens from [`SETTLED`] on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Tally {
    /// The hub's own deliveries. It broadcasts one message after the other.
    delivered: u64,
    /// Campaigns that any process began.
    campaigns: u64,
}

/// The Ω to use: the present one or, as published, the lowest rank that is not suspected.
type Trusting = fn(&quorate_sim::SimHost, &increasing_timeout::Detector) -> Addr<Addr<Trust>>;

const BUILT: Trusting = |host, detector| lowest_rank::spawn_by_reach(host, &detector.reach);
const PUBLISHED: Trusting = |host, detector| lowest_rank::spawn(host, &detector.suspicions);

/// Links that count the campaigns which begin on their lanes.
#[derive(Clone)]
struct Counting {
    links: IdealLinks,
    tally: Arc<Mutex<Tally>>,
}

impl Links for Counting {
    fn at(&self, segment: &str) -> Self {
        Counting {
            links: self.links.at(segment),
            ..self.clone()
        }
    }

    fn status(&self) -> Subscribe<link::Status> {
        self.links.status()
    }

    fn open<M: Wire>(&self, up: Addr<link::Deliver<M>>) -> Addr<link::SendRequest<M>> {
        let (below, tally) = (self.links.open(up), self.tally.clone());
        Addr::new(
            move |link::SendRequest { to, message }: link::SendRequest<M>| {
                let bytes = wire::encode(&message);
                if let Ok(Message::Ballots {
                    message: ballots::Message::Prepare { .. },
                    ..
                }) = Message::decode(bytes)
                {
                    tally.lock().unwrap().campaigns += 1;
                }
                below.send(link::SendRequest { to, message });
            },
        )
    }
}

/// One minute of a hub that has one message in flight at a time, while the leaves broadcast twice a second.
fn a_minute(hub: ProcessId, star: bool, trusting: Trusting) -> Tally {
    let network = Timed::uniform(Duration::from_millis(5), Duration::from_millis(15));
    let mut world = World::new(PROCESSES, 7, network).unwrap();
    let tally = Arc::<Mutex<Tally>>::default();
    for q in world.processes() {
        let host = world.host(q);
        let heartbeat = |up| world.heartbeat(q, up);
        let settings = increasing_timeout::DetectorSettings::default();
        let detector = increasing_timeout::spawn(&host.at("detector"), settings, heartbeat);
        let leader = trusting(&host.at("leader"), &detector);
        let port = Arc::<OnceLock<Addr<Broadcast>>>::default();
        let (again, counted) = (port.clone(), tally.clone());
        let up = world.application_with(q, move |deliver: Deliver, _| {
            if deliver.origin.process != q || q != hub {
                return;
            }
            counted.lock().unwrap().delivered += deliver.payloads.len() as u64;
            let payload = Bytes::from_static(b"next");
            again.get().unwrap().send(Broadcast { payload });
        });
        let (order, counted) = (host.at("order"), tally.clone());
        let links = world.links(q).at("order");
        let counting = Counting {
            links,
            tally: counted,
        };
        let requests = by_leader::spawn(
            &order,
            by_leader::OrderSettings::default(),
            &counting,
            &leader,
            up,
        );
        assert!(port.set(requests.clone()).is_ok());
        let payload = Bytes::from_static(b"first");
        world.request(q, Time::ZERO, &requests, Broadcast { payload });
        if q != hub {
            for half in 1..120 {
                let payload = Bytes::from_static(b"of a leaf");
                let at = Time::from_nanos(500_000_000 * half);
                world.request(q, at, &requests, Broadcast { payload });
            }
        }
    }
    let leaves = || (1..=PROCESSES).map(p).filter(|q| *q != hub);
    for (q, r) in leaves().flat_map(|q| leaves().map(move |r| (q, r))) {
        if star && q != r {
            world.cut((q, r), CUT, None);
        }
    }
    world.run_until(SETTLED);
    *tally.lock().unwrap() = Tally::default();
    world.run_until(END);
    *tally.lock().unwrap()
}

#[test]
fn the_hub_of_a_star_leads_undisturbed_whatever_its_rank() {
    for hub in (1..=PROCESSES).map(p) {
        let healthy = a_minute(hub, false, BUILT);
        let alone = a_minute(hub, true, BUILT);
        assert_eq!(alone.campaigns, 0, "{hub}");
        assert!(
            10 * alone.delivered >= 8 * healthy.delivered,
            "{hub}: {alone:?} {healthy:?}"
        );
    }
}

#[test]
fn leaves_that_trust_themselves_depose_the_hub_again_and_again() {
    let disturbed = a_minute(p(3), true, PUBLISHED);
    assert!(disturbed.campaigns > 20, "{disturbed:?}");
}
