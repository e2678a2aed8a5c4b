//! What the tests of the algorithms share.
use quorate_abstractions::{
    Subscribe,
    atomic_commit::{Propose, Vote},
    perfect,
};
use quorate_core::{Addr, ProcessId, Time};
pub(crate) use quorate_sim::testing::{Latencies, p};
use quorate_sim::{UNIT, World, testing};

/// The time this many steps and a half after the start: between two steps.
pub(crate) fn after(steps: u32) -> Time {
    Time::ZERO + UNIT * steps + UNIT / 2
}

/// The report of each crash takes so many steps.
pub(crate) fn reported_after(
    steps: u32,
) -> impl Fn(&World, ProcessId) -> Subscribe<perfect::Crash> {
    move |world, q| world.perfect(q, UNIT * steps)
}

/// The step at which each process decided first.
pub(crate) fn each_steps(world: &World) -> Vec<Option<u64>> {
    let decided = |q| {
        let tally = world.tally(q, "commit", "Decide")?;
        Some(tally.first.as_nanos() / UNIT.as_nanos() as u64)
    };
    world.processes().map(decided).collect()
}

/// Makes these processes vote in instance 1 at the start, from p1 on.
pub(crate) fn vote(world: &World, ports: &[Addr<Propose>], votes: &[Vote]) {
    for ((q, port), vote) in world.processes().zip(ports).zip(votes) {
        let (instance, vote) = (1, *vote);
        world.request(q, Time::ZERO, port, Propose { instance, vote });
    }
}

/// [Full of faults](testing::turbulent): all but one may crash.
pub(crate) fn turbulent(seed: u64) -> World {
    testing::turbulent(seed, |world| world.membership().n() - 1, 3)
}

/// Votes in instances 1 to 3 at different times, of which one in eight is no.
pub(crate) fn vote_some(world: &World, ports: &[Addr<Propose>], seed: u64) {
    for (rank, port) in (1..).zip(ports) {
        for instance in 1..=3_u64 {
            let says_no = (seed / 3 + 5 * rank as u64 + 7 * instance).is_multiple_of(8);
            let vote = if says_no { Vote::No } else { Vote::Yes };
            let time = Time::ZERO + UNIT * ((seed as u32 + rank as u32) % 5 * instance as u32);
            world.request(p(rank), time, port, Propose { instance, vote });
        }
    }
}
