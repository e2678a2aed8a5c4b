//! No deterministic protocol decides in every fair run of an asynchronous system in which one process may crash
//! (Fischer, Lynch, Paterson).
//!
//! A protocol for three processes breaks one of these *horns* ([`Horn`]): it decides two values, or one that
//! nobody proposed; or a crash blocks it; or a fair run without any crash never decides. Which one it is depends
//! on the protocol:
//!
//! - Three small protocols, in every schedule ([`valency`]): who waits for one value less than there are breaks
//!   agreement; who waits for all, or for one process, is blocked by a crash.
//! - A rotating coordinator ([`rotating`]), safe and never blocked. In two rounds, every configuration has its
//!   valency, and Lemma 1 finds a bivalent initial one ([`lemmas`]). With as many rounds as it takes, a walk
//!   ([`walker`]) keeps the run bivalent, although it delivers the oldest message again and again (Lemma 2). When
//!   delays have a bound, the same run decides.
//!
//! # Model
//! Asynchronous; deterministic, without coins (H3-E5); links are reliable; at most one process crashes.
//! Configurations are data ([`model`]).
//!
//! # Source
//! Fischer, Lynch, Paterson: *Impossibility of Distributed Consensus with One Faulty Process*, JACM 1985; lecture
//! notes on distributed algorithms, whose proof needs the corrections named in [`lemmas`] and [`walker`].
use crate::chart::{self, Chart, Look, Place};
use lemmas::{Neighbours, Square, neighbours, squares};
use model::{In, Of, Protocol, Valency};
use protocols::{FirstCome, WaitFor};
use quorate_core::{Membership, process::BadMembership};
use rotating::Rotating;
use search::bivalence;
use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write},
};
use valency::{Example, Graph};
use walker::{Walk, walk};

pub mod lemmas;
pub mod model;
pub mod protocols;
pub mod rotating;
pub mod search;
pub mod valency;
pub mod walker;

/// The rounds of the instance of which every configuration is made.
const ROUNDS: u64 = 2;

/// So many deliveries after delays have a bound, all must have decided.
const SETTLED: usize = 100;

/// A picture shows so many deliveries.
const DRAWN: usize = 36;

/// What a protocol loses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Horn {
    /// Two processes decide differently.
    Agreement,
    /// A value is decided that nobody proposed.
    Validity,
    /// Where at most one process crashes, another one waits for ever.
    Blocked,
    /// Every message is delivered, nobody crashes, and nobody ever decides.
    Undecided,
}

impl Display for Horn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Horn::Agreement => "agreement",
            Horn::Validity => "validity",
            Horn::Blocked => "termination, as one crash blocks it",
            Horn::Undecided => "termination, as a fair run without a crash never decides",
        })
    }
}

/// A protocol, and the horns that it breaks.
pub struct Examined {
    pub name: String,
    pub broken: Vec<Horn>,
    /// The horns that it must break.
    pub stated: Vec<Horn>,
    /// What else is not as the theorem has it.
    pub contradictions: Vec<String>,
    text: String,
    chart: Option<Chart>,
}

impl Examined {
    fn new(name: String, stated: &[Horn]) -> Self {
        Examined {
            name,
            broken: Vec::new(),
            stated: stated.to_vec(),
            contradictions: Vec::new(),
            text: String::new(),
            chart: None,
        }
    }

    /// How it differs from what is stated.
    pub fn unexpected(&self) -> Vec<String> {
        let mut unexpected = self.contradictions.clone();
        if self.broken.is_empty() {
            unexpected.push(format!("{}: no horn broke", self.name));
        } else if self.broken != self.stated {
            let (broken, stated) = (&self.broken, &self.stated);
            unexpected.push(format!("{}: {broken:?}, not {stated:?}", self.name));
        }
        unexpected
    }

    fn write_counts<P: Protocol>(&mut self, graph: &Graph<P>) {
        let counts: BTreeMap<Valency, usize> = graph.counts();
        let all: usize = counts.values().sum();
        let counts: Vec<_> = counts
            .iter()
            .map(|(valency, count)| format!("{count} {valency}"))
            .collect();
        let _ = writeln!(
            self.text,
            "{}: {all} configurations: {}",
            graph.protocol().name(),
            counts.join(", ")
        );
    }

    fn write_example<P: Protocol>(&mut self, example: &Example<P>) {
        self.broken.push(example.horn);
        let _ = writeln!(
            self.text,
            "  broken: {}\n    proposals {}; {}\n    {}",
            example.horn,
            bits(&example.proposals),
            run(&example.run),
            example.violation
        );
    }
}

/// Bits, as a list.
fn bits(all: &[bool]) -> String {
    let all: Vec<_> = all.iter().map(|bit| u8::from(*bit).to_string()).collect();
    all.join(", ")
}

/// Deliveries, as a list.
fn run<M: fmt::Debug>(all: &[model::Envelope<M>]) -> String {
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    all.join("; ")
}

/// Examines a protocol whose runs all end, in every schedule.
pub fn in_every_schedule<P: Protocol>(protocol: P, stated: &[Horn]) -> Examined {
    let graph = Graph::new(protocol);
    let mut examined = Examined::new(graph.protocol().name(), stated);
    examined.write_counts(&graph);
    let found = [graph.disagreement(), graph.invention(), graph.blocking()];
    for example in found.iter().flatten() {
        examined.write_example(example);
    }
    examined
}

/// Examines a protocol whose runs need not end: `small` is an instance of it with finitely many configurations,
/// of which each is made; the walk goes through so many stages.
pub fn walked<P: Protocol>(small: P, protocol: &P, stages: usize, stated: &[Horn]) -> Examined {
    let graph = Graph::new(small);
    let mut examined = Examined::new(protocol.name(), stated);
    examined.write_counts(&graph);
    for example in [graph.disagreement(), graph.invention()].iter().flatten() {
        examined.write_example(example);
    }
    let Some(found) = neighbours(&graph) else {
        examined
            .text
            .push_str("  no bivalent initial configuration\n");
        return examined;
    };
    write_neighbours(&mut examined, &found);
    if let Some(square) = squares(&graph).find(|square| square.without_receiver.is_some()) {
        write_square(&mut examined, &square);
    }
    let [_, from] = found.pair;
    write_walk(&mut examined, protocol, from, stages);
    examined
}

fn write_neighbours<P: Protocol>(examined: &mut Examined, found: &Neighbours<P>) {
    let mut text =
        "\nLemma 1: the initial configurations in which the first processes propose 1\n".to_owned();
    for (proposals, valency) in &found.chain {
        let _ = writeln!(text, "  {}: {valency}", bits(proposals));
    }
    let (p, value) = (found.differs, u8::from(found.run.value));
    let [one, other] = found.pair.each_ref().map(|of| {
        let proposals: Vec<_> = of.members().iter().map(|member| member.proposal).collect();
        bits(&proposals)
    });
    let _ = writeln!(
        text,
        "  {one} and {other} differ in the proposal of {p}. If {p} takes no step, nobody else sees a\n  \
         difference, and the same run decides {value} from both:\n    {}\n  \
         So {other}, from which 1 may be decided, too, is bivalent.",
        run(&found.run.run)
    );
    let same = found.is_same_for_others && found.decides == Some(found.run.value);
    if !same {
        let said = format!("without {p} the others can tell {one} and {other} apart");
        examined.contradictions.push(said);
    }
    examined.text.push_str(&text);
}

fn write_square<P: Protocol>(examined: &mut Examined, square: &Square<P>) {
    let Square {
        receiver: p,
        messages: [first, second],
        ends,
        ..
    } = square;
    let pools = ends.each_ref().map(|end| run(end.pool()));
    let without_receiver = square
        .without_receiver
        .as_ref()
        .map(|without_receiver| run(&without_receiver.run));
    let _ = writeln!(
        examined.text,
        "\nLemma 2, two messages to the same process: {first}, and {second}\n  \
         in this order, in flight afterwards: {}\n  in the other order:                  {}\n  \
         {p} sends different messages, but a run without {p} decides, and may come before either order:\n    {}\n  \
         So the two orders do not lead to different decisions.",
        pools[0],
        pools[1],
        without_receiver.unwrap_or_default()
    );
    if !square.closes || square.decides_by_order() {
        let said = format!("deliveries to {p} do not commute with a run without {p}");
        examined.contradictions.push(said);
    }
}

fn write_walk<P: Protocol>(examined: &mut Examined, protocol: &P, from: Of<P>, stages: usize) {
    let Some(start) = bivalence(protocol, &from, &[]) else {
        examined
            .text
            .push_str("  no run to either decision was found\n");
        return;
    };
    let mut walk = walk(protocol, from, start, stages);
    let _ = writeln!(
        examined.text,
        "\nThe walk: each stage ends with the message that has waited longest; then 0 and 1 can be decided after\n\
         so many more deliveries"
    );
    for (index, stage) in walk.stages.iter().enumerate() {
        let mut all = stage.prefix.clone();
        all.push(stage.oldest.clone());
        let ([zero, one], number) = (stage.distances, index + 1);
        let _ = writeln!(
            examined.text,
            "{number:>4}  0: {zero:>2}  1: {one:>2}  {}",
            run(&all)
        );
    }
    judge_walk(examined, protocol, &walk, stages);
    examined.chart = Some(chart(protocol, &walk));
    let before = walk.run.delivered.len();
    let settled = walk.run.settle(protocol, SETTLED);
    let decisions = walk.run.configuration.decisions(protocol);
    if !settled || Valency::of(&decisions).is_bivalent() {
        let said = "with bounded delays the run does not decide".to_owned();
        return examined.contradictions.push(said);
    }
    let decided: Vec<_> = decisions.iter().flatten().copied().collect();
    let _ = writeln!(
        examined.text,
        "  From now on delays have a bound, and timeouts are longer: after {} more deliveries all have decided: {}",
        walk.run.delivered.len() - before,
        bits(&decided)
    );
}

/// Which horn the walk shows.
fn judge_walk<P: Protocol>(examined: &mut Examined, protocol: &P, walk: &Walk<P>, stages: usize) {
    let run = &walk.run;
    let steps = protocol
        .processes()
        .iter()
        .map(|p| format!("{p} {}", run.steps(p)));
    let steps: Vec<_> = steps.collect();
    let _ = writeln!(
        examined.text,
        "  {} stages, {} deliveries; steps: {}; no message waited for more than {} deliveries",
        walk.stages.len(),
        run.delivered.len(),
        steps.join(", "),
        run.longest_wait()
    );
    let decisions = run.configuration.decisions(protocol);
    if let Some((p, stage)) = walk.blocked_without {
        let _ = writeln!(
            examined.text,
            "  broken: {}: after stage {stage} no run without {p} to a decision was found",
            Horn::Blocked
        );
        examined.broken.push(Horn::Blocked);
    }
    if let Some(message) = &walk.stuck_at {
        let _ = writeln!(
            examined.text,
            "  no delivery of {message} was found that leaves both decisions possible"
        );
    } else if walk.stages.len() == stages && decisions.iter().all(Option::is_none) {
        let _ = writeln!(examined.text, "  broken: {}", Horn::Undecided);
        examined.broken.push(Horn::Undecided);
    }
}

/// The beginning of a walk, as a picture.
fn chart<P: Protocol>(protocol: &P, walk: &Walk<P>) -> Chart {
    let processes = walk.run.configuration.members().len();
    let mut chart = Chart {
        title: format!("{}: the beginning of the walk", protocol.name()),
        columns: (1..=processes).map(|rank| format!("p{rank}")).collect(),
        verdict: "After each stage (blue) both 0 and 1 can still be decided; nobody crashes."
            .to_owned(),
        ..Chart::default()
    };
    let (mut ends, mut end) = (BTreeMap::new(), 0);
    for (index, stage) in walk.stages.iter().enumerate() {
        end += stage.prefix.len() + 1;
        ends.insert(end - 1, format!("stage {}", index + 1));
    }
    for (at, delivered) in walk.run.delivered.iter().enumerate().take(DRAWN) {
        chart.rows.push(ends.get(&at).cloned().unwrap_or_default());
        let look = if ends.contains_key(&at) {
            Look::Strong
        } else {
            Look::Plain
        };
        let In::<P> { to, from, content } = &delivered.envelope;
        let column = to.index();
        let place = Place { column, row: at };
        match content {
            Some(message) if to != from => {
                let row = delivered.sent.saturating_sub(1);
                let sent = Place {
                    column: from.index(),
                    row,
                };
                let label = format!("{message:?}");
                chart.arrows.push((sent, place, label, look));
            }
            Some(message) => chart.marks.push((place, format!("{message:?}"), look)),
            None => chart.marks.push((place, "starts".to_owned(), look)),
        }
    }
    chart
}

/// The protocols that were examined.
pub struct Shown {
    pub examined: Vec<Examined>,
}

/// Examines all of them; the walk has so many stages.
///
/// # Errors
/// Never, because there is a membership of three.
pub fn show(stages: usize) -> Result<Shown, BadMembership> {
    let three = Membership::of_size(3)?;
    let small = Rotating::new(three).up_to(ROUNDS);
    Ok(Shown {
        examined: vec![
            in_every_schedule(WaitFor::new(three, 2), &[Horn::Agreement]),
            in_every_schedule(WaitFor::new(three, 3), &[Horn::Blocked]),
            in_every_schedule(FirstCome::new(three), &[Horn::Blocked]),
            walked(small, &Rotating::new(three), stages, &[Horn::Undecided]),
        ],
    })
}

impl Shown {
    /// What is not as the theorem has it.
    pub fn unexpected(&self) -> Vec<String> {
        self.examined
            .iter()
            .flat_map(Examined::unexpected)
            .collect()
    }

    /// All of it, as text.
    pub fn text(&self) -> String {
        let mut text = "Three processes, every way to propose, every schedule\n\n".to_owned();
        let texts: Vec<_> = self.examined.iter().map(|it| &it.text[..]).collect();
        text.push_str(&texts.join("\n"));
        text
    }

    /// The beginning of the walk, as a picture.
    pub fn svg(&self) -> String {
        let charts = self.examined.iter().filter_map(|it| it.chart.clone());
        chart::svg(&charts.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests;
