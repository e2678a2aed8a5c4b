//! Rules as they must not be, each with the execution that breaks atomicity, which the algorithm
//! survives.
use super::*;
use crate::testing::Script;

/// Which rule is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Corrected,
    /// The first update that a scan sees lends its view (G4, the double borrow).
    BorrowsOnce,
    /// One collect does.
    CollectsOnce,
}

struct Ruled(Rule, SnapshotFromRegisters);

impl Ruled {
    fn by(rule: Rule) -> impl Fn(&SimHost) -> Self {
        move |host| Ruled(rule, SnapshotFromRegisters::new(host))
    }

    /// The collect that this read completes, if it does.
    fn completed(&self, read: u64, value: Option<&Bytes>) -> Option<Vec<Held>> {
        let p = self
            .1
            .reads
            .get(&read)
            .filter(|_| self.1.reads.len() == 1)?;
        let mut collected = self.1.pending.as_ref()?.collected.clone();
        if let Some(value) = value {
            collected[p.index()] = Held::decode(value.clone()).unwrap();
        }
        Some(collected)
    }
}

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let Event::Register(register::Indication {
            operation,
            outcome: register::Outcome::Read { value, .. },
            ..
        }) = &event
        else {
            return self.1.upon(event, ctx);
        };
        let (n, completed) = (
            self.1.processes.n(),
            self.completed(*operation, value.as_ref()),
        );
        let last = self
            .1
            .pending
            .as_ref()
            .and_then(|pending| pending.last.clone());
        let view = match (self.0, completed, last) {
            (Rule::CollectsOnce, Some(collected), _) => Some(Vector::new(collected).view(n)),
            (Rule::BorrowsOnce, Some(collected), Some(last)) => {
                let mut moved = collected.into_iter().enumerate();
                let moved = moved.find(|(j, held)| held.segment.sequence > last.sequence(*j));
                moved.map(|(_, held)| held.view)
            }
            _ => None,
        };
        match view {
            Some(view) => {
                self.1.reads.clear();
                self.1.upon_scanned(view, ctx);
            }
            None => self.1.upon(event, ctx),
        }
    }
}

/// p2 scans, for its update; p1's update completes; p3 begins to scan, and p2 writes between its collects.
fn lent_by_the_first(rule: Rule) -> Report {
    let adversary = Script::default().way(2, 1, &[1, 1, 1, 1, 1, 1, 8]);
    let mut world = World::new(3, 1, adversary).unwrap();
    let users = Users::new(&["u", "u", "s"]);
    let doors = wire(&world, Below::Memory(Kind::Atomic), &users, Ruled::by(rule));
    users.begin(&world, doors, |q| [5, 0, 10][q.index()]);
    world.run()
}

fn broken(report: &Report) -> Option<&str> {
    report.violation().map(|violation| &violation.tag[..])
}

#[test]
fn g4_a_view_that_is_borrowed_at_the_first_move_breaks_sn2() {
    lent_by_the_first(Rule::Corrected).assert_all_hold();
    let report = lent_by_the_first(Rule::BorrowsOnce);
    assert_eq!(broken(&report), Some("SN2"), "{report}");
}

/// p2 updates, and then p3, while p1 has read p2's segment and not yet p3's.
fn collected_across(rule: Rule) -> Report {
    let adversary = Script::default().way(4, 1, &[1, 1, 40]);
    let mut world = World::new(4, 1, adversary).unwrap();
    let users = Users::new(&["", "u", "u", "s"]);
    let doors = wire(&world, Below::Memory(Kind::Atomic), &users, Ruled::by(rule));
    users.begin(&world, doors, |q| [0, 3, 15, 1][q.index()]);
    world.run()
}

#[test]
fn g4_a_single_collect_breaks_sn2() {
    collected_across(Rule::Corrected).assert_all_hold();
    let report = collected_across(Rule::CollectsOnce);
    assert_eq!(broken(&report), Some("SN2"), "{report}");
}

/// p1 writes in two halves, between which p2 sees the write, and p3, which begins when p2 has ended, does
/// not.
fn half_written(kind: Kind) -> Report {
    let adversary = Script::default().way(4, 1, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 40]);
    let mut world = World::new(4, 1, adversary).unwrap();
    let users = Users::new(&["", "s", "s", "u"]);
    let doors = wire(
        &world,
        Below::Memory(kind),
        &users,
        SnapshotFromRegisters::new,
    );
    users.begin(&world, doors, |q| [0, 10, 20, 0][q.index()]);
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
        let below = Below::Memory(Kind::Atomic);
        let doors = wire(&world, below, &users, SnapshotFromRegisters::new);
        users.begin(&world, doors, |_| 0);
        let report = world.run();
        assert!(report.all_hold(), "seed {seed}: {report}");
    }
}
