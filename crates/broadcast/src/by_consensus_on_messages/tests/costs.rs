//! What one isolated message costs, in lock step.
use super::*;

/// The number of steps after which a crash is reported.
const D: u64 = DETECTION.as_nanos() as u64 / UNIT.as_nanos() as u64;

/// The fault that happens during the broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Befalls {
    Nothing,
    LastIsDead,
    FirstIsDead,
    /// The sender, p1, crashes after this many copies of its message.
    SenderCrashesAfter(u64),
}

impl Befalls {
    fn crash(self, n: usize) -> Option<(usize, Crash)> {
        match self {
            Befalls::Nothing => None,
            Befalls::LastIsDead => Some((n, Crash::at(Time::ZERO))),
            Befalls::FirstIsDead => Some((1, Crash::at(Time::ZERO))),
            Befalls::SenderCrashesAfter(k) => Some((1, Crash::before_output(k + 1))),
        }
    }

    fn sender(self) -> usize {
        if self == Befalls::FirstIsDead { 2 } else { 1 }
    }

    /// The cost of reliable broadcast, as the header states it.
    fn of_reliable(self, reliable: Reliable, n: u64) -> u64 {
        match (self, reliable) {
            (Befalls::Nothing, Reliable::Eager) => n * (n - 1),
            (Befalls::SenderCrashesAfter(k), Reliable::Eager) => k + (n - 1) * (n - 1),
            (_, Reliable::Eager) => (n - 1) * (n - 1),
            (Befalls::SenderCrashesAfter(k), Reliable::Lazy) => k * n,
            (_, Reliable::Lazy) => n - 1,
        }
    }

    /// The cost of consensus, as the header states it.
    fn of_consensus(self, consensus: Consensus, n: u64) -> u64 {
        match (self, consensus) {
            (Befalls::Nothing, Consensus::Rotating) => (n + 3) * (n - 1),
            (Befalls::LastIsDead, Consensus::Rotating) => 3 * n - 5 + (n - 1) * (n - 1),
            (_, Consensus::Rotating) => 5 * n - 7 + (n - 1) * (n - 1),
            (Befalls::Nothing, Consensus::Hierarchical) => n * (n - 1),
            (_, Consensus::Hierarchical) => (n - 1) * (n - 1),
        }
    }

    /// The step at which the process of this rank delivers, if the first is not dead, as the header states
    /// it.
    fn step(self, layers: (Reliable, Consensus), n: usize, rank: usize) -> Option<u64> {
        let i = rank as u64;
        let follows = |leader| u64::from(rank != leader);
        match (self, layers.1) {
            (Befalls::LastIsDead, _) if rank == n => None,
            (Befalls::FirstIsDead | Befalls::SenderCrashesAfter(_), _) if rank == 1 => None,
            (Befalls::Nothing | Befalls::LastIsDead, Consensus::Rotating) => Some(4 + follows(1)),
            (Befalls::Nothing | Befalls::LastIsDead, Consensus::Hierarchical) => Some(i - 1),
            (Befalls::FirstIsDead, Consensus::Rotating) => Some(D + 3 + follows(2)),
            (Befalls::SenderCrashesAfter(k), Consensus::Rotating) => {
                let holders = k as usize;
                let is_late = layers.0 == Reliable::Lazy && holders < n / 2 + 1;
                // All copies are gone: p1's next send would be its proposal, at step 2.
                let crashed = if holders == n - 1 { 2 } else { 0 };
                Some(crashed + D + 3 + follows(2) + u64::from(is_late))
            }
            (Befalls::FirstIsDead | Befalls::SenderCrashesAfter(_), Consensus::Hierarchical) => {
                Some(D + i - 2)
            }
        }
    }
}

/// One broadcast in a world of `n` costs what the header says, over these layers.
#[track_caller]
fn assert_costs(n: usize, layers: (Reliable, Consensus), befalls: Befalls) {
    let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
    world.check(regular(&world));
    let oracle = Oracle::accurate(DETECTION);
    let ports = wire(&world, &oracle, layers, ProposalSettings::default());
    let sender = befalls.sender();
    world.request(p(sender), Time::ZERO, &ports[sender - 1], request("m"));
    if let Some((rank, crash)) = befalls.crash(n) {
        world.crash(p(rank), crash);
    }
    let report = world.run();
    report.assert_all_hold();
    let what = format!("n = {n}, {layers:?}, {befalls:?}");
    let size = n as u64;
    let expected = befalls.of_reliable(layers.0, size) + befalls.of_consensus(layers.1, size);
    assert_eq!(report.counts.messages, expected, "{what}");
    for q in world.processes() {
        let tally = world.tally(q, "tob", "Deliver");
        let step = tally.map(|tally| tally.first.as_nanos() / UNIT.as_nanos() as u64);
        assert_eq!(step, befalls.step(layers, n, q.rank()), "{q}: {what}");
    }
}

/// The same for every size that allows it, over every pair of layers.
#[track_caller]
fn assert_all_cost(befall: impl Fn(usize) -> Vec<Befalls>) {
    for n in 2..=8 {
        for reliable in [Reliable::Eager, Reliable::Lazy] {
            for consensus in [Consensus::Rotating, Consensus::Hierarchical] {
                for befalls in befall(n) {
                    let has_majority = befalls == Befalls::Nothing || n > 2;
                    if has_majority || consensus == Consensus::Hierarchical {
                        assert_costs(n, (reliable, consensus), befalls);
                    }
                }
            }
        }
    }
}

#[test]
fn the_failure_free_cost_is_what_the_header_says() {
    assert_all_cost(|_| vec![Befalls::Nothing]);
}

#[test]
fn the_cost_with_another_process_dead_is_what_the_header_says() {
    assert_all_cost(|_| vec![Befalls::LastIsDead]);
}

#[test]
fn the_cost_with_the_coordinator_dead_is_what_the_header_says() {
    assert_all_cost(|_| vec![Befalls::FirstIsDead]);
}

#[test]
fn the_cost_with_the_sender_crashing_after_k_sends_is_what_the_header_says() {
    assert_all_cost(|n| (1..n as u64).map(Befalls::SenderCrashesAfter).collect());
}
