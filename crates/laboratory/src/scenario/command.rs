//! The command that runs a seed again.
use super::{Layers, Moment, Scenario};
use quorate_core::Time;
use quorate_sim::TimingPolicy;
use std::fmt;

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layers::Ideal => "ideal",
            Layers::Full => "full",
            Layers::Mixed => "mixed",
        })
    }
}

impl Scenario {
    /// The command that runs this seed again, and draws its diagram.
    #[must_use]
    pub fn command(&self, seed: u64) -> String {
        let faults = &self.faults;
        let world = match (&self.quorums, &self.failures) {
            (Some(quorums), Some(failures)) => format!("{quorums} {failures}"),
            (Some(quorums), None) => quorums.to_string(),
            (None, Some(failures)) => failures.to_string(),
            (None, None) => format!("--processes {} --crash {}", self.processes, faults.crashes),
        };
        let mut words = vec![
            format!("quorate sim {} {world}", self.subject),
            format!("--seeds {seed}..{}", seed + 1),
            format!(
                "--requests {} --layers {}",
                self.requests,
                self.layers_of(seed)
            ),
        ];
        let mut add = |is_given: bool, word: String| words.extend(is_given.then_some(word));
        add(
            faults.crashes > 0 && faults.moment == Moment::Output,
            "--crash-at output".to_owned(),
        );
        if let Some(omissions) = faults.omissions {
            let (kind, count, chance) =
                (omissions.kind, omissions.processes, omissions.probability);
            add(
                true,
                format!("--omission {kind} --omitting {count} --omit-chance {chance}"),
            );
        }
        add(faults.clocks.offset, "--offset".to_owned());
        add(
            faults.clocks.drift > 0.0,
            format!("--drift {}", faults.clocks.drift),
        );
        add(
            faults.clocks.jumps > 0,
            format!("--jumps {}", faults.clocks.jumps),
        );
        add(faults.loss > 0.0, format!("--loss {}", faults.loss));
        add(
            faults.duplication > 0.0,
            format!("--duplicate {}", faults.duplication),
        );
        add(
            faults.tampering > 0.0,
            format!("--tamper {}", faults.tampering),
        );
        add(faults.cuts > 0, format!("--cuts {}", faults.cuts));
        add(faults.pauses > 0, format!("--pauses {}", faults.pauses));
        add(faults.accurate, "--accurate".to_owned());
        add(faults.storm, "--storm".to_owned());
        add(
            faults.bandwidth > 0,
            format!("--bandwidth {}", faults.bandwidth),
        );
        add(faults.queue > 0, format!("--queue {}", faults.queue));
        add(faults.gaps > 0, format!("--gaps {}", faults.gaps));
        add(faults.late > 0, format!("--late {}", faults.late));
        add(
            faults.restarts > 0,
            format!("--restarts {}", faults.restarts),
        );
        add(faults.slow > 0, format!("--slow {}", faults.slow));
        add(faults.leaves > 0, format!("--leaves {}", faults.leaves));
        add(
            faults.long_cuts > 0,
            format!("--long-cuts {}", faults.long_cuts),
        );
        let milliseconds = |time: Time| time.as_nanos() / 1_000_000;
        for given in &self.omitted {
            let (from, to) = (given.copy.from.rank(), given.copy.to.rank());
            let (kind, number) = (given.kind(), given.copy.number);
            add(true, format!("--omit-{kind} '{from}>{to}#{number}'"));
        }
        add(
            self.timing.is_some(),
            self.timing.map_or(String::new(), timing),
        );
        add(self.beyond, "--beyond".to_owned());
        for gap in &self.gaps {
            let (from, to) = (gap.from.rank(), gap.to.rank());
            add(
                true,
                format!("--gap '{from}>{to}@{}'", milliseconds(gap.at)),
            );
        }
        for (p, at) in &self.starts {
            add(true, format!("--start {}@{}", p.rank(), milliseconds(*at)));
        }
        for cut in &self.cuts {
            let end = cut
                .end
                .map_or(String::new(), |end| milliseconds(end).to_string());
            let (from, to) = (cut.from.rank(), cut.to.rank());
            let begin = milliseconds(cut.begin);
            add(true, format!("--cut '{from}>{to}@{begin}..{end}'"));
        }
        words.push("--diagram".to_owned());
        words.join(" ")
    }
}

/// The options that give this timing model.
fn timing(policy: TimingPolicy) -> String {
    let name = match policy {
        TimingPolicy::Synchronous(_) => "synchronous",
        TimingPolicy::EventuallySynchronous { .. } => "eventually-synchronous",
        TimingPolicy::Asynchronous => "asynchronous",
    };
    let bounds = policy.bounds().map_or(String::new(), |bounds| {
        format!(
            " --delta {} --phi {} --start-within {}",
            bounds.delay.as_millis(),
            bounds.lateness.as_millis(),
            bounds.start.as_millis()
        )
    });
    let gst = match policy {
        TimingPolicy::EventuallySynchronous { gst, .. } => {
            format!(" --gst {}", gst.as_nanos() / 1_000_000)
        }
        TimingPolicy::Synchronous(_) | TimingPolicy::Asynchronous => String::new(),
    };
    format!("--timing {name}{bounds}{gst}")
}
