//! The properties of consensus and of terminating broadcast, over one execution in rounds. An execution in
//! rounds is finite, so that what would be liveness elsewhere is safety with a bound here.
use crate::execution::Execution;
use quorate_core::{ProcessId, ProcessSet};
use std::{collections::BTreeMap, fmt};

/// A property that an execution breaks, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Its tag: `C2`, `TRB1`.
    pub property: &'static str,
    /// What happened.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.how)
    }
}

/// For whom agreement is demanded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// For the correct processes.
    Regular,
    /// For all, also those that fail later.
    Uniform,
}

impl Agreement {
    fn whom<M, O: Clone + Ord>(self, execution: &Execution<M, O>) -> ProcessSet {
        match self {
            Agreement::Regular => execution.correct(),
            Agreement::Uniform => execution.processes.set(),
        }
    }
}

/// What both have in common: agreement, at most one output, and an output in time.
fn common<M, O: Clone + Ord + fmt::Debug>(
    execution: &Execution<M, O>,
    agreement: Agreement,
    latest: u64,
    [agree, once, terminate]: [&'static str; 3],
) -> Vec<Broken> {
    let mut broken = Vec::new();
    let outputs = execution.outputs_of(agreement.whom(execution));
    if outputs.len() > 1 {
        let by: Vec<_> = agreement.whom(execution).iter().collect();
        let by = by.iter().filter_map(|p| Some((p, execution.output(*p)?)));
        let by: Vec<_> = by
            .map(|(p, (_, output))| format!("{p} {output:?}"))
            .collect();
        broken.push(Broken {
            property: agree,
            how: by.join(", "),
        });
    }
    for (p, outputs) in &execution.outputs {
        if outputs.len() > 1 {
            broken.push(Broken {
                property: once,
                how: format!("{p} {outputs:?}"),
            });
        }
    }
    for p in execution.correct().iter() {
        match execution.output(p) {
            Some((round, _)) if *round <= latest => {}
            Some((round, _)) => broken.push(Broken {
                property: terminate,
                how: format!("{p} in round {round}, after round {latest}"),
            }),
            None => broken.push(Broken {
                property: terminate,
                how: format!("{p} not at all"),
            }),
        }
    }
    broken
}

/// Consensus: C1 unanimity and validity, C2 agreement, C3 at most one decision, of a proposed value, C4 a
/// decision of every correct process by the end of round `latest`.
pub fn consensus<M, O: Clone + Ord + fmt::Debug>(
    execution: &Execution<M, O>,
    proposals: &BTreeMap<ProcessId, O>,
    agreement: Agreement,
    latest: u64,
) -> Vec<Broken> {
    let mut broken = common(execution, agreement, latest, ["C2", "C3", "C4"]);
    let mut values = proposals.values();
    let first = values.next();
    let unanimous = first.filter(|first| values.all(|value| value == *first));
    for (p, outputs) in &execution.outputs {
        for (_, output) in outputs {
            if let Some(value) = unanimous
                && output != value
                && execution.correct().contains(*p)
            {
                broken.push(Broken {
                    property: "C1",
                    how: format!("all propose {value:?}, {p} decides {output:?}"),
                });
            } else if !proposals.values().any(|value| value == output) {
                broken.push(Broken {
                    property: "C3",
                    how: format!("{p} decides {output:?}, which nobody proposed"),
                });
            }
        }
    }
    broken
}

/// What terminating broadcast delivers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Delivery<V> {
    /// The sender's message.
    Message(V),
    /// The sender is faulty. No message can be mistaken for it.
    SenderFaulty,
}

/// Terminating broadcast of `sender`, which has this message, if any: TRB1 validity, TRB2 agreement, TRB3 at
/// most one delivery, of the sender's message or that it is faulty, TRB4 a delivery of every correct process
/// by the end of round `latest`.
pub fn terminating<M, V: Clone + Ord + fmt::Debug>(
    execution: &Execution<M, Delivery<V>>,
    sender: ProcessId,
    message: Option<&V>,
    agreement: Agreement,
    latest: u64,
) -> Vec<Broken> {
    let mut broken = common(execution, agreement, latest, ["TRB2", "TRB3", "TRB4"]);
    let is_correct = execution.correct().contains(sender);
    for (p, outputs) in &execution.outputs {
        for (_, output) in outputs {
            match output {
                Delivery::Message(value) if message != Some(value) => broken.push(Broken {
                    property: "TRB3",
                    how: format!("{p} delivers {value:?}, which {sender} did not broadcast"),
                }),
                Delivery::SenderFaulty
                    if is_correct && message.is_some() && execution.correct().contains(*p) =>
                {
                    broken.push(Broken {
                        property: "TRB1",
                        how: format!("{sender} is correct, {p} delivers that it is faulty"),
                    });
                }
                Delivery::Message(_) | Delivery::SenderFaulty => {}
            }
        }
    }
    broken
}

/// Early stopping (ES): where t processes fail, the correct ones deliver by round min(t + 1, f + 1) and halt
/// by round min(t + 2, f + 1).
pub fn early_stopping<M, O: Clone + Ord>(execution: &Execution<M, O>, f: usize) -> Vec<Broken> {
    let (t, last) = (execution.pattern.faulty().len() as u64, f as u64 + 1);
    let mut broken = Vec::new();
    for p in execution.correct().iter() {
        let delivered = execution.output(p).map(|(round, _)| *round);
        if delivered.is_none_or(|round| round > last.min(t + 1)) {
            broken.push(Broken {
                property: "ES",
                how: format!("{p} delivers in round {delivered:?}, t = {t}, f = {f}"),
            });
        }
        let halted = execution.halted.get(&p);
        if halted.is_none_or(|round| *round > last.min(t + 2)) {
            broken.push(Broken {
                property: "ES",
                how: format!("{p} halts in round {halted:?}, t = {t}, f = {f}"),
            });
        }
    }
    broken
}

#[cfg(test)]
mod tests;
