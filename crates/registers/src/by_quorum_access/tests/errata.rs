//! Wrong rules, each with runs in which it breaks atomicity and the algorithm does not.
use super::*;
use quorate_abstractions::quorum_access::State;
use quorate_core::{
    Ctx,
    wire::{Undecodable, Wire},
};

/// Which rule is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Corrected,
    /// A read does not write back what it returns (G3-E1).
    NoWriteBack,
    /// An update overwrites the present value, whatever its tag (G3-E2).
    Overwrites,
    /// A process has several operations on a register at a time (G3-E3).
    NoBusy,
}

struct Ruled(Rule, ByQuorumAccess);

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let register = &mut self.1;
        match (self.0, &event) {
            (Rule::NoBusy, Event::Request(request)) => {
                register.busy.remove(&request.register);
            }
            (Rule::NoWriteBack, Event::Access(returned)) => {
                let pending = register.pending.get(&returned.operation);
                let reads = pending.is_some_and(|pending| matches!(pending.phase, Phase::Reads));
                if let (true, Answer::Got(states)) = (reads, &returned.answer) {
                    let mut pending = register.pending.remove(&returned.operation).unwrap();
                    let values = states.iter().map(|state| state.get(&pending.register));
                    let (tag, value) = values.max_by_key(|(tag, _)| *tag).unwrap();
                    pending.phase = Phase::Sets(RegisterResponse::Read { tag, value });
                    return register.end(pending, ctx);
                }
            }
            _ => {}
        }
        register.upon(event, ctx);
    }
}

/// Registers whose value is the last update that arrived.
#[derive(Clone)]
struct Overwritten(Registers);

impl Wire for Overwritten {
    fn encode(&self, out: &mut bytes::BytesMut) {
        self.0.encode(out);
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        Registers::decode(bytes).map(Overwritten)
    }
}

impl State for Overwritten {
    type Update = Update;

    fn apply(&mut self, update: &Update) -> bool {
        if let Some(value) = &update.value {
            self.0.put(&update.register, update.tag, value);
        }
        true
    }

    fn digest(&self) -> u64 {
        State::digest(&self.0)
    }

    fn digest_of(update: &Update) -> u64 {
        Registers::digest_of(update)
    }
}

/// Classical access to registers that are overwritten.
fn overwriting(world: &World, q: ProcessId, up: Up) -> Calls {
    let (host, links) = (world.host(q).at("access"), world.links(q).at("access"));
    let up = up.with(|returned: quorum_access::Indication<Overwritten>| {
        let answer = match returned.answer {
            Answer::Got(states) => Answer::Got(states.into_iter().map(|state| state.0).collect()),
            Answer::Set => Answer::Set,
        };
        let operation = returned.operation;
        quorum_access::Indication { operation, answer }
    });
    classical::spawn(
        &host,
        majorities(5),
        Overwritten(Registers::default()),
        links.lane(),
        &links.status(),
        up,
    )
}

fn run(rule: Rule, seed: u64) -> Report {
    let mut world = World::new(5, seed, Timed::uniform(UNIT / 2, UNIT * 9)).unwrap();
    world.check(shared_register("register", world.membership().set()));
    let wire = |q| {
        let host = world.host(q).at("register");
        let access = |up| match rule {
            Rule::Overwrites => overwriting(&world, q, up),
            Rule::Corrected | Rule::NoWriteBack | Rule::NoBusy => {
                access(&world, q, LowerLayer::Classical, &majorities(5), up)
            }
        };
        let algorithm = Ruled(rule, ByQuorumAccess::new(&host));
        spawn_as(&host, algorithm, access, world.application(q))
    };
    let ports: Vec<_> = world.processes().map(wire).collect();
    operate(&world, &ports, seed, 20, 300);
    world.run()
}

/// The rule breaks atomicity in some run, and the algorithm in none.
#[track_caller]
fn breaks(rule: Rule) {
    let broken = |rule| {
        let reports = (0..100).map(|seed| run(rule, seed));
        let violated = reports.filter(|report| {
            let violation = report.violation();
            assert!(violation.is_none_or(|v| v.tag == "NNAR2"), "{report}");
            violation.is_some()
        });
        violated.count()
    };
    assert_eq!(broken(Rule::Corrected), 0);
    assert!(broken(rule) > 0);
}

/// Lock step, except for p1: each of its copies to p2 and p3 takes the given number of steps.
struct Late([Vec<u32>; 2]);

impl quorate_sim::Adversary for Late {
    fn latency(&mut self, copy: quorate_sim::Transmission, _: &mut Generator) -> Duration {
        let way = (copy.from == p(1)).then(|| &mut self.0[copy.to.rank() - 2]);
        UNIT * way
            .filter(|way| !way.is_empty())
            .map_or(1, |way| way.remove(0))
    }
}

/// p1 writes, and only p1 has the value when p2 reads from p1 and p2, and then p3 from p2 and p3.
fn seen_and_not_seen(rule: Rule) -> Report {
    let adversary = Late([vec![1, 60], vec![1, 60, 60, 60]]);
    let mut world = World::new(3, 1, adversary).unwrap();
    world.check(shared_register("register", world.membership().set()));
    let make = |host: &SimHost| Ruled(rule, ByQuorumAccess::new(host));
    let ports = wire(&world, LowerLayer::Classical, &majorities(3), make);
    world.request(p(1), Time::ZERO, &ports[0], request("x", 1, write("1")));
    for (rank, step) in [(2, 3), (3, 20)] {
        let read = request("x", 1, Action::Read);
        world.request(p(rank), Time::ZERO + UNIT * step, &ports[rank - 1], read);
    }
    world.run()
}

#[test]
fn g3_e1_a_read_that_does_not_write_back_breaks_nnar2() {
    seen_and_not_seen(Rule::Corrected).assert_all_hold();
    let report = seen_and_not_seen(Rule::NoWriteBack);
    assert_eq!(
        report.violation().map(|v| &v.tag[..]),
        Some("NNAR2"),
        "{report}"
    );
}

#[test]
fn g3_e2_an_update_that_overwrites_breaks_nnar2() {
    breaks(Rule::Overwrites);
}

#[test]
fn g3_e3_a_process_with_two_writes_at_a_time_breaks_nnar2() {
    breaks(Rule::NoBusy);
}
