//! Worlds as pictures: a column for each process, time going down, a row for each event. What happens between
//! two rows takes as long as it likes.
use std::fmt::Write;

/// The look of a mark, an arrow or a span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    Plain,
    /// Something that must be seen first.
    Strong,
    /// Something that breaks a property.
    Broken,
}

impl Look {
    fn class(self) -> &'static str {
        match self {
            Look::Plain => "plain",
            Look::Strong => "strong",
            Look::Broken => "broken",
        }
    }
}

/// A place in a chart: a column, and a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) column: usize,
    pub(crate) row: usize,
}

/// One world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) columns: Vec<String>,
    /// What stands on the left of each row.
    pub(crate) rows: Vec<String>,
    pub(crate) marks: Vec<(Place, String, Look)>,
    pub(crate) arrows: Vec<(Place, Place, String, Look)>,
    /// In this column, from this row to that one.
    pub(crate) spans: Vec<(usize, [usize; 2], Look)>,
    /// What stands below it.
    pub(crate) verdict: String,
}

const WIDTH: usize = 150;
const HEIGHT: usize = 26;
const LEFT: usize = 90;
const TOP: usize = 70;
const BOTTOM: usize = 40;
const STYLE: &str = "text{font-family:sans-serif;font-size:11px;fill:#1f2328}\
.title{font-size:14px;font-weight:bold}.head{font-weight:bold;text-anchor:middle}\
.row{fill:#8c959f;font-size:10px;text-anchor:end}.verdict{font-weight:bold}\
.life{stroke:#bbb}line.plain{stroke:#57606a}line.strong{stroke:#0072b2;stroke-width:2}\
line.broken{stroke:#d55e00;stroke-width:2}rect.plain{fill:#ddd}rect.strong{fill:#56b4e9}\
rect.broken{fill:#d55e00}circle.plain{fill:#57606a}circle.strong{fill:#0072b2}circle.broken{fill:#d55e00}\
text.strong{fill:#0072b2;font-weight:bold}text.broken{fill:#b34700;font-weight:bold}\
.label{text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:3px}";

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}

impl Chart {
    fn width(&self) -> usize {
        let told = self.title.chars().count().max(self.verdict.chars().count());
        (LEFT + WIDTH * self.columns.len()).max(LEFT + 8 * told)
    }

    fn height(&self) -> usize {
        TOP + HEIGHT * self.rows.len() + BOTTOM
    }

    fn draw(&self, text: &mut String) {
        let x = |column: usize| LEFT + WIDTH * column + WIDTH / 4;
        let y = |row: usize| TOP + HEIGHT * row;
        let bottom = y(self.rows.len());
        let title = escaped(&self.title);
        let _ = writeln!(
            text,
            "<text class=\"title\" x=\"{}\" y=\"24\">{title}</text>",
            12
        );
        for (column, name) in self.columns.iter().enumerate() {
            let (x, name) = (x(column), escaped(name));
            let _ = writeln!(
                text,
                "<text class=\"head\" x=\"{x}\" y=\"46\">{name}</text>\n\
                 <line class=\"life\" x1=\"{x}\" y1=\"52\" x2=\"{x}\" y2=\"{bottom}\"/>"
            );
        }
        for (row, name) in self.rows.iter().enumerate() {
            let (x, y, name) = (LEFT - 8, y(row) + 4, escaped(name));
            let _ = writeln!(
                text,
                "<text class=\"row\" x=\"{x}\" y=\"{y}\">{name}</text>"
            );
        }
        for (column, [first, last], look) in &self.spans {
            let (x, y, height) = (x(*column) - 5, y(*first), HEIGHT * (last - first));
            let class = look.class();
            let _ = writeln!(
                text,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"10\" height=\"{height}\"/>"
            );
        }
        for (from, to, label, look) in &self.arrows {
            arrow(
                text,
                [x(from.column), y(from.row)],
                [x(to.column), y(to.row)],
                label,
                *look,
            );
        }
        for (place, label, look) in &self.marks {
            let (x, y, class) = (x(place.column), y(place.row), look.class());
            let _ = writeln!(
                text,
                "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"3.5\"/>\n\
                 <text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
                x + 8,
                y + 4,
                escaped(label)
            );
        }
        let (x, y, verdict) = (12, bottom + 24, escaped(&self.verdict));
        let _ = writeln!(
            text,
            "<text class=\"verdict\" x=\"{x}\" y=\"{y}\">{verdict}</text>"
        );
    }
}

/// An arrow, with its label where three quarters of the way are done.
fn arrow(text: &mut String, from: [usize; 2], to: [usize; 2], label: &str, look: Look) {
    let ([x1, y1], [x2, y2], class) = (from, to, look.class());
    let between = |a: usize, b: usize| (a + 3 * b) / 4;
    let (x, y) = (between(x1, x2), between(y1, y2));
    let _ = writeln!(
        text,
        "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" \
         marker-end=\"url(#head)\"/>\n<text class=\"label\" x=\"{x}\" y=\"{}\">{}</text>",
        y.saturating_sub(3),
        escaped(label)
    );
}

/// So many charts stand side by side.
const SIDE_BY_SIDE: usize = 2;

/// The charts, row by row, as SVG.
pub(crate) fn svg(charts: &[Chart]) -> String {
    let rows = || charts.chunks(SIDE_BY_SIDE);
    let across = |row: &[Chart]| row.iter().map(Chart::width).sum();
    let down = |row: &[Chart]| row.iter().map(Chart::height).max().unwrap_or_default();
    let width: usize = rows().map(across).max().unwrap_or_default();
    let height: usize = rows().map(down).sum();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\">\n<style>{STYLE}</style>\n<defs><marker id=\"head\" viewBox=\"0 0 8 8\" \
         refX=\"8\" refY=\"4\" markerUnits=\"userSpaceOnUse\" markerWidth=\"9\" markerHeight=\"9\" \
         orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#57606a\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut top = 0;
    for row in rows() {
        let mut left = 0;
        for chart in row {
            let _ = writeln!(text, "<g transform=\"translate({left} {top})\">");
            chart.draw(&mut text);
            text.push_str("</g>\n");
            left += chart.width();
        }
        top += down(row);
    }
    text.push_str("</svg>\n");
    text
}
