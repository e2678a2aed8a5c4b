//! Following a script.
use super::{
    script::{Line, Script},
    step::Step,
};
use crate::{property::Verdict, report::Report, world::World};

/// Why a world cannot follow a script.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unplayable {
    /// The script is for another number of processes.
    #[error("the script is for {script} processes, the world has {world}")]
    Processes {
        /// The number in the script.
        script: usize,
        /// The number in the world.
        world: usize,
    },
    /// A step that is not enabled.
    #[error("step {number}, `{step}`, is not enabled; enabled are: {enabled}")]
    NotEnabled {
        /// The number of the step, from 1.
        number: usize,
        step: Step,
        /// The steps that were enabled instead.
        enabled: String,
    },
    /// A step has fewer outputs than its crash needs.
    #[error("step {number}, `{step}`, has no such output")]
    NoSuchOutput {
        /// The number of the step, from 1.
        number: usize,
        step: Step,
    },
}

/// A run that followed a schedule.
pub struct Run {
    /// The world at its end.
    pub world: World,
    /// The verdicts.
    pub report: Report,
    /// The steps that were taken, including those after the end of the script. They replay the run.
    pub taken: Script,
    /// How many of these steps the script named.
    pub named: usize,
}

impl Script {
    /// Follows the script in this world, which has not run yet, and then goes on to the end of the run, the
    /// oldest step first, unless the script says `stop`. A violation ends the run, unless the world was told
    /// to go on.
    ///
    /// # Errors
    /// When the script does not fit the world.
    pub fn run(&self, world: World) -> Result<Run, Unplayable> {
        let n = world.membership().n();
        match self.processes {
            Some(script) if script != n => return Err(Unplayable::Processes { script, world: n }),
            _ => {}
        }
        let mut player = Player::new(world);
        for (index, line) in self.lines.iter().enumerate() {
            if player.is_over() {
                break;
            }
            let (step, number) = (line.step, index + 1);
            match player.take(step) {
                Progress::Taken => {}
                Progress::NotStruck => return Err(Unplayable::NoSuchOutput { number, step }),
                Progress::NotEnabled => {
                    let enabled = player.world.enabled();
                    let enabled: Vec<_> = enabled.iter().map(Step::to_string).collect();
                    let enabled = enabled.join(", ");
                    return Err(Unplayable::NotEnabled {
                        number,
                        step,
                        enabled,
                    });
                }
            }
        }
        Ok(player.finish(self))
    }

    /// The same, but skips steps that are not enabled, and crashes before outputs that do not exist.
    pub fn run_leniently(&self, world: World) -> Run {
        let mut player = Player::new(world);
        for line in &self.lines {
            if player.is_over() {
                break;
            }
            player.take(line.step);
        }
        player.finish(self)
    }
}

/// The result of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Taken,
    /// The step was taken, but the crash inside it did not strike.
    NotStruck,
    NotEnabled,
}

/// Takes steps and writes them down.
pub(super) struct Player {
    pub(super) world: World,
    lines: Vec<Line>,
}

impl Player {
    pub(super) fn new(world: World) -> Self {
        Player {
            world: world.on_stage(),
            lines: Vec::new(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.world.is_violated() && self.world.stop_at_violation
    }

    /// The steps so far.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step> {
        self.lines.iter().map(|line| line.step)
    }

    pub(super) fn take(&mut self, step: Step) -> Progress {
        let note = self.world.label_of(step).to_owned();
        let Some(taken) = self.world.take_step(step) else {
            return Progress::NotEnabled;
        };
        if step.crash_before.is_some() && !taken.struck {
            let step = Step::from(step.act);
            self.lines.push(Line { step, note });
            return Progress::NotStruck;
        }
        self.lines.push(Line { step, note });
        Progress::Taken
    }

    pub(super) fn finish(mut self, script: &Script) -> Run {
        let named = self.lines.len();
        if script.no_more_requests {
            self.world.withdraw_requests();
        }
        let mut complete = self.world.is_complete();
        while !script.stop && !complete && !self.is_over() && self.world.has_time() {
            let Some(oldest) = self.world.enabled().first().copied() else {
                break;
            };
            self.take(oldest);
            complete = self.world.is_complete();
        }
        let report = self.world.report(complete && !self.is_over());
        Run {
            taken: Script {
                processes: Some(self.world.membership().n()),
                lines: self.lines,
                stop: script.stop,
                no_more_requests: script.no_more_requests,
                ..Script::default()
            },
            report,
            world: self.world,
            named,
        }
    }
}

impl Run {
    /// Whether the property with this tag was broken.
    pub fn violates(&self, tag: &str) -> bool {
        self.report.verdict(tag).is_some_and(Verdict::is_violated)
    }

    /// The steps that the script named and the world took, without those after the end of the script.
    pub fn named_steps(&self) -> &[Line] {
        &self.taken.lines[..self.named]
    }
}
