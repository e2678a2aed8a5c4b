//! What one isolated message costs, in lock step.
use super::*;
use quorate_sim::UNIT;

/// The steps after which the oracle reports a crash.
const DETECTION: u64 = 5;

/// One broadcast by `sender` in a world of `n` in which one process crashes as given. Returns the number of
/// messages over the links, and the step at which each process delivers.
fn pay(n: usize, sender: usize, crash: Option<(usize, Crash)>) -> (u64, Vec<Option<u64>>) {
    let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
    world.check(properties::total_order(world.membership(), "tob"));
    let oracle = Oracle::accurate(UNIT * DETECTION as u32);
    let ports = wire_with(
        &world,
        &oracle,
        Consensus::Uniform,
        OrderSettings::default(),
    );
    let payload = Bytes::from_static(b"m");
    world.request(
        p(sender),
        Time::ZERO,
        &ports[sender - 1],
        Broadcast { payload },
    );
    if let Some((rank, crash)) = crash {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    let delivered = |q| {
        let tally = world.tally(q, "tob", "Deliver")?;
        Some(tally.first.as_nanos() / UNIT.as_nanos() as u64)
    };
    let times = world.processes().map(delivered).collect();
    (report.counts.messages, times)
}

/// The steps of a run in which one process crashes, process `first` delivers at `step` and the others a step
/// later.
fn steps(n: usize, crashed: usize, first: usize, step: u64) -> Vec<Option<u64>> {
    let done = |rank| match rank {
        _ if rank == crashed => None,
        _ if rank == first => Some(step),
        _ => Some(step + 1),
    };
    (1..=n).map(done).collect()
}

/// The step at which receivers know that a majority holds a payload: step 1 if two processes are a majority,
/// else step 2.
fn leader_step(n: usize) -> u64 {
    if n <= 3 { 4 } else { 5 }
}

#[test]
fn the_failure_free_cost_is_what_the_header_says() {
    for n in 2..=8 {
        let (size, others) = (n as u64, n as u64 - 1);
        let (messages, times) = pay(n, 1, None);
        assert_eq!(messages, (2 * size + 3) * others, "n = {n}");
        assert_eq!(times, steps(n, 0, 1, leader_step(n)), "n = {n}");
    }
}

#[test]
fn the_cost_with_another_process_dead_is_what_the_header_says() {
    for n in 3..=8 {
        let (size, others) = (n as u64, n as u64 - 1);
        let (messages, times) = pay(n, 1, Some((n, Crash::at(Time::ZERO))));
        assert_eq!(messages, 2 * others * others + 3 * size - 5, "n = {n}");
        assert_eq!(times, steps(n, n, 1, leader_step(n)), "n = {n}");
    }
}

#[test]
fn the_cost_with_the_coordinator_dead_is_what_the_header_says() {
    for n in 3..=8 {
        let (size, others) = (n as u64, n as u64 - 1);
        let (messages, times) = pay(n, 2, Some((1, Crash::at(Time::ZERO))));
        assert_eq!(messages, 2 * others * others + 5 * size - 7, "n = {n}");
        assert_eq!(times, steps(n, 1, 2, DETECTION + 3), "n = {n}");
    }
}

#[test]
fn the_cost_with_the_sender_crashing_after_k_sends_is_what_the_header_says() {
    for n in 3..=8 {
        let (size, others) = (n as u64, n as u64 - 1);
        for k in 1..=others {
            let (messages, times) = pay(n, 1, Some((1, Crash::before_output(k + 1))));
            let expected = k + 2 * others * others + 5 * size - 7;
            assert_eq!(messages, expected, "n = {n}, k = {k}");
            // When all copies of its message are gone, p1's next send would be its proposal.
            let crashed = if k == others { leader_step(n) - 2 } else { 0 };
            let expected = steps(n, 1, 2, crashed + DETECTION + 3);
            assert_eq!(times, expected, "n = {n}, k = {k}");
        }
    }
}
