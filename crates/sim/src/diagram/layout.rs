//! The positions of a story's points: time goes down, and events at one moment at different processes stand
//! side by side.
use super::story::{Mark, Story};
use quorate_core::Time;

/// The distance between two points of one process.
const STEP: f64 = 19.0;
/// The distance from a point with a box to the next, because its box needs space.
const BOX_STEP: f64 = 25.0;
/// The distance from the last point of a moment to the first of the next.
const MOMENT: f64 = 13.0;
/// How far an arrow falls at least for each line that it passes.
const FALL: f64 = 14.0;

/// The rows of a story's points.
pub(super) struct Layout {
    /// The heights of the points.
    pub(super) heights: Vec<f64>,
    /// When each moment began, and at which height.
    pub(super) moments: Vec<(Time, f64)>,
    /// The height of the last point.
    pub(super) bottom: f64,
}

impl Layout {
    /// Lays a story out from `top` down.
    pub(super) fn of(story: &Story, top: f64) -> Self {
        let mut layout = Layout {
            heights: Vec::with_capacity(story.points.len()),
            moments: Vec::new(),
            bottom: top,
        };
        let mut last: Vec<Option<(f64, Mark)>> = vec![None; story.n];
        let mut base = top;
        let mut now = None;
        for point in &story.points {
            let begins = now != Some(point.time);
            if begins {
                if now.is_some() {
                    base = layout.bottom + MOMENT;
                }
                now = Some(point.time);
            }
            let mut height = base;
            if let Some((before, mark)) = last[point.process] {
                height = height.max(before + step(mark, point.mark));
            }
            if let Some(sent) = point.after {
                let lines = story.points[sent].process.abs_diff(point.process) as f64;
                height = height.max(layout.heights[sent] + FALL * lines.max(1.0));
            }
            if begins {
                layout.moments.push((point.time, height));
            }
            last[point.process] = Some((height, point.mark));
            layout.bottom = layout.bottom.max(height);
            layout.heights.push(height);
        }
        layout
    }
}

fn step(before: Mark, next: Mark) -> f64 {
    if before == Mark::Dot && next == Mark::Dot {
        STEP
    } else {
        BOX_STEP.max(STEP)
    }
}
