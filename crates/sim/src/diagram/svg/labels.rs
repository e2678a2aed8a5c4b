//! Labels of arrows, each placed where it covers no other.
use super::Picture;
use crate::diagram::{
    story::{Arrow, End, Point},
    xml::Document,
};

/// The possible distances of a label from the receiver, in columns. The first free place is used.
const PLACES: [f64; 7] = [0.5, 0.42, 0.58, 0.35, 0.65, 0.72, 0.8];
/// The distance of the count from the receiver.
const COUNT: f64 = 27.0;
/// The width of a character of a label.
const CHARACTER: f64 = 5.9;

/// A rectangle: its centre, and half its width and height.
#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    wide: f64,
    high: f64,
}

impl Area {
    /// The area of a text that is turned by this angle around its centre.
    fn of(words: &str, (x, y): (f64, f64), angle: f64) -> Self {
        let (long, thick) = (CHARACTER * words.chars().count() as f64 / 2.0, 6.0);
        let (sine, cosine) = angle.to_radians().sin_cos();
        Area {
            x,
            y,
            wide: long * cosine + thick * sine.abs(),
            high: long * sine.abs() + thick * cosine,
        }
    }

    fn meets(&self, other: &Area) -> bool {
        (self.x - other.x).abs() < self.wide + other.wide
            && (self.y - other.y).abs() < self.high + other.high
    }
}

/// The line of an arrow in the picture.
pub(super) struct Way {
    pub(super) end: (f64, f64),
    /// To the right, 1; to the left, -1.
    pub(super) direction: f64,
    /// The slope: how much the arrow falls per unit of width.
    pub(super) slope: f64,
}

impl Way {
    pub(super) fn between((x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> Self {
        Way {
            end: (x2, y2),
            direction: (x2 - x1).signum(),
            slope: (y2 - y1) / (x2 - x1).abs(),
        }
    }

    /// The point at this distance before its end.
    pub(super) fn back(&self, back: f64) -> (f64, f64) {
        (
            self.end.0 - self.direction * back,
            self.end.1 - self.slope * back,
        )
    }

    fn angle(&self) -> f64 {
        (self.direction * self.slope).atan().to_degrees()
    }
}

/// A text beside the box of a point.
pub(super) struct Caption {
    pub(super) words: String,
    pub(super) left: f64,
}

impl Picture<'_> {
    /// Writes the contents of copies and their counts, beginning with the copies that count.
    pub(super) fn draw_labels(&self, out: &mut Document) {
        let mut taken = self.boxes();
        let mut ways = Vec::new();
        for arrow in &self.story.arrows {
            if let End::Arrives(point) = arrow.end {
                let way = Way::between(self.place(arrow.from), self.place(point));
                ways.push((arrow, way));
            } else {
                let (x, y) = self.stub(arrow);
                let beyond = (x - self.place(arrow.from).0).signum() * 18.0;
                taken.push(Area::of("to p1", (x + beyond, y), 0.0));
            }
        }
        for (arrow, way) in &ways {
            if let Some(heard) = arrow.heard.filter(|_| arrow.counted) {
                let words = format!("{heard}/{}", self.story.n);
                taken.push(Area::of(&words, way.back(COUNT), way.angle()));
                self.write(out, ("count", arrow), way, COUNT, &words);
            }
        }
        for counts in [true, false] {
            let class = if counts { "label" } else { "label pale" };
            for (arrow, way) in ways.iter().filter(|(arrow, _)| arrow.counts == counts) {
                let words = &arrow.text;
                let area = |place: f64| Area::of(words, way.back(place * self.column), way.angle());
                let is_free = |place: &f64| !taken.iter().any(|other| area(*place).meets(other));
                let place = PLACES.into_iter().find(is_free).unwrap_or(PLACES[0]);
                taken.push(area(place));
                self.write(out, (class, arrow), way, place * self.column, words);
            }
        }
    }

    fn write(
        &self,
        out: &mut Document,
        (class, arrow): (&str, &Arrow),
        way: &Way,
        back: f64,
        words: &str,
    ) {
        let ((x, y), angle) = (way.back(back), way.angle());
        out.line(format_args!(
            "<g transform=\"translate({x:.1} {y:.1}) rotate({angle:.1})\">"
        ));
        out.haloed(class, (0.0, -3.5), self.colour(&arrow.lane), words);
        out.end();
    }

    /// The areas of boxes and their captions.
    fn boxes(&self) -> Vec<Area> {
        let mut areas = Vec::new();
        for (point, height) in self.story.points.iter().zip(&self.layout.heights) {
            let x = self.x(point.process);
            if !point.text.is_empty() {
                areas.push(Area::of(&format!("{}  ", point.text), (x, *height), 0.0));
            }
            if let Some(caption) = self.caption(point) {
                let wide = CHARACTER * caption.words.chars().count() as f64;
                let x = x + caption.left + wide / 2.0;
                areas.push(Area::of(&caption.words, (x, *height), 0.0));
            }
        }
        areas
    }

    /// The text beside a delivery: the processes from which its process had heard of the message.
    pub(super) fn caption(&self, point: &Point) -> Option<Caption> {
        let heard = point.reason.as_ref()?.heard;
        if heard.len() < 2 {
            return None;
        }
        let names: Vec<_> = heard.iter().map(|p| p.to_string()).collect();
        Some(Caption {
            words: format!("{} of {}: {}", names.len(), self.story.n, names.join(" ")),
            left: super::box_width(&point.text) / 2.0 + 6.0,
        })
    }
}
