//! What a grid shows.
use super::*;
use crate::{execution::run, failures::Pattern, flood_set::FloodSet};
use quorate_core::{Membership, ProcessSet};

#[test]
fn a_grid_shows_who_says_what_who_crashes_and_who_decides() {
    let processes = Membership::of_size(3).unwrap();
    let [p1, p2] = [1, 2].map(|round| processes.coordinator(round));
    let reached: ProcessSet = [p2].into_iter().collect();
    let pattern = Pattern::failure_free().crash(p1, 1, reached);
    let proposals = [0, 1, 1];
    let start = |p: ProcessId| FloodSet::new(1, proposals[p.index()]);
    let grid = Grid::new("FloodSet", &run(&processes, &pattern, 2, start));
    let expected = "FloodSet\n  round 1\n    p1: {0}, crashes, not to p3\n    p2: {1}\n    p3: {1}\n  round 2\n    \
                    p2: {0}, → 0\n    p3: → 0\n";
    assert_eq!(grid.to_string(), expected);
    let svg = grid.svg();
    assert_eq!(svg.matches("<rect class=").count(), 6);
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("not to p3"));
}
