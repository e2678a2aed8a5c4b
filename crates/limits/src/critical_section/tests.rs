//! The horns, each erratum as an execution, and that what contradicts the result is noticed.
use super::{
    checkers::{
        Whom, critical_section_is_safe, everybody_enters, service_is_safe, writes_are_in_order,
    },
    world::{Alarm, Token},
    *,
};

const LOOK: Setting = Setting {
    job: Job::Look,
    fence: Fence::Nothing,
    survives: true,
};

fn of(job: Job, fence: Fence) -> Setting {
    Setting { job, fence, ..LOOK }
}

/// A stops before what follows its first request.
fn stops(kind: Stop) -> Fault {
    let (client, point) = (Client::A, Point::Before(1));
    Fault {
        client,
        point,
        kind,
    }
}

/// A stalls there.
fn stalls(time: u64) -> Fault {
    stops(Stop::Stall(time))
}

fn horns(history: &History) -> Vec<Horn> {
    broken(history).into_iter().collect()
}

/// In microseconds.
const LENGTHS: [u64; 9] = [
    30,
    31,
    100,
    999,
    1_000,
    123_456,
    60_000_000,
    86_400_000_000,
    31_536_000_000_000,
];

#[test]
fn h2_each_scenario_breaks_its_horns_and_no_other() {
    for lease in [1, 2, 3, 10, 100, 1000, 60_000, 86_400_000] {
        let shown = show(lease);
        assert_eq!(shown.unexpected(), [""; 0], "{}", shown.text());
    }
    let shown = show(100);
    assert!(shown.svg().contains("A stalls for 100."), "{}", shown.svg());
}

#[test]
fn h2_a_lock_that_only_its_holder_frees_is_not_live() {
    for kind in [Stop::Crash, Stop::StallForEver] {
        let fault = Some(stops(kind));
        let history = run(&mut NonPreemptive::default(), LOOK, fault);
        assert_eq!(horns(&history), [Horn::Liveness]);
    }
    // Where A goes on one day, it is.
    let history = run(&mut NonPreemptive::default(), LOOK, Some(stalls(1_000_000)));
    assert_eq!(horns(&history), []);
}

#[test]
fn h2_a_stall_of_t_plus_one_breaks_a_lease_of_any_t() {
    for length in LENGTHS {
        let crash = Some(stops(Stop::Crash));
        let crashed = run(&mut Lease::new(length), LOOK, crash);
        assert!(!horns(&crashed).contains(&Horn::Safety), "{length}");
        let stalled = run(&mut Lease::new(length), LOOK, Some(stalls(length + 1)));
        assert!(horns(&stalled).contains(&Horn::Safety), "{length}");
        let went_on = stalled
            .when(|what| matches!(what, Happened::GoesOn(_)))
            .unwrap();
        assert_eq!(crashed.view(went_on), stalled.view(went_on), "{length}");
        assert!(!stalled.view(went_on).is_empty());
    }
}

#[test]
fn a_lease_longer_than_every_stall_is_safe() {
    // What a bound on stalls would give: the synchronous model.
    for length in [1_000, 100_000] {
        for stall in [0, 1, 500, length - 100] {
            let history = run(&mut Lease::new(length), LOOK, Some(stalls(stall)));
            assert_eq!(horns(&history), [], "{length}, {stall}");
        }
    }
}

#[test]
fn h2_e1_liveness_for_faulty_clients_is_broken_whatever_the_service() {
    // B crashes while it waits. It never enters, and no service can help it.
    let fault = Fault {
        client: Client::B,
        point: Point::Waiting,
        kind: Stop::Crash,
    };
    let services: [Box<dyn LockService>; 3] = [
        Box::new(NonPreemptive::default()),
        Box::new(Lease::new(1000)),
        Box::new(ForcedStop::new(1000)),
    ];
    for mut service in services {
        let history = run(&mut *service, LOOK, Some(fault));
        assert!(!everybody_enters(&history, Whom::All));
        assert!(everybody_enters(&history, Whom::Correct));
        assert_eq!(horns(&history), []);
    }
}

#[test]
fn h2_e2_a_faulty_client_need_never_be_out_of_its_critical_section() {
    let fault = Some(stops(Stop::StallForEver));
    let history = run(&mut Lease::new(1000), LOOK, fault);
    let exits = history.when(|what| *what == Happened::Exits(Client::A));
    assert_eq!((exits, horns(&history)), (None, vec![Horn::Safety]));
}

#[test]
fn h2_e3_the_lock_service_is_safe_while_the_critical_section_is_not() {
    let history = run(&mut Lease::new(1000), LOOK, Some(stalls(1001)));
    assert!(service_is_safe(&history));
    assert!(!critical_section_is_safe(&history));
}

/// Grants the lock to whoever asks.
struct Generous(u64);

impl LockService for Generous {
    fn upon(&mut self, _: u64, event: Event) -> Vec<Order> {
        let Event::Acquire(client) = event else {
            return Vec::new();
        };
        self.0 += 1;
        let (token, until) = (Token(self.0), None);
        vec![Order::Grant {
            client,
            token,
            until,
        }]
    }
}

/// Grants the lock to nobody.
struct Silent;

impl LockService for Silent {
    fn upon(&mut self, _: u64, _: Event) -> Vec<Order> {
        Vec::new()
    }
}

/// A lease that is told what it could not know: in which world it is.
struct Told {
    lease: Lease,
    world: u32,
}

impl LockService for Told {
    fn upon(&mut self, now: u64, event: Event) -> Vec<Order> {
        let mut orders = self.lease.upon(now, event);
        if let (Event::Acquire(client), 2) = (event, self.world) {
            let (token, after) = (Token(0), 1);
            let alarm = Alarm { client, token };
            orders.push(Order::Wait { alarm, after });
        }
        orders
    }
}

/// Grants the lock to B before A, and then to A.
#[derive(Default)]
struct BFirst(Option<Token>);

impl LockService for BFirst {
    fn upon(&mut self, _: u64, event: Event) -> Vec<Order> {
        let (client, until) = match event {
            Event::Acquire(Client::B) => (Client::B, None),
            Event::Release(Client::B, _) => (Client::A, None),
            _ => return Vec::new(),
        };
        let token = Token(self.0.map_or(1, |last| last.0 + 1));
        self.0 = Some(token);
        vec![Order::Grant {
            client,
            token,
            until,
        }]
    }
}

fn difference(service: Start<'_>, stated: &[Horn]) -> Option<String> {
    run_both(&scenario("it", service, LOOK, stated)).unexpected()
}

#[test]
fn h2_e3_a_service_that_grants_twice_breaks_a_horn_of_its_own() {
    let generous: Start<'_> = &|| Box::new(Generous(0));
    let found = run_both(&scenario("it", generous, LOOK, &[Horn::Safety]));
    assert!(found.broken().contains(&Horn::Service));
    assert!(found.unexpected().is_some());
}

#[test]
fn another_horn_and_no_horn_are_noticed() {
    let never: Start<'_> = &|| Box::new(NonPreemptive::default());
    let leased: Start<'_> = &|| Box::new(Lease::new(1000));
    let forced: Start<'_> = &|| Box::new(ForcedStop::new(1000));
    let silent: Start<'_> = &|| Box::new(Silent);
    let safety: &[Horn] = &[Horn::Safety];
    let b_first: Start<'_> = &|| Box::new(BFirst::default());
    assert_eq!(
        difference(b_first, safety).unwrap(),
        "it: {Service}, not {Safety}"
    );
    assert_eq!(difference(leased, safety), None);
    assert_eq!(
        difference(never, safety).unwrap(),
        "it: {Liveness}, not {Safety}"
    );
    assert_eq!(
        difference(silent, safety).unwrap(),
        "it: {Liveness}, not {Safety}"
    );
    assert_eq!(difference(forced, safety).unwrap(), "it: no horn broke");
}

#[test]
fn a_service_that_can_tell_a_stall_from_a_crash_is_noticed() {
    let started = std::cell::Cell::new(0);
    let told: Start<'_> = &|| {
        started.set(started.get() + 1);
        let (lease, world) = (Lease::new(1000), started.get());
        Box::new(Told { lease, world })
    };
    let unexpected = difference(told, &[Horn::Safety]);
    assert_eq!(
        unexpected.unwrap(),
        "it: the service can tell a stall from a crash"
    );
}

#[test]
fn h2_e4_consensus_needs_safety_liveness_and_a_memory_that_survives() {
    let decide = of(Job::Decide, Fence::Nothing);
    let forgets = Setting {
        survives: false,
        ..decide
    };
    let before = |request| {
        Some(Fault {
            client: Client::A,
            point: Point::Before(request),
            kind: Stop::Crash,
        })
    };
    let forced = || ForcedStop::new(1000);
    for fault in [None, before(0), before(1), before(2), Some(stalls(5000))] {
        assert_eq!(horns(&run(&mut forced(), decide, fault)), [], "{fault:?}");
    }
    // Without CS1 two decide differently, without CS2 one never decides.
    let leased = run(&mut Lease::new(1000), decide, Some(stalls(1141)));
    assert_eq!(horns(&leased), [Horn::Safety, Horn::Agreement]);
    let waits = run(&mut NonPreemptive::default(), decide, before(1));
    assert_eq!(horns(&waits), [Horn::Liveness, Horn::Termination]);
    // What A has decided is lost with the memory.
    let lost = run(&mut forced(), forgets, before(2));
    assert_eq!(horns(&lost), [Horn::Agreement]);
}

#[test]
fn h2_a_message_outside_cannot_be_called_back() {
    for fence in [Fence::Nothing, Fence::Writes, Fence::ReadsAndWrites] {
        let tell = of(Job::TellOnce, fence);
        let history = run(&mut Lease::new(1000), tell, Some(stalls(5000)));
        assert_eq!(horns(&history), [Horn::Safety, Horn::Once], "{fence:?}");
        assert_eq!(
            horns(&run(&mut ForcedStop::new(1000), tell, Some(stalls(5000)))),
            []
        );
    }
}

#[test]
fn h2_e5_tokens_on_writes_alone_lose_an_update() {
    // A goes on between the read of B and its write.
    let found = |fence| {
        let leased: Start<'_> = &|| Box::new(Lease::new(1000));
        run_both(&scenario("it", leased, of(Job::Count, fence), &[]))
    };
    let writes = found(Fence::Writes);
    assert!(writes.broken().contains(&Horn::Updates));
    assert!(
        writes_are_in_order(&writes.stalled),
        "tokens are in order, and it is lost all the same"
    );
    let refused = |what: &Happened| {
        matches!(
            what,
            Happened::Takes(_, _, Request::Write(_), world::Reply::Refused)
        )
    };
    assert!(writes.stalled.when(refused).is_none());

    let both = found(Fence::ReadsAndWrites);
    assert_eq!(both.broken(), [Horn::Safety].into());
    assert!(writes_are_in_order(&both.stalled));
    assert!(
        both.stalled.when(refused).is_some(),
        "the late write of A is refused"
    );
}

#[test]
fn without_a_fence_writes_are_out_of_order() {
    let history = run(
        &mut Lease::new(1000),
        of(Job::Count, Fence::Nothing),
        Some(stalls(5000)),
    );
    assert!(!writes_are_in_order(&history));
}

#[test]
fn nothing_breaks_where_nobody_fails() {
    for job in [Job::Look, Job::Count, Job::Decide, Job::TellOnce] {
        for fence in [Fence::Nothing, Fence::Writes, Fence::ReadsAndWrites] {
            let services: [Box<dyn LockService>; 3] = [
                Box::new(NonPreemptive::default()),
                Box::new(Lease::new(1000)),
                Box::new(ForcedStop::new(1000)),
            ];
            for mut service in services {
                let history = run(&mut *service, of(job, fence), None);
                assert_eq!(horns(&history), [], "{job:?}, {fence:?}");
            }
        }
    }
}
