//! What may be decided from a configuration, where there are infinitely many: a run to a decision proves it, and
//! is looked for among the shortest. That nothing else may be decided is never concluded from it. Messages that
//! their receivers ignore are left out.
use super::model::{In, Of, Protocol};
use quorate_core::ProcessId;
use std::collections::{BTreeMap, VecDeque};

/// So many configurations are looked at before a search gives up.
const LIMIT: usize = 4_000;

/// A run to a decision, and what is decided.
pub struct Deciding<P: Protocol> {
    pub value: bool,
    pub run: Vec<In<P>>,
}

impl<P: Protocol> Clone for Deciding<P> {
    fn clone(&self) -> Self {
        Deciding {
            value: self.value,
            run: self.run.clone(),
        }
    }
}

/// A run to a decision of 0, and one to a decision of 1, from the same configuration.
pub struct Bivalence<P: Protocol> {
    pub zero: Deciding<P>,
    pub one: Deciding<P>,
}

/// Configurations in the order of their distance, and how each was reached.
struct Explored<P: Protocol> {
    configurations: Vec<Of<P>>,
    before: Vec<Option<(usize, In<P>)>>,
    index: BTreeMap<Of<P>, usize>,
    queue: VecDeque<usize>,
}

impl<P: Protocol> Explored<P> {
    fn new(protocol: &P, from: &Of<P>) -> Self {
        let from = from.clone().without_ignored(protocol);
        Explored {
            configurations: vec![from.clone()],
            before: vec![None],
            index: [(from.clone(), 0)].into(),
            queue: [0].into(),
        }
    }

    /// Adds those one step after this one, by messages that `may` be delivered.
    fn extend(&mut self, protocol: &P, at: usize, may: impl Fn(&In<P>) -> bool) {
        let configuration = self.configurations[at].clone();
        let envelopes = configuration.deliverable(None);
        for envelope in envelopes.filter(|envelope| may(envelope)) {
            let Some((next, _)) = configuration.deliver(protocol, envelope) else {
                continue;
            };
            let next = next.without_ignored(protocol);
            if !self.index.contains_key(&next) {
                let place = self.configurations.len();
                self.index.insert(next.clone(), place);
                self.configurations.push(next);
                self.before.push(Some((at, envelope.clone())));
                self.queue.push_back(place);
            }
        }
    }

    fn run(&self, mut at: usize) -> Vec<In<P>> {
        let mut run = Vec::new();
        while let Some((earlier, envelope)) = &self.before[at] {
            run.push(envelope.clone());
            at = *earlier;
        }
        run.reverse();
        run
    }
}

/// The first runs, in the order of their lengths, that end in what `find` wants, until it has had enough; only
/// messages that `may` be delivered are.
fn search<P: Protocol>(
    protocol: &P,
    from: &Of<P>,
    may: impl Fn(&In<P>) -> bool,
    mut find: impl FnMut(&Of<P>, &dyn Fn() -> Vec<In<P>>) -> bool,
) {
    let mut explored = Explored::new(protocol, from);
    while let Some(at) = explored.queue.pop_front() {
        if find(&explored.configurations[at], &|| explored.run(at)) || at > LIMIT {
            return;
        }
        explored.extend(protocol, at, &may);
    }
}

/// A shortest run to a decision in which `without` takes no step.
pub fn decision_without<P: Protocol>(
    protocol: &P,
    from: &Of<P>,
    without: ProcessId,
) -> Option<Deciding<P>> {
    let mut found = None;
    let others = |envelope: &In<P>| envelope.to != without;
    search(protocol, from, others, |configuration, run| {
        let decisions = configuration.decisions(protocol);
        // What `without` has decided before it stopped, nobody else may know.
        let mut others = decisions.iter().enumerate();
        let value = others.find_map(|(index, value)| value.filter(|_| index != without.index()));
        found = value.map(|value| Deciding { value, run: run() });
        found.is_some()
    });
    found
}

/// Runs to both decisions, each a shortest one, if they are found. Those that are `known`, from a configuration
/// shortly before this one, are tried first.
pub fn bivalence<P: Protocol>(
    protocol: &P,
    from: &Of<P>,
    known: &[Deciding<P>],
) -> Option<Bivalence<P>> {
    let mut found: [Option<Deciding<P>>; 2] = [None, None];
    for deciding in known {
        let end = from.after(protocol, &deciding.run);
        let value = Some(deciding.value);
        if end.is_some_and(|end| end.decisions(protocol).contains(&value)) {
            found[usize::from(deciding.value)] = Some(deciding.clone());
        }
    }
    if found.iter().any(Option::is_none) {
        search(
            protocol,
            from,
            |_| true,
            |configuration, run| {
                for value in configuration.decisions(protocol).into_iter().flatten() {
                    let place = &mut found[usize::from(value)];
                    if place.is_none() {
                        *place = Some(Deciding { value, run: run() });
                    }
                }
                found.iter().all(Option::is_some)
            },
        );
    }
    let [zero, one] = found;
    Some(Bivalence {
        zero: zero?,
        one: one?,
    })
}

/// The shortest run without this message after which its delivery leads to a bivalent configuration, and that
/// bivalence (Lemma 2).
pub fn prefix<P: Protocol>(
    protocol: &P,
    from: &Of<P>,
    message: &In<P>,
    known: &[Deciding<P>],
) -> Option<(Vec<In<P>>, Bivalence<P>)> {
    let mut found = None;
    let others = |envelope: &In<P>| envelope != message;
    search(protocol, from, others, |configuration, run| {
        // Where the message is ignored, its delivery changes nothing.
        let after = configuration.deliver(protocol, message);
        let after = after.map_or_else(|| configuration.clone(), |(after, _)| after);
        found = bivalence(protocol, &after, known).map(|bivalence| (run(), bivalence));
        found.is_some()
    });
    found
}
