//! The two lemmas as executions: which configurations the argument compares, and what it may say about them.
use super::{
    model::{In, Of, Protocol, Valency},
    search::{Deciding, decision_without},
    valency::Graph,
};
use quorate_core::ProcessId;

/// Lemma 1: some initial configuration is bivalent.
///
/// Xᵢ is the one in which the first i processes propose 1; X₀ is 0-valent and Xₙ is 1-valent, by validity. *If
/// none were bivalent* (the source leaves this out, and calls the second of the two "valent": H3-E1), some
/// 0-valent Xⱼ would stand next to a 1-valent Xⱼ₊₁. They differ in the proposal of pⱼ₊₁; so they are not similar
/// in the sense of the source, which wants all proposals to be the same (H3-E4), but they are for everybody
/// else. A run in which pⱼ₊₁ takes no step decides, because one process may crash, and decides the same from
/// both.
pub struct Neighbours<P: Protocol> {
    /// All Xᵢ, with their valencies.
    pub chain: Vec<(Vec<bool>, Valency)>,
    /// Xⱼ, which is 0-valent, and Xⱼ₊₁, from which 1 may be decided.
    pub pair: [Of<P>; 2],
    pub differs: ProcessId,
    /// The run without that process, from Xⱼ.
    pub run: Deciding<P>,
    /// What the same run decides from Xⱼ₊₁.
    pub decides: Option<bool>,
    /// Whether everybody else has the same state after it, and everything sent is the same.
    pub is_same_for_others: bool,
}

/// The neighbours of Lemma 1; `None` if no 0-valent configuration of the chain has one from which 1 may be
/// decided, or if nothing is decided without the process in which they differ.
pub fn neighbours<P: Protocol>(graph: &Graph<P>) -> Option<Neighbours<P>> {
    let protocol = graph.protocol();
    let processes = protocol.processes();
    let proposals =
        |ones: usize| -> Vec<bool> { processes.iter().map(|p| p.rank() <= ones).collect() };
    let chain: Vec<_> = (0..=processes.n())
        .map(|ones| (proposals(ones), graph.initial(&proposals(ones))))
        .collect();
    let zero = |valency: Valency| valency.zero && !valency.one;
    let mut places = chain.windows(2);
    let place = places.position(|pair| zero(pair[0].1) && pair[1].1.one)?;
    let pair = [place, place + 1].map(|ones| Of::<P>::initial(processes, &proposals(ones)));
    let differs = processes.iter().nth(place)?;
    let run = decision_without(protocol, &pair[0], differs)?;
    let ends = pair.each_ref().map(|from| from.after(protocol, &run.run));
    let [Some(one), Some(other)] = ends else {
        return None;
    };
    let others = |end: &Of<P>| {
        let members = end.members().iter().enumerate();
        let members = members.filter(|(index, _)| *index != differs.index());
        members
            .map(|(_, member)| member.clone())
            .collect::<Vec<_>>()
    };
    let decided = Valency::of(&other.decisions(protocol));
    Some(Neighbours {
        pair,
        differs,
        is_same_for_others: others(&one) == others(&other) && one.pool() == other.pool(),
        decides: (!decided.is_bivalent() && decided != Valency::default()).then_some(decided.one),
        chain,
        run,
    })
}

/// Two messages to the same process, delivered in either order: the second scenario of Lemma 2.
pub struct Square<P: Protocol> {
    pub receiver: ProcessId,
    pub messages: [In<P>; 2],
    /// After the first message and then the second; and the other way round.
    pub ends: [Of<P>; 2],
    pub valencies: [Valency; 2],
    /// From before the messages, a run to a decision in which the receiver takes no step.
    pub without_receiver: Option<Deciding<P>>,
    /// Whether that run commutes with both orders: the messages may come after the decision as well.
    pub closes: bool,
}

impl<P: Protocol> Square<P> {
    fn new(
        graph: &Graph<P>,
        from: &Of<P>,
        messages: [In<P>; 2],
        ends: [Of<P>; 2],
        without_receiver: Option<Deciding<P>>,
    ) -> Self {
        let protocol = graph.protocol();
        let orders = [messages.clone(), [messages[1].clone(), messages[0].clone()]];
        let closes = without_receiver.as_ref().is_some_and(|without_receiver| {
            let decided = from.after(protocol, &without_receiver.run);
            let later = orders
                .each_ref()
                .map(|order| decided.as_ref()?.after(protocol, order));
            let sooner = ends
                .each_ref()
                .map(|end| end.after(protocol, &without_receiver.run));
            later == sooner && later.iter().all(Option::is_some)
        });
        Square {
            receiver: messages[0].to,
            valencies: ends
                .each_ref()
                .map(|end| graph.valency(end).unwrap_or_default()),
            messages,
            ends,
            without_receiver,
            closes,
        }
    }

    /// Whether different messages are in flight at the two ends. The source says that they are the same.
    pub fn pools_differ(&self) -> bool {
        self.ends[0].pool() != self.ends[1].pool()
    }

    /// Whether 0 alone may be decided at one end, and 1 alone at the other.
    pub fn decides_by_order(&self) -> bool {
        let [one, other] = self.valencies;
        let joined = one.with(other);
        !one.is_bivalent() && !other.is_bivalent() && joined.is_bivalent()
    }
}

/// Squares from bivalent configurations whose ends have different pools, those of short runs first; of each
/// configuration, those of all pairs of messages to the same process.
pub fn squares<P: Protocol>(graph: &Graph<P>) -> impl Iterator<Item = Square<P>> {
    let bivalent = graph
        .configurations()
        .filter(|(_, valency)| valency.is_bivalent());
    bivalent.flat_map(move |(from, _)| {
        let protocol = graph.protocol();
        let all: Vec<_> = from.deliverable(None).cloned().collect();
        let pairs = all.iter().enumerate().flat_map(|(at, first)| {
            let rest = all[at + 1..].iter().filter(|second| second.to == first.to);
            rest.map(|second| [first.clone(), second.clone()])
        });
        let squares = pairs.filter_map(|[first, second]| {
            let order =
                |one: &In<P>, other: &In<P>| from.after(protocol, &[one.clone(), other.clone()]);
            let ends = [order(&first, &second)?, order(&second, &first)?];
            let without_receiver = decision_without(protocol, from, first.to);
            (ends[0].pool() != ends[1].pool())
                .then(|| Square::new(graph, from, [first, second], ends, without_receiver))
        });
        squares.collect::<Vec<_>>()
    })
}
