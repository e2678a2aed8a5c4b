//! Consensus takes f + 1 rounds: f are not enough, whatever the algorithm is.
//!
//! First one algorithm, as a run: `FloodSet` that decides after f rounds, broken by the published pattern of
//! crashes. Then all of them: the executions of each size as a graph, in which two are joined if a process that
//! is correct in both cannot tell them apart ([`graph`]). Where the execution in which all propose 0 is
//! connected with the one in which all propose 1, no rule of decision satisfies unanimity and agreement. The
//! table shows that it is so with f rounds, where n ≥ f + 2, and not with f + 1.
//!
//! # Source
//! The lecture on consensus and reliable broadcast, the lower bound on rounds; Fischer and Lynch, 1982.
use quorate_core::{Membership, ProcessId, process::BadMembership};
use quorate_rounds::{
    execution::{Execution, run},
    failures::Pattern,
    flood_set::FloodSet,
    graph::{self, Findings, Link},
    grid::Grid,
    properties::{Agreement, Broken, consensus},
};
use quorate_sim::testing::set;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// n, f, rounds, and whether a chain must exist.
const SIZES: [(usize, usize, u64, bool); 5] = [
    (2, 1, 1, false),
    (3, 1, 1, true),
    (3, 1, 2, false),
    (4, 1, 1, true),
    (4, 2, 2, true),
];

/// The result: the published run, the table, and the chains.
pub struct Shown {
    execution: Execution<BTreeSet<u8>, u8>,
    broken: Vec<Broken>,
    findings: Vec<((usize, usize, u64, bool), Findings)>,
    proof: Vec<Link>,
    /// What `FloodSet` with one round decides along the chain of the proof.
    decisions: Vec<Vec<u8>>,
}

/// Shows all of it.
///
/// # Errors
/// Never, as the sizes are those of memberships.
pub fn show() -> Result<Shown, BadMembership> {
    let processes = Membership::of_size(4)?;
    let [p1, p2] = [1, 2].map(|round| processes.coordinator(round));
    let pattern = Pattern::failure_free()
        .crash(p1, 1, set(&[2]))
        .crash(p2, 2, set(&[3]));
    let proposals: BTreeMap<ProcessId, u8> = processes.iter().zip([0, 1, 1, 1]).collect();
    // Two processes may crash; it decides after two rounds, as if one might.
    let execution = run(&processes, &pattern, 2, |p| FloodSet::new(1, proposals[&p]));
    let broken = consensus(&execution, &proposals, Agreement::Regular, 2);
    let mut findings = Vec::new();
    for size in SIZES {
        let (n, f, rounds, _) = size;
        findings.push((size, graph::explore(&Membership::of_size(n)?, f, rounds)));
    }
    let three = Membership::of_size(3)?;
    let proof = graph::proof_chain(&three);
    let decisions = proof.iter().map(|link| {
        let start = |p| FloodSet::new(0, u8::from(link.run.ones.contains(p)));
        let execution = run(&three, &link.run.pattern, 1, start);
        execution
            .outputs_of(execution.correct())
            .into_iter()
            .collect()
    });
    let decisions = decisions.collect();
    Ok(Shown {
        execution,
        broken,
        findings,
        proof,
        decisions,
    })
}

impl Shown {
    /// What is not as it must be; nothing if exactly the stated bound shows: the run breaks agreement and
    /// nothing else, chains exist exactly where rounds are too few, and the algorithm of one round breaks
    /// agreement somewhere in the chain of the proof.
    pub fn unexpected(&self) -> Vec<String> {
        let mut unexpected = Vec::new();
        let tags: Vec<_> = self.broken.iter().map(|broken| broken.property).collect();
        if tags != ["C2"] {
            unexpected.push(format!(
                "the run breaks {tags:?}, and must break agreement (C2) alone"
            ));
        }
        for ((n, f, rounds, must), findings) in &self.findings {
            if findings.chain.is_some() != *must {
                let size = format!("n = {n}, f = {f}, {rounds} rounds");
                unexpected.push(format!("{size}: a chain must exist: {must}"));
            }
        }
        if self
            .proof
            .iter()
            .skip(1)
            .any(|link| link.similar_for.is_none())
        {
            unexpected.push("the chain of the proof has a gap".to_owned());
        }
        if self.decisions.iter().all(|decisions| decisions.len() < 2) {
            unexpected.push("agreement breaks nowhere in the chain of the proof".to_owned());
        }
        unexpected
    }

    /// All of it, as text.
    pub fn text(&self) -> String {
        let mut text = format!("{}", self.grid());
        for broken in &self.broken {
            let _ = writeln!(text, "  broken: {broken}");
        }
        let _ = writeln!(
            text,
            "\nAll executions, full information: is \"all propose 0\" connected with \"all propose 1\"?\n\
             {:>4}{:>4}{:>8}{:>12}{:>9}  connected",
            "n", "f", "rounds", "executions", "views"
        );
        for ((n, f, rounds, _), findings) in &self.findings {
            let connected = match &findings.chain {
                Some(chain) => format!("yes, by {} steps: no algorithm decides", chain.len() - 1),
                None => "no".to_owned(),
            };
            let (executions, views) = (findings.executions, findings.views);
            let _ = writeln!(
                text,
                "{n:>4}{f:>4}{rounds:>8}{executions:>12}{views:>9}  {connected}"
            );
        }
        text.push_str(
            "\nThe chain of the proof, n = 3, f = 1, one round; FloodSet's decisions beside it:\n",
        );
        for (link, decisions) in self.proof.iter().zip(&self.decisions) {
            let similar = match link.similar_for {
                Some(p) => format!("{p} sees no difference"),
                None => String::new(),
            };
            let run = link.run.to_string();
            let _ = writeln!(text, "  {run:<80} {decisions:?} {similar}");
        }
        text
    }

    fn grid(&self) -> Grid {
        let title = format!(
            "FloodSet with f = 2 rounds, n = 4: {}",
            self.execution.pattern
        );
        Grid::new(&title, &self.execution)
    }

    /// The published run, as a picture.
    pub fn svg(&self) -> String {
        self.grid().svg()
    }
}

#[cfg(test)]
mod tests;
