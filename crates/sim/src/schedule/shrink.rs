//! Shrinks a schedule that breaks a property to a short one.
use super::{
    exhaustive::Found,
    script::{Expectation, Expected, Line, Script},
    step::{Act, Step},
};
use crate::{property::Verdict, world::World};

/// Shortens a script that breaks the property with this tag in the world that `build` makes, as long as the
/// shorter one still does: it leaves out steps (delta debugging) and unnecessary requests, and replaces a
/// crash inside a step by a crash instead of the step, by an earlier one, or by none. Steps that the result
/// does not name happen in the default order. Its expectation is the violation; its heading keeps that of the
/// given script and adds what is wrong.
///
/// The same script and world give the same result. Returns `None` if the script does not break the property.
pub fn shrink(script: &Script, tag: &str, build: impl Fn() -> World) -> Option<Script> {
    let mut shrinking = Shrinking {
        tag,
        build: &build,
        frame: Script {
            processes: script.processes,
            no_more_requests: script.no_more_requests,
            ..Script::default()
        },
    };
    let steps: Vec<_> = script.steps().collect();
    let mut steps = shrinking.attempt(&steps)?;
    // First without the requests that the schedule does not make, then with as few requests as possible.
    shrinking.frame.no_more_requests = true;
    match shrinking.attempt(&steps) {
        Some(fewer) => steps = fewer,
        None => shrinking.frame.no_more_requests = script.no_more_requests,
    }
    loop {
        let before = steps.clone();
        steps = shrinking.leave_out(steps);
        steps = shrinking.soften(steps);
        if steps == before {
            break;
        }
    }
    // Settings that make no difference are left out.
    let mut frame = shrinking.frame.clone();
    frame.no_more_requests = script.no_more_requests;
    if shrinking.whole(&frame, &steps) == shrinking.whole(&shrinking.frame, &steps) {
        shrinking.frame = frame;
    }
    shrinking.write_down(&script.heading, &steps)
}

impl Found {
    /// The schedule as a short script that still breaks the property (see [`shrink`]), in the world
    /// that was searched.
    pub fn shrunk(&self, build: impl Fn() -> World) -> Script {
        let script = Script {
            processes: Some(build().membership().n()),
            ..Script::of(self.schedule.iter().copied())
        };
        shrink(&script, &self.violation.tag, build).unwrap_or(script)
    }
}

struct Shrinking<'a, B> {
    tag: &'a str,
    build: &'a B,
    frame: Script,
}

impl<B: Fn() -> World> Shrinking<'_, B> {
    fn script(&self, steps: &[Step]) -> Script {
        Script {
            lines: steps.iter().copied().map(Line::from).collect(),
            ..self.frame.clone()
        }
    }

    /// The steps that were actually taken, if they still break the property.
    fn attempt(&self, steps: &[Step]) -> Option<Vec<Step>> {
        let run = self.script(steps).run_leniently((self.build)());
        let taken = run.named_steps().iter().map(|line| line.step).collect();
        run.violates(self.tag).then_some(taken)
    }

    /// All steps of the run of these steps, including those that follow.
    fn whole(&self, frame: &Script, steps: &[Step]) -> Vec<Line> {
        let lines = steps.iter().copied().map(Line::from).collect();
        let script = Script {
            lines,
            ..frame.clone()
        };
        script.run_leniently((self.build)()).taken.lines
    }

    /// Leaves out halves, quarters, …, single steps, as long as something can be left out.
    fn leave_out(&self, mut steps: Vec<Step>) -> Vec<Step> {
        let mut width = steps.len().div_ceil(2).max(1);
        loop {
            let mut from = 0;
            let mut is_shorter = false;
            while from < steps.len() {
                let to = (from + width).min(steps.len());
                let rest = [&steps[..from], &steps[to..]].concat();
                match self.attempt(&rest) {
                    Some(fewer) if fewer.len() < steps.len() => {
                        steps = fewer;
                        is_shorter = true;
                    }
                    Some(_) | None => from = to,
                }
            }
            if width == 1 && !is_shorter {
                return steps;
            }
            width = width.div_ceil(2).max(1);
        }
    }

    /// Removes crashes inside steps, replaces them by crashes instead of the steps, or makes them strike
    /// earlier.
    fn soften(&self, mut steps: Vec<Step>) -> Vec<Step> {
        for index in 0..steps.len() {
            let Some(step) = steps.get(index).copied() else {
                break;
            };
            let Some(k) = step.crash_before else {
                continue;
            };
            let instead = step.crashed().map(|p| Act::Crash(p).into());
            let earlier = (2..k).map(|k| step.crashing_before(k));
            let plain = std::iter::once(Step::from(step.act));
            for softer in plain.chain(instead).chain(earlier) {
                let mut changed = steps.clone();
                changed[index] = softer;
                if let Some(taken) = self.attempt(&changed) {
                    steps = taken;
                    break;
                }
            }
        }
        steps
    }

    /// The script with notes, its heading and its expectation.
    fn write_down(&self, heading: &[String], steps: &[Step]) -> Option<Script> {
        let mut run = self.script(steps).run((self.build)()).ok()?;
        let Some(Verdict::Violated(violation)) = run.report.verdict(self.tag) else {
            return None;
        };
        let mut heading = heading.to_vec();
        heading.push(format!("{}: {}", violation.tag, violation.text));
        run.taken.lines.truncate(run.named);
        let expectation = Expectation::Of(self.tag.to_owned(), Expected::Violated);
        Some(Script {
            heading,
            lines: run.taken.lines,
            expectations: vec![expectation],
            ..self.frame.clone()
        })
    }
}
