//! What the tests of the two majority-ack broadcasts share.
use super::*;
use quorate_abstractions::uniform::Broadcast;
use quorate_sim::{properties, testing::LOSSES};

/// How a uniform broadcast by acknowledgements starts at a process: the mutant that delivers once so many processes
/// hold a message, or the algorithm.
#[derive(Clone, Copy)]
pub(crate) struct ByAcknowledgements(
    pub(crate) fn(&World, ProcessId, Option<usize>) -> Addr<Broadcast>,
);

impl ByAcknowledgements {
    fn wire(self, world: &World, quorum: Option<usize>) -> Vec<Addr<Broadcast>> {
        world.check(properties::uniform(world.membership(), "urb"));
        let processes = world.processes();
        processes.map(|q| (self.0)(world, q, quorum)).collect()
    }

    /// One broadcast by p1 in a world of `n` in which this befalls one process.
    pub(crate) fn run(
        self,
        n: usize,
        quorum: Option<usize>,
        crash: Option<(usize, Crash)>,
    ) -> Report {
        let mut world = World::new(n, 5, Timed::lock_step()).unwrap();
        let ports = self.wire(&world, quorum);
        let payload = Bytes::from_static(b"m");
        world.request(p(1), Time::ZERO, &ports[0], Broadcast { payload });
        if let Some((rank, crash)) = crash {
            world.crash(p(rank), crash);
        }
        world.run()
    }

    pub(crate) fn assert_holds_in_every_schedule(self) {
        let every = |n, crashes, senders: &[usize]| {
            let search = Exhaustive::new().crashes(crashes);
            let wire = |world: &World| self.wire(world, None);
            let all = explore(&search, n, senders, wire, |payload| Broadcast { payload });
            all.assert_all_hold();
            all.executions
        };
        assert_eq!(every(2, 0, &[1, 2]), 7);
        assert_eq!(every(3, 1, &[1]), 139);
    }

    pub(crate) fn assert_holds_whoever_crashes(self) {
        for seed in 0..1000 {
            let mut world = turbulent_world(seed, minority);
            let ports = self.wire(&world, None);
            request_some(&world, &ports, |payload| Broadcast { payload });
            world.run().assert_all_hold();
        }
    }

    pub(crate) fn assert_holds_wherever_the_sender_crashes(self) {
        for n in 3..=7 {
            for k in 1..2 * n as u64 {
                for lose in LOSSES {
                    let crash = Crash::before_output(k).losing(lose);
                    self.run(n, None, Some((1, crash))).assert_all_hold();
                }
            }
        }
    }

    pub(crate) fn assert_one_acknowledgement_is_too_few(self) {
        // p1 has sent to both others (outputs 1 and 2) and delivers (3); it crashes before anything
        // else, and its copies are lost with it.
        let crash = Crash::at(Time::from_nanos(1)).losing(Lose::Everything);
        let broken = self.run(3, Some(1), Some((1, crash)));
        assert_violates(&broken, "URB4");
        self.run(3, Some(2), Some((1, crash))).assert_all_hold();
    }

    pub(crate) fn assert_costs_with_a_crash(self) {
        for n in 3..=8_usize {
            let others = n as u64 - 1;
            let dead = self.run(n, None, Some((n, Crash::at(Time::ZERO))));
            dead.assert_all_hold();
            let messages = dead.counts.messages;
            assert_eq!(messages, others * others, "another is dead, n = {n}");
            for k in 1..=others {
                let cut_short = self.run(n, None, Some((1, Crash::before_output(k + 1))));
                cut_short.assert_all_hold();
                let messages = cut_short.counts.messages;
                assert_eq!(messages, k + others * others, "n = {n}, k = {k}");
            }
        }
    }
}
