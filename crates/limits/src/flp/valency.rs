//! Every configuration that a protocol can reach, and what may still be decided from each. Messages that their
//! receivers ignore are left out.
use super::{
    Horn,
    model::{Configuration, In, Of, Protocol, Valency},
};
use std::collections::{BTreeMap, VecDeque};

/// The configurations of a protocol whose runs all end, from every initial configuration.
pub struct Graph<P: Protocol> {
    protocol: P,
    configurations: Vec<Of<P>>,
    /// By configuration: the one before it on a shortest run, and the message that was delivered.
    before: Vec<Option<(usize, In<P>)>>,
    valencies: Vec<Valency>,
    /// The places, in the order of the configurations.
    sorted: Vec<usize>,
    /// The places of the initial configurations, by the proposals.
    initial: BTreeMap<Vec<bool>, usize>,
}

/// A run that breaks a horn.
pub struct Example<P: Protocol> {
    pub horn: Horn,
    pub proposals: Vec<bool>,
    pub run: Vec<In<P>>,
    /// What is wrong at the end of the run.
    pub violation: String,
}

/// All ways to propose, p1's proposal changing fastest.
pub fn all_proposals(n: usize) -> Vec<Vec<bool>> {
    let ways = 0..1_u32 << n;
    ways.map(|ones| (0..n).map(|index| ones >> index & 1 == 1).collect())
        .collect()
}

impl<P: Protocol> Graph<P> {
    /// Explores all of it.
    pub fn new(protocol: P) -> Self {
        let mut index: BTreeMap<Of<P>, usize> = BTreeMap::new();
        let mut queue = VecDeque::new();
        let (mut before, mut steps) = (Vec::new(), Vec::new());
        let mut initial = BTreeMap::new();
        let processes = *protocol.processes();
        for proposals in all_proposals(processes.n()) {
            let configuration: Of<P> = Configuration::initial(&processes, &proposals);
            initial.insert(proposals, before.len());
            index.insert(configuration.clone(), before.len());
            before.push(None);
            queue.push_back(configuration);
        }
        // Configurations leave the queue in the order of their places.
        while let Some(configuration) = queue.pop_front() {
            let at = steps.len();
            let mut later = Vec::new();
            for envelope in configuration.deliverable(None) {
                let Some((next, _)) = configuration.deliver(&protocol, envelope) else {
                    continue;
                };
                let next = next.without_ignored(&protocol);
                let known = index.get(&next).copied();
                let place = known.unwrap_or(before.len());
                if known.is_none() {
                    index.insert(next.clone(), place);
                    before.push(Some((at, envelope.clone())));
                    queue.push_back(next);
                }
                later.push(place);
            }
            steps.push(later);
        }
        let sorted = index.values().copied().collect();
        let mut places: Vec<_> = index.into_iter().collect();
        places.sort_by_key(|(_, place)| *place);
        let configurations: Vec<_> = places.into_iter().map(|(it, _)| it).collect();
        let valencies = valencies(&protocol, &configurations, &steps);
        Graph {
            protocol,
            configurations,
            before,
            valencies,
            sorted,
            initial,
        }
    }

    /// The protocol.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// How many configurations there are, by valency.
    pub fn counts(&self) -> BTreeMap<Valency, usize> {
        let mut counts = BTreeMap::new();
        for valency in &self.valencies {
            *counts.entry(*valency).or_default() += 1;
        }
        counts
    }

    /// The valency of the initial configuration with these proposals.
    pub fn initial(&self, proposals: &[bool]) -> Valency {
        let place = self.initial.get(proposals);
        place.map_or(Valency::default(), |place| self.valencies[*place])
    }

    /// All configurations with their valencies, and the places of those one step later.
    pub fn configurations(&self) -> impl Iterator<Item = (&Of<P>, Valency)> {
        let valencies = self.valencies.iter().copied();
        self.configurations.iter().zip(valencies)
    }

    /// The valency of a configuration, if it is one that can be reached.
    pub fn valency(&self, configuration: &Of<P>) -> Option<Valency> {
        let (sorted, all) = (&self.sorted, &self.configurations);
        let configuration = configuration.clone().without_ignored(&self.protocol);
        let found = sorted.binary_search_by(|place| all[*place].cmp(&configuration));
        Some(self.valencies[sorted[found.ok()?]])
    }

    /// A shortest run to the configuration at this place.
    fn example(&self, at: usize, horn: Horn, violation: String) -> Example<P> {
        let (mut at, mut run) = (at, Vec::new());
        while let Some((earlier, envelope)) = &self.before[at] {
            run.push(envelope.clone());
            at = *earlier;
        }
        run.reverse();
        let members = self.configurations[at].members();
        let proposals = members.iter().map(|member| member.proposal).collect();
        Example {
            horn,
            proposals,
            run,
            violation,
        }
    }

    /// A shortest run to a configuration that `wrong` complains about.
    fn find(
        &self,
        horn: Horn,
        wrong: impl Fn(&Of<P>, &[Option<bool>]) -> Option<String>,
    ) -> Option<Example<P>> {
        let mut all = self.configurations.iter().enumerate();
        let (at, violation) = all.find_map(|(at, configuration)| {
            let decisions = configuration.decisions(&self.protocol);
            Some((at, wrong(configuration, &decisions)?))
        })?;
        Some(self.example(at, horn, violation))
    }

    /// Two processes decide differently.
    pub fn disagreement(&self) -> Option<Example<P>> {
        self.find(Horn::Agreement, |_, decisions| {
            let split = Valency::of(decisions).is_bivalent();
            split.then(|| {
                let told = decisions.iter().enumerate();
                let told = told.filter_map(|(index, value)| Some((index + 1, (*value)?)));
                let told: Vec<_> = told
                    .map(|(rank, value)| format!("p{rank} has decided {}", u8::from(value)))
                    .collect();
                told.join(", ")
            })
        })
    }

    /// A process decides what nobody has proposed.
    pub fn invention(&self) -> Option<Example<P>> {
        self.find(Horn::Validity, |configuration, decisions| {
            let members = configuration.members();
            let proposed = |value| members.iter().any(|member| member.proposal == value);
            let mut decided = decisions.iter().flatten();
            let invented = decided.find(|value| !proposed(**value))?;
            Some(format!("{} is decided, not proposed", u8::from(*invented)))
        })
    }

    /// A run that is over, in which at most one process has crashed and another one has not decided: all
    /// messages to the others are delivered.
    pub fn blocking(&self) -> Option<Example<P>> {
        self.find(Horn::Blocked, |configuration, decisions| {
            let processes = self.protocol.processes();
            let mut crashed = [None].into_iter().chain(processes.iter().map(Some));
            crashed.find_map(|crashed| {
                let mut left = configuration.deliverable(crashed);
                let mut others = processes.iter().filter(|q| Some(*q) != crashed);
                let waits = others.find(|q| decisions[q.index()].is_none())?;
                let gone = match crashed {
                    Some(crashed) => format!("{crashed} has crashed"),
                    None => "nobody has crashed".to_owned(),
                };
                let is_over = left.next().is_none();
                is_over.then(|| format!("{gone}, nothing is in flight, and {waits} waits for ever"))
            })
        })
    }
}

/// What may be decided from each configuration: what is decided there, or from one that is a step later.
fn valencies<P: Protocol>(
    protocol: &P,
    configurations: &[Of<P>],
    steps: &[Vec<usize>],
) -> Vec<Valency> {
    let mut earlier = vec![Vec::new(); configurations.len()];
    for (at, later) in steps.iter().enumerate() {
        for place in later {
            earlier[*place].push(at);
        }
    }
    let decided = configurations.iter();
    let mut valencies: Vec<_> = decided
        .map(|configuration| Valency::of(&configuration.decisions(protocol)))
        .collect();
    let mut changed: Vec<usize> = (0..configurations.len()).collect();
    while let Some(at) = changed.pop() {
        for place in &earlier[at] {
            let joined = valencies[*place].with(valencies[at]);
            if joined != valencies[*place] {
                valencies[*place] = joined;
                changed.push(*place);
            }
        }
    }
    valencies
}
