use super::*;
use crate::{causal::testing::*, causal_past, testing::*};
use proptest::prelude::*;
use quorate_core::{Addr, Membership, Time};
use quorate_sim::{Crash, Lose, Report, SimHost, Timed, World};

const START: Start<'_> = &|_, host, below, up| spawn(host, below, up);

/// What is wrong with a mutant.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Flaw {
    None,
    /// Every message is delivered as if this process had broadcast it.
    SelfAsSender,
    /// The vectors are empty at first, and only their common entries are compared.
    EmptyVector,
    /// An own message is delivered when it is broadcast.
    DeliveredInside,
}

/// The published algorithm with one flaw.
struct Mutant {
    flaw: Flaw,
    numbering: Numbering,
    delivered: Vec<u64>,
    pending: Vec<(MessageId, Vec<u64>, Bytes)>,
}

impl Algorithm for Mutant {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Broadcast(Broadcast { payload }) => self.upon_broadcast(payload, ctx),
            Event::Reliable(reliable::Deliver { id, payload }) => {
                if self.flaw == Flaw::DeliveredInside && self.numbering.is_mine(id) {
                    return;
                }
                let (predecessors, payload) = wire::decode_value(&payload).unwrap();
                self.pending
                    .push((id, predecessors, Bytes::from_owner::<Vec<u8>>(payload)));
                self.upon_deliverable(ctx);
            }
        }
    }
}

impl Mutant {
    fn upon_broadcast(&mut self, payload: Bytes, ctx: &mut Ctx<Self>) {
        let mut predecessors = self.delivered.clone();
        let data = self.numbering.number(payload);
        if let Some(own) = predecessors.get_mut(self.numbering.me().index()) {
            *own = data.id.sequence - 1;
        }
        if self.flaw == Flaw::DeliveredInside {
            self.deliver(data.id, data.payload.clone(), ctx);
        }
        let payload = wire::encode_value(&(predecessors, &data.payload[..])).unwrap();
        ctx.trigger(Effect::Reliable(reliable::Broadcast { payload }));
    }

    fn upon_deliverable(&mut self, ctx: &mut Ctx<Self>) {
        let can_deliver = |predecessors: &[u64], delivered: &[u64]| {
            let mut pairs = predecessors.iter().zip(delivered);
            pairs.all(|(needed, mine)| needed <= mine)
        };
        while let Some(place) = self
            .pending
            .iter()
            .position(|(_, predecessors, _)| can_deliver(predecessors, &self.delivered))
        {
            let (id, _, payload) = self.pending.remove(place);
            self.deliver(id, payload, ctx);
        }
    }

    fn deliver(&mut self, mut id: MessageId, payload: Bytes, ctx: &mut Ctx<Self>) {
        if let Some(count) = self.delivered.get_mut(id.origin.process.index()) {
            *count += 1;
        }
        if self.flaw == Flaw::SelfAsSender {
            id.origin.process = self.numbering.me();
        }
        ctx.trigger(Effect::Deliver(Deliver { id, payload }));
    }
}

fn mutant(
    flaw: Flaw,
) -> impl Fn(&World, &SimHost, StartReliable, Addr<Deliver>) -> Addr<Broadcast> {
    move |_, host, below, up| {
        let n = if flaw == Flaw::EmptyVector {
            0
        } else {
            host.processes().n()
        };
        let mutant = Mutant {
            flaw,
            numbering: Numbering::new(host),
            delivered: vec![0; n],
            pending: Vec::new(),
        };
        let addr = start_mutant(host, mutant, |mailbox| {
            let below = below(mailbox.addr().with(Event::Reliable));
            Box::new(move |effect| match effect {
                Effect::Reliable(request) => below.send(request),
                Effect::Deliver(indication) => up.send(indication),
            })
        });
        addr.with(Event::Broadcast)
    }
}

/// The flaw breaks this property in that run; neither the published algorithm without the flaw nor ours
/// breaks any.
fn assert_breaks(flaw: Flaw, tag: &str, run: impl Fn(Start<'_>) -> Report) {
    assert_violates(&run(&mutant(flaw)), tag);
    run(&mutant(Flaw::None)).assert_all_hold();
    run(START).assert_all_hold();
}

#[test]
fn crb1_validity_and_crb4_agreement_whatever_crashes() {
    assert_hold_in_turbulence(START, &REGULAR, &["CRB1", "CRB4"]);
}

#[test]
fn crb2_no_duplication_and_crb3_no_creation_whatever_crashes() {
    assert_hold_in_turbulence(START, &REGULAR, &["CRB2", "CRB3"]);
}

#[test]
fn crb5_causal_order_whatever_crashes() {
    assert_hold_in_turbulence(START, &REGULAR, &["CRB5"]);
    // The same runs do tell: without the wait, they fail.
    let hasty = mutant(Flaw::EmptyVector);
    let caught = |seed| turbulent(Form::Regular, &hasty, seed).violation().is_some();
    assert!((0..200).any(caught));
}

#[test]
fn crb1_to_crb5_in_the_uniform_form_while_a_minority_crashes() {
    let tags = ["CRB1", "CRB2", "CRB3", "CRB4", "CRB5"];
    assert_hold_in_turbulence(START, &[Form::Uniform], &tags);
}

#[test]
fn costs_are_what_the_header_says() {
    assert_costs_what_is_below_costs(START);
}

/// p1 broadcasts, and p2 answers; the question is slow to reach p3. Returns when each process has both.
fn answer_first() -> Vec<Option<Time>> {
    let script = Latencies::default().way(1, 3, &[20]).way(2, 3, &[10]);
    let mut world = World::new(3, 1, script).unwrap();
    let ports = wire_with(&world, Form::Regular, START, |q| {
        move |delivery: &Deliver| {
            (q == p(2) && delivery.id == id(1, 1)).then(|| Bytes::from_static(b"answer"))
        }
    });
    request(&world, &ports, 1, Time::ZERO, b"question");
    world.run().assert_all_hold();
    let tallies = world
        .processes()
        .map(|q| world.tally(q, "causal", "Deliver"));
    tallies
        .map(|tally| tally.filter(|t| t.count == 2).map(|t| t.last))
        .collect()
}

#[test]
fn an_answer_waits_for_what_it_answers() {
    // p2 relays the question at once, which takes ten units; the answer, sent after it, takes one.
    assert_eq!(answer_first(), [Some(at(2)), Some(at(1)), Some(at(11))]);
}

/// One broadcast by p1 of three, and one by p2 after that.
fn one_each(start: Start<'_>) -> Report {
    let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
    let ports = wire(&world, Form::Regular, start);
    request(&world, &ports, 1, Time::ZERO, b"m");
    request(&world, &ports, 2, at(5), b"n");
    world.run()
}

#[test]
fn b6_e1_delivery_in_the_name_of_the_wrong_process_breaks_crb3() {
    assert_breaks(Flaw::SelfAsSender, "CRB3", one_each);
}

#[test]
fn b6_e2_a_vector_that_is_empty_at_first_orders_nothing() {
    assert_breaks(Flaw::EmptyVector, "CRB5", |start| {
        let script = Latencies::default().way(1, 3, &[20]).way(2, 3, &[20]);
        let mut world = World::new(3, 1, script).unwrap();
        let ports = wire(&world, Form::Regular, start);
        request(&world, &ports, 1, Time::ZERO, b"one");
        request(&world, &ports, 1, at(1), b"two");
        world.run()
    });
}

#[test]
fn b6_e4_immediate_self_delivery_breaks_the_uniform_form_alone() {
    let run = |form, start: Start<'_>| {
        let mut world = World::new(3, 1, Timed::lock_step()).unwrap();
        let ports = wire(&world, form, start);
        request(&world, &ports, 1, Time::ZERO, b"m");
        world.crash(
            p(1),
            Crash::at(Time::from_nanos(1)).losing(Lose::Everything),
        );
        world.run()
    };
    assert_breaks(Flaw::DeliveredInside, "CRB4", |start| {
        run(Form::Uniform, start)
    });
    run(Form::Regular, &mutant(Flaw::DeliveredInside)).assert_all_hold();
}

/// p1's message reaches p2 alone, which answers; the answer reaches p3, and nothing else does, as p1 and p2
/// crash. Returns the number of messages that p3 delivers.
fn cause_lost(form: Form, start: Start<'_>) -> u64 {
    let script = Latencies::default().way(1, 3, &[20]).way(2, 3, &[20]);
    let mut world = World::new(3, 1, script).unwrap();
    let ports = wire_with(&world, form, start, |q| {
        move |delivery: &Deliver| {
            (q == p(2) && delivery.id == id(1, 1)).then(|| Bytes::from_static(b"answer"))
        }
    });
    request(&world, &ports, 1, Time::ZERO, b"question");
    for q in [p(1), p(2)] {
        let time = at(2) + quorate_sim::UNIT / 2;
        world.crash(q, Crash::at(time).losing(Lose::Everything));
    }
    world.run().assert_all_hold();
    let tally = world.tally(p(3), "causal", "Deliver");
    tally.map_or(0, |tally| tally.count)
}

#[test]
fn b6_e5_what_waits_for_what_is_lost_waits_for_ever_and_breaks_nothing() {
    assert_eq!(cause_lost(Form::Regular, START), 0);
    let past: Start<'_> = &|_, host, below, up| causal_past::spawn(host, below, up);
    assert_eq!(
        cause_lost(Form::Regular, past),
        2,
        "the answer brings the question along"
    );
}

fn message(counts: &[(usize, u64)], n: usize) -> Bytes {
    let mut predecessors = Clock::zero(&Membership::of_size(n).unwrap());
    for (rank, count) in counts {
        predecessors.set(p(*rank), *count);
    }
    wire::encode(&Message {
        predecessors,
        payload: Bytes::from_static(b"m"),
    })
}

/// The algorithm as p1 of three receives such a message from below. Returns what it delivers.
fn receive(process: &mut Alone<CausalWaiting>, id: MessageId, payload: Bytes) -> Vec<MessageId> {
    let effects = process.upon(Event::Reliable(reliable::Deliver { id, payload }));
    let delivered = effects.into_iter().map(|effect| match effect {
        Effect::Deliver(Deliver { id, .. }) => id,
        Effect::Reliable(request) => panic!("{request:?}"),
    });
    delivered.collect()
}

#[test]
fn what_waits_is_delivered_by_origin_and_number_and_then_forgotten() {
    let mut process = Alone::new(CausalWaiting::new);
    let waits_for_all = message(&[(2, 2)], 3);
    assert!(receive(&mut process, id(3, 1), waits_for_all).is_empty());
    assert!(receive(&mut process, id(2, 2), message(&[(2, 1)], 3)).is_empty());
    assert_eq!(process.algorithm.pending.len(), 2);
    let delivered = receive(&mut process, id(2, 1), message(&[], 3));
    assert_eq!(delivered, [id(2, 1), id(2, 2), id(3, 1)]);
    assert!(process.algorithm.pending.is_empty());
}

#[test]
fn b6_e6_impossible_vectors_are_counted_and_dropped() {
    let mut process = Alone::new(CausalWaiting::new);
    let impossible = [
        (id(2, 1), message(&[], 2)),
        (id(2, 1), message(&[], 4)),
        (id(2, 1), message(&[(2, 1)], 3)),
        (id(2, 2), message(&[], 3)),
        (id(2, 1), message(&[(1, 1)], 3)),
        (id(1, 1), message(&[], 3)),
        (id(9, 1), message(&[], 3)),
        (id(2, 0), message(&[], 3)),
    ];
    for (id, payload) in impossible {
        assert!(receive(&mut process, id, payload).is_empty());
    }
    assert_eq!(process.counters.total("impossible predecessors"), 8);
    let far = WINDOW + 1;
    assert!(receive(&mut process, id(2, far), message(&[(2, far - 1)], 3)).is_empty());
    assert_eq!(process.counters.total("message too far ahead"), 1);
    assert!(receive(&mut process, id(2, 1), Bytes::new()).is_empty());
    assert_eq!(process.counters.total("undecodable message"), 1);
    assert!(process.algorithm.pending.is_empty());
    let near = WINDOW;
    assert!(receive(&mut process, id(2, near), message(&[(2, near - 1)], 3)).is_empty());
    assert_eq!(process.algorithm.pending.len(), 1, "not too far");
    assert_eq!(receive(&mut process, id(2, 1), message(&[], 3)), [id(2, 1)]);
    assert!(
        receive(&mut process, id(2, 1), message(&[], 3)).is_empty(),
        "once"
    );
    assert_eq!(process.counters.total("impossible predecessors"), 9);
    assert_eq!(process.algorithm.pending.len(), 1, "nor is it kept");
}

proptest! {
    #[test]
    fn garbage_never_panics(sequence in 0..3_u64, bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut process = Alone::new(CausalWaiting::new);
        receive(&mut process, id(2, sequence), Bytes::from(bytes));
    }
}

#[test]
fn crb1_to_crb5_hold_in_every_schedule() {
    for (form, small, classes) in [
        (Form::Regular, (2, &[1][..], 1), 36),
        (Form::Regular, (2, &[1, 1], 0), 26),
        (Form::Regular, (2, &[1, 2], 1), 590),
        (Form::Regular, (3, &[3], 1), 143),
        (Form::Regular, (3, &[1], 0), 3000),
        (Form::Uniform, (2, &[1, 2], 0), 33),
        (Form::Uniform, (3, &[3], 1), 137),
    ] {
        assert_holds_in_every_schedule(form, START, small, classes);
    }
}

#[test]
fn the_search_finds_the_mutants() {
    let search = |flaw, form, small, tag| assert_search_finds(form, &mutant(flaw), small, tag);
    search(Flaw::SelfAsSender, Form::Regular, (2, &[2], 0), "CRB3");
    search(Flaw::EmptyVector, Form::Regular, (2, &[1, 1], 0), "CRB5");
    search(Flaw::DeliveredInside, Form::Uniform, (3, &[3], 1), "CRB4");
}

#[test]
fn behind_a_message_that_never_comes_only_so_much_waits() {
    let mut process = Alone::new(CausalWaiting::new);
    process.algorithm.most = 10;
    for sequence in 2..=20 {
        for _ in 0..2 {
            let waits = message(&[(2, sequence - 1)], 3);
            assert!(receive(&mut process, id(2, sequence), waits).is_empty());
        }
    }
    assert_eq!(process.algorithm.pending.len(), 10, "a byte each");
    let another = receive(&mut process, id(3, 1), message(&[], 3));
    assert_eq!(another, [id(3, 1)], "another is not concerned");
    let all = receive(&mut process, id(2, 1), message(&[], 3));
    assert_eq!(
        all.len(),
        11,
        "what is next has room, and what has waited comes"
    );
    assert!(receive(&mut process, id(2, 13), message(&[(2, 12)], 3)).is_empty());
    assert_eq!(process.algorithm.pending.len(), 1, "there is room again");
}
