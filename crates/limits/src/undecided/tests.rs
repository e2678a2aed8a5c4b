//! No deterministic algorithm decides in every asynchronous run: a fair adversary that chooses what ◇P says holds
//! the rotating coordinator undecided for as long as it likes. When it stops, the same run decides.
use super::*;
use quorate_abstractions::consensus::Decide;
use quorate_sim::Verdict;

const SIZES: [(usize, u32); 7] = [(2, 1), (3, 1), (4, 1), (5, 1), (3, 4), (4, 4), (5, 4)];

fn size((processes, bound): (usize, u32), seed: u64, rounds: u64) -> Size {
    Size {
        processes,
        seed,
        bound,
        rounds,
    }
}

#[test]
fn a_fair_adversary_holds_the_rotating_coordinator_undecided_as_long_as_it_likes() {
    for rounds in [5, 50, 500] {
        for sizes in SIZES {
            for seed in 0..4 {
                let size = size(sizes, seed, rounds);
                let outcome = hold(&Rotating, size).unwrap();
                let [held, end] = &outcome.reports;
                assert_eq!(outcome.foiled, rounds, "{size:?}");
                assert!(outcome.round > rounds, "{size:?}: a round is foiled once");
                assert!(held.violation().is_none(), "{size:?}: {held}");
                assert_eq!(held.verdict("UC4"), Some(&Verdict::Unknown), "{size:?}");
                assert_eq!(outcome.broken(), [Horn::Termination], "{size:?}");
                assert!(outcome.is_fair(), "{size:?}: {:?}", outcome.slowest());
                assert!(outcome.decides_in_the_end(), "{size:?}: {end}");
            }
        }
    }
}

#[test]
fn h3_e5_with_coins_all_decide_under_the_same_latencies() {
    for sizes in SIZES {
        for seed in 0..100 {
            let size = size(sizes, seed, 5);
            let outcome = hold(&Tossing, size).unwrap();
            assert!(
                outcome.decides_in_the_end(),
                "{size:?}: {}",
                outcome.reports[1]
            );
            assert_eq!((outcome.broken(), outcome.foiled), (vec![], 0), "{size:?}");
        }
    }
}

#[test]
fn what_is_shown_is_what_is_stated() {
    let shown = show(&Rotating, &Tossing, size((3, 4), 1, 50)).unwrap();
    assert_eq!(shown.unexpected(), [""; 0], "{}", shown.text());
    assert!(shown.svg().contains("held undecided for 2 rounds"));
}

#[test]
fn consensus_that_is_not_held_is_a_failure() {
    let shown = show(&Tossing, &Tossing, size((3, 1), 1, 5)).unwrap();
    assert_eq!(shown.unexpected(), ["tossing coins: no horn broke"]);
}

/// Everybody decides what it proposes.
struct Alone;

impl Candidate for Alone {
    fn name(&self) -> &'static str {
        "each for itself"
    }

    fn value(&self, q: ProcessId) -> Bytes {
        Rotating.value(q)
    }

    fn wire(&self, world: &World, q: ProcessId, detector: Detector, _: Notify) -> Addr<Propose> {
        let host = world.host(q).at("consensus");
        let _ = detector;
        alone::spawn(&host, world.application::<Decide>(q))
    }
}

mod alone {
    use quorate_abstractions::consensus::{self, Decide, Propose};
    use quorate_core::{Algorithm, Ctx, ports};

    /// Decides at once.
    pub struct Decides;

    ports! {
        offers consensus::Port => Propose -> Decide;

        /// Starts it.
        pub fn spawn(host) = Decides;
    }

    impl Algorithm for Decides {
        type Event = Event;
        type Effect = Effect;

        fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
            let Event::Propose(Propose { instance, value }) = event;
            ctx.trigger(Effect::Decide(Decide { instance, value }));
        }
    }
}

#[test]
fn another_horn_is_noticed() {
    let shown = show(&Alone, &Tossing, size((3, 1), 1, 5)).unwrap();
    assert_eq!(shown.held.broken(), [Horn::Safety]);
    let unexpected = shown.unexpected();
    assert_eq!(
        unexpected[0],
        "each for itself: [Safety], not termination alone"
    );
}
