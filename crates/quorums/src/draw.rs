//! Pictures of fail-prone systems: the residual graph under each pattern, and its quorums.
use crate::{
    decision::Witness,
    system::{FailProneSystem, Residual},
};
use quorate_core::{ProcessId, ProcessSet};
use std::{f64::consts::TAU, fmt::Write};

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 330.0;
const RADIUS: f64 = 95.0;
const CIRCLE: f64 = 17.0;
const COLUMNS: usize = 4;
const LEGEND: f64 = 80.0;

const STYLE: &str = "text{font-family:sans-serif;font-size:13px;text-anchor:middle}\
.title{font-size:15px;font-weight:bold}.left{text-anchor:start}\
.process{fill:#fff;stroke:#222;stroke-width:1.5}.crashed{stroke:#bbb}.gone{stroke:#c22;stroke-width:2}\
.channel{stroke:#555;stroke-width:1.3;fill:none}\
.write{fill:none;stroke:#1665c0;stroke-width:3}\
.read{fill:none;stroke:#d9730d;stroke-width:3;stroke-dasharray:5 3}\
.guaranteed{fill:#d7ecd9}";

/// The picture, as SVG; without a witness, it shows the residual graphs only.
pub fn svg(system: &FailProneSystem, witness: Option<&Witness>) -> String {
    let count = system.patterns.len().max(1);
    let columns = count.min(COLUMNS);
    let rows = count.div_ceil(COLUMNS);
    let (width, height) = (WIDTH * columns as f64, HEIGHT * rows as f64 + LEGEND);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\">\n<style>{STYLE}</style>\n<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" \
         refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0,0L8,4L0,8z\" \
         fill=\"#555\"/></marker></defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (index, residual) in system.residuals().iter().enumerate() {
        let (x, y) = (
            WIDTH * (index % COLUMNS) as f64,
            HEIGHT * (index / COLUMNS) as f64,
        );
        let _ = writeln!(text, "<g transform=\"translate({x},{y})\">");
        panel(&mut text, system, residual, index, witness);
        text.push_str("</g>\n");
    }
    legend(&mut text, HEIGHT * rows as f64, witness.is_some());
    text.push_str("</svg>\n");
    text
}

/// The quorums of a pattern.
#[derive(Clone, Copy)]
struct Chosen {
    write: ProcessSet,
    read: ProcessSet,
    guaranteed: ProcessSet,
}

fn panel(
    text: &mut String,
    system: &FailProneSystem,
    residual: &Residual,
    index: usize,
    witness: Option<&Witness>,
) {
    let pattern = &system.patterns[index];
    let middle = WIDTH / 2.0;
    let _ = writeln!(
        text,
        "<text class=\"title\" x=\"{middle}\" y=\"24\">{}</text>",
        escaped(&pattern.name)
    );
    let chosen = witness.map(|witness| Chosen {
        write: witness.writes[index],
        read: witness.reads[index],
        guaranteed: witness.choices[index].write,
    });
    for p in residual.alive.iter() {
        for q in residual.channels(p).iter() {
            channel(text, system, p, q, residual.channels(q).contains(p));
        }
    }
    for p in system.processes.iter() {
        process(text, system, p, residual.alive.contains(p), chosen);
    }
    if let Some(chosen) = chosen {
        let quorums = format!(
            "W = {}, R = {}",
            system.named(chosen.write),
            system.named(chosen.read)
        );
        let guaranteed = format!("U = {}", system.named(chosen.guaranteed));
        for (below, words) in [(HEIGHT - 30.0, quorums), (HEIGHT - 12.0, guaranteed)] {
            let _ = writeln!(
                text,
                "<text x=\"{middle}\" y=\"{below}\">{}</text>",
                escaped(&words)
            );
        }
    }
}

fn place(system: &FailProneSystem, p: ProcessId) -> (f64, f64) {
    let turn = TAU * (p.index() as f64 / system.processes.n() as f64 - 0.25);
    (
        WIDTH / 2.0 + RADIUS * turn.cos(),
        HEIGHT / 2.0 + RADIUS * turn.sin(),
    )
}

/// An arrow; two that go both ways are drawn beside each other.
fn channel(text: &mut String, system: &FailProneSystem, p: ProcessId, q: ProcessId, both: bool) {
    let ((x1, y1), (x2, y2)) = (place(system, p), place(system, q));
    let (dx, dy) = (x2 - x1, y2 - y1);
    let length = dx.hypot(dy).max(1.0);
    let (ux, uy) = (dx / length, dy / length);
    let aside = if both { 5.0 } else { 0.0 };
    let gap = CIRCLE + 8.0;
    let (x1, y1) = (x1 + ux * gap - uy * aside, y1 + uy * gap + ux * aside);
    let (x2, y2) = (x2 - ux * gap - uy * aside, y2 - uy * gap + ux * aside);
    let _ = writeln!(
        text,
        "<path class=\"channel\" marker-end=\"url(#head)\" d=\"M{x1:.1},{y1:.1}L{x2:.1},{y2:.1}\"/>"
    );
}

fn process(
    text: &mut String,
    system: &FailProneSystem,
    p: ProcessId,
    is_alive: bool,
    chosen: Option<Chosen>,
) {
    let (x, y) = place(system, p);
    let holds = |set: fn(&Chosen) -> ProcessSet| chosen.is_some_and(|c| set(&c).contains(p));
    let is_guaranteed = holds(|chosen| chosen.guaranteed);
    let mut circle = |class: &str, r: f64| {
        let _ = writeln!(
            text,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\"/>"
        );
    };
    if holds(|chosen| chosen.write) {
        circle("write", CIRCLE + 3.0);
    }
    if holds(|chosen| chosen.read) {
        circle("read", CIRCLE + 7.0);
    }
    circle(
        match (is_alive, is_guaranteed) {
            (false, _) => "process crashed",
            (true, true) => "process guaranteed",
            (true, false) => "process",
        },
        CIRCLE,
    );
    let name = system.names.get(p.index()).map_or("", String::as_str);
    let _ = writeln!(
        text,
        "<text x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
        y + 4.5,
        escaped(name)
    );
    if !is_alive {
        let r = CIRCLE * 0.8;
        for (dx, dy) in [(r, r), (r, -r)] {
            let _ = writeln!(
                text,
                "<path class=\"gone\" d=\"M{:.1},{:.1}L{:.1},{:.1}\"/>",
                x - dx,
                y - dy,
                x + dx,
                y + dy
            );
        }
    }
}

fn legend(text: &mut String, top: f64, has_quorums: bool) {
    let y = top + 24.0;
    let words: &[&str] = if has_quorums {
        &[
            "blue: write quorum W; orange: read quorum R",
            "green: operations return there, U",
            "arrows: channels that stay; crossed: may crash",
        ]
    } else {
        &[
            "arrows: channels that stay; crossed: may crash",
            "there are no quorums",
        ]
    };
    for (line, words) in (0_u8..).zip(words) {
        let y = y + 18.0 * f64::from(line);
        let _ = writeln!(
            text,
            "<text class=\"left\" x=\"16\" y=\"{y}\">{}</text>",
            escaped(words)
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
