//! The command that runs a seed again.
use super::{Layers, Moment, Scenario};
use quorate_core::Time;
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
        let world = match &self.quorums {
            Some(quorums) => quorums.to_string(),
            None => format!("--processes {} --crash {}", self.processes, faults.crashes),
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
        add(faults.loss > 0.0, format!("--loss {}", faults.loss));
        add(
            faults.duplication > 0.0,
            format!("--duplicate {}", faults.duplication),
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
        add(
            faults.long_cuts > 0,
            format!("--long-cuts {}", faults.long_cuts),
        );
        let milliseconds = |time: Time| time.as_nanos() / 1_000_000;
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
