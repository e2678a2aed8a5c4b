//! Streams that end and begin anew, at every step of random runs of three processes.
use super::*;
use quorate_core::algorithm::Random;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;

/// What the processes do when a stream begins anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// The correct rule.
    Resume,
    Nothing,
    /// A mutant: a candidate repeats its request in the same ballot, is answered again, and counts the parts
    /// as they come.
    SameBallot,
    /// A mutant: a process that skips instances begins anew, with nothing promised or accepted.
    BeginAnew,
}

/// Three processes, their messages in flight, and the decisions.
struct Run {
    rng: Random,
    rule: Rule,
    all: Vec<Ballots<u64>>,
    in_flight: BTreeMap<(usize, usize), VecDeque<Message<u64>>>,
    decided: Vec<BTreeMap<u64, u64>>,
    next: u64,
    /// Whether processes campaign though others lead.
    suspects: bool,
}

fn ways(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (1..=n).flat_map(move |a| (1..=n).filter(move |b| *b != a).map(move |b| (a, b)))
}

impl Run {
    fn new(n: usize, seed: u64, rule: Rule) -> Self {
        Run {
            rng: Random::seed_from_u64(seed),
            rule,
            all: (1..=n).map(|rank| at(rank, n).dropping()).collect(),
            in_flight: ways(n).map(|way| (way, VecDeque::new())).collect(),
            decided: vec![BTreeMap::new(); n],
            next: 0,
            suspects: seed.is_multiple_of(2),
        }
    }

    fn draw(&mut self, below: usize) -> usize {
        self.rng.random_range(0..below)
    }

    fn of(&mut self, rank: usize) -> &mut Ballots<u64> {
        &mut self.all[rank - 1]
    }

    /// After an event at the process: it leads if it can, and its messages leave.
    fn progress(&mut self, rank: usize) {
        if let Some(obliged) = self.of(rank).elected(|_| true) {
            self.of(rank).lead(&obliged, Some(&0));
        }
        let decisions = self.of(rank).take_decisions();
        self.decided[rank - 1].extend(decisions);
        for (to, message) in self.of(rank).take_outgoing() {
            for q in 1..=self.all.len() {
                let is_meant = match to {
                    To::All => true,
                    To::One(one) => one == p(q),
                    To::Some(some) => some.contains(p(q)),
                };
                if is_meant && q == rank {
                    self.deliver(rank, rank, message.clone());
                } else if is_meant {
                    self.in_flight
                        .get_mut(&(rank, q))
                        .unwrap()
                        .push_back(message.clone());
                }
            }
        }
    }

    fn deliver(&mut self, from: usize, to: usize, message: Message<u64>) {
        let message = if self.rule == Rule::SameBallot {
            self.mutated(from, to, message)
        } else {
            message
        };
        self.of(to).upon(p(from), message);
        self.progress(to);
    }

    fn deliver_all(&mut self, from: usize, to: usize) {
        let in_flight = self.in_flight.get_mut(&(from, to)).unwrap();
        for message in std::mem::take(in_flight) {
            self.deliver(from, to, message);
        }
    }

    /// Changes a message as the mutant would: a request is answered once more, and a part becomes the next
    /// one.
    fn mutated(&mut self, from: usize, to: usize, message: Message<u64>) -> Message<u64> {
        let ballots = self.of(to);
        match (message, &ballots.part) {
            (Message::Prepare { ballot, from }, _) => {
                ballots.reported = super::ballot(0, 1);
                Message::Prepare { ballot, from }
            }
            (
                Message::Promise {
                    ballot,
                    saying,
                    decided,
                    parts,
                    accepted,
                    ..
                },
                Part::Campaigns { promises, .. },
            ) => {
                let known = promises.get(&p(from));
                let known = known.map(|k| (k.saying, k.decided, k.here.len() as u64, k.parts));
                let (saying, decided, part, parts) = known.unwrap_or((saying, decided, 0, parts));
                Message::Promise {
                    ballot,
                    saying,
                    decided,
                    part,
                    parts,
                    accepted,
                }
            }
            (message, _) => message,
        }
    }

    /// The stream ends: a prefix of what is in flight gets through, and the next one begins.
    fn gap(&mut self, way: (usize, usize)) {
        let length = self.in_flight[&way].len();
        let kept = self.draw(length + 1);
        for message in self
            .in_flight
            .get_mut(&way)
            .unwrap()
            .drain(..kept)
            .collect::<Vec<_>>()
        {
            self.deliver(way.0, way.1, message);
        }
        self.in_flight.get_mut(&way).unwrap().clear();
        self.resume(way);
    }

    /// Both ends of the way learn that its stream has begun anew.
    fn resume(&mut self, way: (usize, usize)) {
        for (x, y) in [way, (way.1, way.0)] {
            match (self.rule, &self.of(x).part) {
                (Rule::Nothing, _) => {}
                (Rule::SameBallot, Part::Campaigns { ballot, .. }) => {
                    let (ballot, from) = (*ballot, self.of(x).low() + 1);
                    let prepare = Message::Prepare { ballot, from };
                    self.in_flight.get_mut(&(x, y)).unwrap().push_back(prepare);
                }
                (Rule::Resume | Rule::BeginAnew, _) if x == way.0 => self.of(x).begin_stream(p(y)),
                (Rule::Resume | Rule::SameBallot | Rule::BeginAnew, _) => self.of(x).resume(p(y)),
            }
            self.progress(x);
        }
    }

    /// A process that is far behind gets from another the effect of that one's decisions.
    fn skip(&mut self, from: usize, to: usize) {
        let low = self.of(from).low();
        if low <= self.of(to).low() {
            return;
        }
        let known: Vec<_> = self.decided[from - 1]
            .range(..=low)
            .map(|(i, v)| (*i, *v))
            .collect();
        self.decided[to - 1].extend(known);
        if self.rule == Rule::BeginAnew {
            let processes = Membership::of_size(3).unwrap();
            *self.of(to) = Ballots::from(p(to), processes, p(1), low);
            self.of(to).part = Part::Follows;
        } else {
            self.of(to).skip_to(low);
        }
        self.progress(to);
    }

    fn agree(&self) -> bool {
        let mut all: BTreeMap<u64, u64> = BTreeMap::new();
        let decided = self.decided.iter().flatten();
        decided
            .into_iter()
            .all(|(i, v)| all.entry(*i).or_insert(*v) == v)
    }

    fn propose(&mut self, rank: usize) {
        if let Some(instance) = self.of(rank).next_instance()
            && instance <= 6
        {
            self.next += 1;
            let value = self.next;
            self.of(rank).propose(instance, value);
            self.progress(rank);
        }
    }

    fn step(&mut self, gaps: bool) -> bool {
        match self.draw(100) {
            0..6 if gaps => {
                let way = ways(3).nth(self.draw(6)).unwrap();
                self.gap(way);
            }
            6..9 if gaps && self.suspects => {
                let rank = 1 + self.draw(3);
                self.of(rank).campaign();
                self.progress(rank);
            }
            9..11 if gaps => {
                let (from, to) = ways(3).nth(self.draw(6)).unwrap();
                self.skip(from, to);
            }
            11..20 if gaps => (1..=3).for_each(|rank| self.propose(rank)),
            _ => {
                let busy: Vec<_> = ways(3).filter(|w| !self.in_flight[w].is_empty()).collect();
                if busy.is_empty() {
                    return false;
                }
                let way = busy[self.draw(busy.len())];
                let message = self.in_flight.get_mut(&way).unwrap().pop_front().unwrap();
                self.deliver(way.0, way.1, message);
            }
        }
        true
    }

    /// Gaps and suspicions, then a calm time, in which p1 leads if nobody does. Returns whether all agree,
    /// and whether everybody has decided all that was proposed.
    fn end(mut self) -> (bool, bool) {
        for _ in 0..200 {
            self.step(true);
        }
        for _ in 0..1000 {
            if self.step(false) {
                continue;
            }
            if self.all.iter().any(|b| b.leads() || b.campaigns()) {
                break;
            }
            self.of(1).campaign();
            self.progress(1);
        }
        let proposed = self.all.iter().filter_map(Ballots::next_instance);
        let top = proposed.map(|next| next - 1).max().unwrap_or(0);
        let is_done = self.all.iter().all(|b| b.low() >= top);
        (self.agree(), is_done)
    }
}

/// The number of runs that disagreed, and of those that got stuck.
fn search(rule: Rule, runs: u64) -> (u64, u64) {
    let ends = (0..runs).map(|seed| Run::new(3, seed, rule).end());
    ends.fold((0, 0), |(split, stuck), (agree, done)| {
        (split + u64::from(!agree), stuck + u64::from(agree && !done))
    })
}

#[test]
fn whatever_is_lost_in_gaps_all_agree_and_everybody_decides() {
    assert_eq!(search(Rule::Resume, 6000), (0, 0));
}

#[test]
fn without_saying_again_what_is_open_some_never_decide() {
    let (split, stuck) = search(Rule::Nothing, 1000);
    assert!(split == 0 && stuck > 10, "{split} disagree, {stuck} stuck");
}

/// Three values are decided by p1 with p2 and p3. Then p4 asks p2 and p5: the last part of what p2 has
/// accepted is lost in a gap, and p4 sends again what is open.
fn lost_part(rule: Rule) -> bool {
    let mut run = Run::new(5, 0, rule);
    for _ in 0..3 {
        run.propose(1);
    }
    for (from, to) in [(1, 2), (1, 3), (2, 1), (3, 1)] {
        run.deliver_all(from, to);
    }
    assert_eq!(run.decided[0].len(), 3);
    run.in_flight.values_mut().for_each(VecDeque::clear);
    run.of(4).campaign();
    run.progress(4);
    for (from, to) in [(4, 5), (5, 4), (4, 2)] {
        run.deliver_all(from, to);
    }
    let report = run.in_flight.get_mut(&(2, 4)).unwrap();
    assert_eq!(report.len(), 3);
    report.pop_back();
    run.deliver_all(2, 4);
    run.resume((2, 4));
    for _ in 0..4 {
        for (from, to) in [(4, 5), (5, 4), (4, 2), (2, 4)] {
            run.deliver_all(from, to);
        }
        run.propose(4);
    }
    assert!(run.of(4).leads());
    run.agree()
}

#[test]
fn a_ballot_that_is_asked_for_twice_lets_two_values_be_decided() {
    assert!(lost_part(Rule::Resume));
    assert!(!lost_part(Rule::SameBallot));
}

#[test]
fn whoever_skips_instances_and_forgets_its_promises_lets_two_values_be_decided() {
    let (split, _) = search(Rule::BeginAnew, 6000);
    assert!(split > 0);
}

/// p1 proposes in three instances, and decides the second and the third once p2 and p4 accept there. p3 asks
/// p2 for its promise; p2 learns that the second is decided, and then that the stream to p3, on which it has
/// promised, has begun. Returns what p2 says to p3: twice the same two values, in different places.
fn promises_on_one_stream() -> Vec<Message<u64>> {
    let [mut p1, mut p2, mut p3, mut p4] = [1, 2, 3, 4].map(|rank| at(rank, 5));
    (1..=3).for_each(|instance| p1.propose(instance, 10 * instance));
    for message in said(&mut p1).drain(1..) {
        p2.upon(p(1), message.clone());
        p4.upon(p(1), message);
    }
    for (rank, acceptor) in [(2, &mut p2), (4, &mut p4)] {
        for accepted in said(acceptor) {
            p1.upon(p(rank), accepted);
        }
    }
    assert_eq!(p1.take_decisions(), [(2, 20), (3, 30)]);
    p3.campaign();
    let prepare = said(&mut p3).remove(0);
    p2.upon(p(3), prepare);
    let (instance, value) = (2, 20);
    p2.upon(p(1), Message::Decided { instance, value });
    p2.begin_stream(p(3));
    let mut all = said(&mut p2);
    all.retain(|message| matches!(message, Message::Promise { .. }));
    all
}

/// The value that p3, with p5, may propose in the third instance, where p1 has decided, after each of these
/// promises, in this order.
fn elected_in_the_third(promises: impl Iterator<Item = Message<u64>>) -> Vec<Option<u64>> {
    let mut p3 = at(3, 5);
    p3.campaign();
    for rank in [3, 5] {
        p3.upon(p(rank), promise(ballot(2, 3), 0, None));
    }
    let mut elected = Vec::new();
    for promise in promises {
        p3.upon(p(2), promise);
        if let Some(obliged) = p3.elected(|_| true) {
            elected.push(obliged.get(&3).copied());
        }
    }
    elected
}

#[test]
fn parts_of_two_promises_on_one_stream_do_not_mix_in_whatever_order_they_come() {
    let all = promises_on_one_stream();
    assert_eq!(all.len(), 4);
    let orders = (0..256).map(|code| [code / 64, code / 16 % 4, code / 4 % 4, code % 4]);
    let orders: Vec<_> = orders
        .filter(|order| (0..4).all(|place| order.contains(&place)))
        .collect();
    assert_eq!(orders.len(), 24);
    let mut lost = 0;
    for order in orders {
        let promises = || order.iter().map(|place: &usize| all[*place].clone());
        let elected = elected_in_the_third(promises());
        assert!(!elected.is_empty(), "{order:?}");
        assert!(elected.iter().all(|value| *value == Some(30)), "{order:?}");
        // A mutant: sayings have no numbers.
        let mutated = promises().map(|mut message| {
            if let Message::Promise { saying, .. } = &mut message {
                *saying = 1;
            }
            message
        });
        lost += usize::from(elected_in_the_third(mutated).contains(&None));
    }
    assert!(lost > 0, "the mutant is not found");
}
