//! Every schedule at small size: n processes, of which the first so many broadcast once, on ideal
//! links and oracles, with every crash that the model allows, between steps and inside them, and
//! every loss that a crash excuses.
//!
//! To add an algorithm: a constant of type [`Subject`], and a line a size with how many classes of
//! equivalent schedules there are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use quorate_abstractions::{reliable, uniform};
use quorate_catalogue::{stack, twins};
use quorate_core::{Addr, Membership, ProcessId, Time};
use quorate_sim::{Exhaustive, Timed, World, golden, properties};

/// What is searched: how it is wired at a process, and what it promises.
struct Subject {
    wire: fn(&World, ProcessId) -> Addr<Bytes>,
    properties: fn(&Membership, &str) -> properties::Properties,
    module: &'static str,
}

const EAGER: Subject = Subject {
    wire: |world, p| {
        let door = stack::reliable(&world.host(p), &world.links(p), world.application(p));
        door.with(|payload| reliable::Broadcast { payload })
    },
    properties: properties::reliable,
    module: "reliable",
};

const MAJORITY_ACK: Subject = Subject {
    wire: |world, p| {
        let door = stack::uniform(&world.host(p), &world.links(p), world.application(p));
        door.with(|payload| uniform::Broadcast { payload })
    },
    properties: properties::uniform,
    module: "uniform",
};

/// The broken twin, which delivers on its own acknowledgement.
const ON_ONE_ACK: Subject = Subject {
    wire: |world, p| {
        let links = world.links(p);
        let door = twins::uniform_on_one_ack(&world.host(p), &links, world.application(p));
        door.with(|payload| uniform::Broadcast { payload })
    },
    ..MAJORITY_ACK
};

impl Subject {
    fn world(&self, n: usize, broadcasts: usize) -> World {
        let world = World::new(n, 1, Timed::lock_step()).unwrap();
        let doors: Vec<_> = world.processes().map(|p| (self.wire)(&world, p)).collect();
        for (p, door) in world.processes().zip(&doors).take(broadcasts) {
            world.request(p, Time::ZERO, door, Bytes::from_static(b"m"));
        }
        world.check((self.properties)(world.membership(), self.module));
        world
    }

    /// Every schedule of `n` processes with so many broadcasts and crashes is followed, nothing is
    /// violated, and there are so many classes of schedules.
    #[track_caller]
    fn holds(&self, n: usize, broadcasts: usize, crashes: usize, classes: u64) {
        let search = Exhaustive::new().crashes(crashes);
        let all = search.explore(|| self.world(n, broadcasts));
        all.assert_all_hold();
        assert_eq!(all.executions, classes, "{all}");
    }
}

#[test]
fn eager_reliable_broadcast_holds_in_every_schedule() {
    EAGER.holds(2, 1, 1, 12);
    EAGER.holds(2, 2, 0, 7);
    EAGER.holds(2, 2, 1, 113);
    EAGER.holds(3, 1, 1, 145);
}

#[test]
fn majority_ack_uniform_broadcast_holds_in_every_schedule() {
    MAJORITY_ACK.holds(2, 1, 0, 1);
    MAJORITY_ACK.holds(2, 2, 0, 7);
    MAJORITY_ACK.holds(3, 1, 1, 139);
}

#[test]
fn uniform_broadcast_on_one_acknowledgement_is_caught_and_its_schedule_kept() {
    let build = || ON_ONE_ACK.world(3, 1);
    let found = Exhaustive::new().crashes(1).explore(build).found.unwrap();
    assert_eq!(found.violation.tag, "URB4");
    let short = found.shrunk(build);
    let page = golden::page(&short, build()).unwrap();
    golden::check("testdata/uniform_on_one_ack.txt", &page);
    golden::play("testdata/uniform_on_one_ack.txt", build());
}
