//! Wrong rules, each with an execution in which it breaks atomicity and the algorithm does not.
use super::*;
use crate::{snapshot_from_registers::mutant::CollectsOnce, testing::Latencies};

/// The first update that a scan sees lends its view (G4, the double borrow).
struct BorrowsOnce(SnapshotFromRegisters);

impl BorrowsOnce {
    /// The collect, if this read completes it.
    fn completed(&self, read: u64, value: Option<&Bytes>) -> Option<Vec<Held>> {
        let reads = &self.0.reads;
        let p = reads.get(&read).filter(|_| reads.len() == 1)?;
        let mut collected = self.0.pending.as_ref()?.collected.clone();
        if let Some(value) = value {
            collected[p.index()] = Held::decode(value.clone()).unwrap();
        }
        Some(collected)
    }

    /// The view that is borrowed at the end of this read, if any.
    fn borrowed(&self, read: u64, value: Option<&Bytes>) -> Option<View> {
        let collected = self.completed(read, value)?;
        let last = self.0.pending.as_ref()?.last.as_ref()?;
        let mut moved = collected.into_iter().enumerate();
        let moved = moved.find(|(j, held)| held.segment.sequence > last.sequence(*j));
        moved.map(|(_, held)| held.view)
    }
}

impl Algorithm for BorrowsOnce {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let view = match &event {
            Event::Register(register::Indication {
                operation,
                outcome: register::RegisterResponse::Read { value, .. },
                ..
            }) => self.borrowed(*operation, value.as_ref()),
            _ => None,
        };
        match view {
            Some(view) => {
                self.0.reads.clear();
                self.0.upon_scanned(view, ctx);
            }
            None => self.0.upon(event, ctx),
        }
    }
}

/// p2 scans, for its update; p1's update completes; p3 begins to scan, and p2 writes between its collects.
fn lent_by_the_first<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let adversary = Latencies::default().way(2, 1, &[1, 1, 1, 1, 1, 1, 8]);
    let mut world = World::new(3, 1, adversary).unwrap();
    let users = Users::new(&["u", "u", "s"]);
    let ports = wire(&world, LowerLayer::Memory(Kind::Atomic), &users, make);
    users.begin(&world, ports, |q| [5, 0, 10][q.index()]);
    world.run()
}

fn broken(report: &Report) -> Option<&str> {
    report.violation().map(|violation| &violation.tag[..])
}

#[test]
fn g4_a_view_that_is_borrowed_at_the_first_move_breaks_sn2() {
    lent_by_the_first(SnapshotFromRegisters::new).assert_all_hold();
    let make = |host: &SimHost| BorrowsOnce(SnapshotFromRegisters::new(host));
    let report = lent_by_the_first(make);
    assert_eq!(broken(&report), Some("SN2"), "{report}");
}

/// p2 updates, and then p3, while p1 has read p2's segment and not yet p3's.
fn collected_across<A: Algorithm<Event = Event, Effect = Effect>>(
    make: impl Fn(&SimHost) -> A,
) -> Report {
    let adversary = Latencies::default().way(4, 1, &[1, 1, 40]);
    let mut world = World::new(4, 1, adversary).unwrap();
    let users = Users::new(&["", "u", "u", "s"]);
    let ports = wire(&world, LowerLayer::Memory(Kind::Atomic), &users, make);
    users.begin(&world, ports, |q| [0, 3, 15, 1][q.index()]);
    world.run()
}

#[test]
fn g4_a_single_collect_breaks_sn2() {
    collected_across(SnapshotFromRegisters::new).assert_all_hold();
    let make = |host: &SimHost| CollectsOnce(SnapshotFromRegisters::new(host));
    let report = collected_across(make);
    assert_eq!(broken(&report), Some("SN2"), "{report}");
}

/// p1 writes in two halves. Between them p2 sees the write, and p3, which begins when p2 has ended, does not.
fn half_written(kind: Kind) -> Report {
    let adversary = Latencies::default().way(4, 1, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 40]);
    let mut world = World::new(4, 1, adversary).unwrap();
    let users = Users::new(&["", "s", "s", "u"]);
    let ports = wire(
        &world,
        LowerLayer::Memory(kind),
        &users,
        SnapshotFromRegisters::new,
    );
    users.begin(&world, ports, |q| [0, 10, 20, 0][q.index()]);
    world.run()
}

#[test]
fn g4_registers_that_are_only_regular_break_sn2() {
    half_written(Kind::Atomic).assert_all_hold();
    let report = half_written(Kind::Regular);
    assert_eq!(broken(&report), Some("SN2"), "{report}");
}

#[test]
fn scans_that_borrow_are_right_in_every_run() {
    for seed in 0..100 {
        let mut world = World::new(3, seed, quorate_sim::Random::new()).unwrap();
        let users = Users::new(&["uuuuuu", "uuuuuu", "sss"]);
        let below = LowerLayer::Memory(Kind::Atomic);
        let ports = wire(&world, below, &users, SnapshotFromRegisters::new);
        users.begin(&world, ports, |_| 0);
        let report = world.run();
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}
