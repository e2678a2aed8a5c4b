//! The space-time diagram as SVG: processes as lines, time going down, copies as arrows.
mod arrows;
mod labels;
mod points;

use super::{
    choice::{Choice, Wishes},
    layout::Layout,
    story::{End, Mark, Story},
    xml::Document,
};
use crate::trace::Trace;
use quorate_core::Name;
use std::collections::BTreeSet;

/// Colours that people with any kind of colour vision can distinguish (Okabe and Ito's).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#5b3f99",
];
/// The colour of heartbeats and datagrams, which belong to no algorithm.
const GREY: &str = "#8a8a8a";

const STYLE: &str = "text{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Helvetica,Arial,\
sans-serif;font-size:11px;fill:#1f2328}\
.title{font-size:16px;font-weight:600}.note{font-size:12px;fill:#57606a}\
.name{font-size:13px;font-weight:600;text-anchor:middle}\
.time{font-size:9.5px;fill:#8c959f;text-anchor:end}\
.label{font-size:10.5px;text-anchor:middle}\
.pale{opacity:.7}.count{font-size:11px;font-weight:700;text-anchor:middle}\
.box{text-anchor:middle}.inverse{text-anchor:middle;fill:#fff;font-weight:600}\
.reason{font-size:10.5px}.crash{font-weight:700;fill:#cf222e}.end{font-size:9.5px;text-anchor:middle}\
.halo{stroke:#fff;stroke-width:3.5px;stroke-linejoin:round;fill:#fff}";

const LEFT: f64 = 130.0;
const RIGHT: f64 = 170.0;
const HEADER: f64 = 64.0;
const LANES_A_ROW: usize = 3;

/// Draws traces as SVG.
///
/// A copy is an arrow in the colour of its lane, from its departure to its arrival. If its message is
/// delivered later, the head of the arrow shows from how many processes the receiver had heard of that
/// message by then, itself included. The arrows on which a delivery depends are thicker, and the names of
/// those processes stand beside the delivery. A tooltip explains each element.
#[derive(Clone, Debug)]
pub struct Svg {
    title: String,
    notes: Vec<String>,
    wishes: Wishes,
    points: usize,
}

impl Default for Svg {
    fn default() -> Self {
        Svg {
            title: String::new(),
            notes: Vec::new(),
            wishes: Wishes::default(),
            points: 2000,
        }
    }
}

impl Svg {
    /// Gives the picture a title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Adds a line below the title.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Shows heartbeats too.
    #[must_use]
    pub fn heartbeats(mut self) -> Self {
        self.wishes.heartbeats = true;
        self
    }

    /// Shows the datagrams of fair-loss links too.
    #[must_use]
    pub fn datagrams(mut self) -> Self {
        self.wishes.datagrams = true;
        self
    }

    /// Shows the requests and indications of all modules, not only of those on top.
    #[must_use]
    pub fn modules(mut self) -> Self {
        self.wishes.modules = true;
        self
    }

    /// Ends the picture after this many points (2000 by default), and says how much is left out.
    #[must_use]
    pub fn points(mut self, points: usize) -> Self {
        self.points = points;
        self
    }

    /// Draws the records of a trace at `n` processes.
    pub fn draw(&self, trace: &Trace, n: usize) -> String {
        let choice = Choice::of(trace, self.wishes);
        let story = Story::read(trace, n, &choice, self.points);
        Picture::new(self, story).draw()
    }
}

/// A picture being drawn.
struct Picture<'a> {
    svg: &'a Svg,
    story: Story,
    layout: Layout,
    lanes: Vec<Name>,
    top: f64,
    column: f64,
}

impl<'a> Picture<'a> {
    fn new(svg: &'a Svg, story: Story) -> Self {
        let lanes: BTreeSet<_> = story
            .arrows
            .iter()
            .map(|arrow| arrow.lane.clone())
            .collect();
        let top = HEADER + 18.0 * svg.notes.len() as f64;
        let column = match story.n {
            0..=3 => 230.0,
            4..=5 => 190.0,
            _ => 160.0,
        };
        Picture {
            svg,
            layout: Layout::of(&story, top + 34.0),
            story,
            lanes: lanes.into_iter().collect(),
            top,
            column,
        }
    }

    fn x(&self, process: usize) -> f64 {
        LEFT + self.column * process as f64
    }

    fn place(&self, point: usize) -> (f64, f64) {
        (
            self.x(self.story.points[point].process),
            self.layout.heights[point],
        )
    }

    /// The colour of a lane, by its place among the lanes, so that the lanes of a stack always have the same
    /// colours.
    fn colour(&self, lane: &Name) -> &'static str {
        if ["heartbeat", "fair-loss"].contains(&lane.as_str()) {
            return GREY;
        }
        let place = self.lanes.iter().position(|known| known == lane);
        COLOURS[place.unwrap_or(0) % COLOURS.len()]
    }

    /// Where the lines of the processes end.
    fn bottom(&self) -> f64 {
        self.layout.bottom + 34.0
    }

    fn draw(&self) -> String {
        let width = LEFT + self.column * self.story.n.saturating_sub(1) as f64 + RIGHT;
        let rows = self.lanes.len().div_ceil(LANES_A_ROW);
        let height = self.bottom() + 52.0 + 20.0 * rows as f64 + 17.0 * self.words().len() as f64;
        let mut out = Document::new(width.max(640.0), height, STYLE);
        self.draw_heads(&mut out);
        out.text("title", 24.0, 32.0, &self.svg.title);
        for (line, note) in (0..).zip(&self.svg.notes) {
            out.text("note", 24.0, 52.0 + 18.0 * f64::from(line), note);
        }
        self.draw_times(&mut out);
        for process in 0..self.story.n {
            self.draw_process(&mut out, process);
        }
        // Arrows that count are drawn last, so that nothing crosses them.
        for counts in [false, true] {
            for arrow in self
                .story
                .arrows
                .iter()
                .filter(|arrow| arrow.counts == counts)
            {
                self.draw_arrow(&mut out, arrow);
            }
        }
        self.draw_labels(&mut out);
        for (point, height) in self.story.points.iter().zip(&self.layout.heights) {
            self.draw_point(&mut out, point, *height);
        }
        self.draw_legend(&mut out);
        out.finish()
    }

    /// Arrowheads, one for each colour.
    fn draw_heads(&self, out: &mut Document) {
        out.line(format_args!("<defs>"));
        let colours: BTreeSet<_> = self.lanes.iter().map(|lane| self.colour(lane)).collect();
        for colour in colours {
            let name = &colour[1..];
            out.line(format_args!(
                "<marker id=\"head-{name}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" \
                 markerUnits=\"userSpaceOnUse\" markerWidth=\"10\" markerHeight=\"10\" \
                 orient=\"auto\"><path d=\"M0,1 L10,5 L0,9 Z\" fill=\"{colour}\"/></marker>"
            ));
        }
        out.line(format_args!("</defs>"));
    }

    fn draw_times(&self, out: &mut Document) {
        let mut free = 0.0;
        for (time, height) in &self.layout.moments {
            if *height >= free {
                out.text("time", LEFT - 62.0, height + 3.0, &time.to_string());
                free = height + 12.0;
            }
        }
    }

    /// The line of a process: pale after its crash, dashed while it is paused.
    fn draw_process(&self, out: &mut Document, process: usize) {
        let x = self.x(process);
        let mut from = self.top;
        let mut style = "stroke=\"#424a53\" stroke-width=\"1.6\"";
        let mut piece = |from: f64, to: f64, style: &str| {
            out.line(format_args!(
                "<line x1=\"{x:.1}\" y1=\"{from:.1}\" x2=\"{x:.1}\" y2=\"{to:.1}\" {style}/>"
            ));
        };
        for (point, height) in self.story.points.iter().zip(&self.layout.heights) {
            let next = match point.mark {
                _ if point.process != process => continue,
                Mark::Crash => "stroke=\"#c9ced4\" stroke-width=\"1.2\" stroke-dasharray=\"1 5\"",
                Mark::Pause => "stroke=\"#bf8700\" stroke-width=\"5\" stroke-dasharray=\"2 4\"",
                Mark::Resume => "stroke=\"#424a53\" stroke-width=\"1.6\"",
                _ => continue,
            };
            piece(from, *height, style);
            (from, style) = (*height, next);
        }
        piece(from, self.bottom(), style);
        let name = format!("p{}", process + 1);
        for y in [self.top - 8.0, self.bottom() + 16.0] {
            out.text("name", x, y, &name);
        }
    }

    /// The legend: the lanes in their colours, and explanations.
    fn draw_legend(&self, out: &mut Document) {
        let mut top = self.bottom() + 44.0;
        for (place, lane) in self.lanes.iter().enumerate() {
            let (row, column) = (place / LANES_A_ROW, place % LANES_A_ROW);
            let (x, y) = (24.0 + 250.0 * column as f64, top + 20.0 * row as f64);
            let colour = self.colour(lane);
            out.line(format_args!(
                "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" \
                 stroke-width=\"2.4\" marker-end=\"url(#head-{})\"/>",
                x + 28.0,
                &colour[1..]
            ));
            out.text("note", x + 36.0, y + 4.0, lane.as_str());
        }
        top += 20.0 * self.lanes.len().div_ceil(LANES_A_ROW) as f64;
        for (line, words) in (0..).zip(self.words()) {
            out.text("note", 24.0, top + 4.0 + 17.0 * f64::from(line), &words);
        }
    }

    /// The explanations that this picture needs.
    fn words(&self) -> Vec<String> {
        let (story, n) = (&self.story, self.story.n);
        let mut words = Vec::new();
        if story.arrows.iter().any(|arrow| arrow.counts) {
            words.push("Thick: the copies on which a delivery rests.".to_owned());
        }
        if story.arrows.iter().any(|arrow| arrow.counted) {
            words.push(format!(
                "k/{n}: the receiver has now heard of the message from k of {n} processes, itself \
                 included."
            ));
        }
        if story
            .arrows
            .iter()
            .any(|arrow| !matches!(arrow.end, End::Arrives(_)))
        {
            words.push("Dashed: does not arrive; with a cross: lost.".to_owned());
        }
        if story.left_out > 0 {
            words.push(format!("{} records more are not shown.", story.left_out));
        }
        words
    }
}

/// The width of a box with these words.
fn box_width(words: &str) -> f64 {
    6.3 * words.chars().count() as f64 + 14.0
}
