//! Copies as arrows.
use super::{Picture, labels::Way};
use crate::{
    diagram::{
        story::{Arrow, End},
        xml::Document,
    },
    trace::Loss,
};

impl Picture<'_> {
    pub(super) fn draw_arrow(&self, out: &mut Document, arrow: &Arrow) {
        let (x, y) = self.place(arrow.from);
        let way = format!(
            "copy {}: {} from p{} to p{}, in the lane {}",
            arrow.message,
            arrow.text,
            self.story.points[arrow.from].process + 1,
            arrow.to + 1,
            arrow.lane
        );
        let fate = match arrow.end {
            End::Arrives(_) => "",
            End::Lost(Loss::Chance) => ": lost",
            End::Lost(Loss::Cut) => ": lost at a cut",
            End::Lost(Loss::Crash) => ": lost with its sender",
            End::Lost(Loss::Gap) => ": lost with its stream",
            End::Lost(Loss::Queue) => ": lost at a full queue",
            End::Lost(Loss::Unborn) => ": its receiver has not started",
            End::Lost(Loss::SendOmission) => ": omitted by its sender",
            End::Lost(Loss::ReceiveOmission) => ": omitted by its receiver",
            End::Never => ": it does not arrive",
        };
        out.begin(&format!("{way}{fate}"));
        match arrow.end {
            End::Arrives(point) => {
                let way = Way::between((x, y), self.place(point));
                self.draw_way(out, arrow, (x, y), &way);
            }
            End::Lost(_) | End::Never => self.draw_stub(out, arrow, (x, y)),
        }
        out.end();
    }

    /// The arrow of a copy that arrives.
    fn draw_way(&self, out: &mut Document, arrow: &Arrow, (x, y): (f64, f64), way: &Way) {
        let colour = self.colour(&arrow.lane);
        let (width, opacity) = if arrow.counts {
            (2.4, 1.0)
        } else {
            (1.2, 0.75)
        };
        let (end, end_y) = way.back(4.0);
        out.line(format_args!(
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{end:.1}\" y2=\"{end_y:.1}\" \
             stroke=\"{colour}\" stroke-width=\"{width}\" stroke-opacity=\"{opacity}\" \
             marker-end=\"url(#head-{})\"/>",
            &colour[1..]
        ));
    }

    /// The beginning of an arrow that does not arrive, and the intended receiver.
    fn draw_stub(&self, out: &mut Document, arrow: &Arrow, (x, y): (f64, f64)) {
        let colour = self.colour(&arrow.lane);
        let (end, end_y) = self.stub(arrow);
        out.line(format_args!(
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{end:.1}\" y2=\"{end_y:.1}\" \
             stroke=\"{colour}\" stroke-width=\"1.2\" stroke-opacity=\"0.75\" \
             stroke-dasharray=\"4 3\"/>"
        ));
        if matches!(arrow.end, End::Lost(_)) {
            out.line(format_args!(
                "<path d=\"M{:.1},{:.1} l7,7 m0,-7 l-7,7\" stroke=\"#cf222e\" stroke-width=\"1.8\"/>",
                end - 3.5,
                end_y - 3.5
            ));
        }
        let direction = (end - x).signum();
        let words = format!("to p{}", arrow.to + 1);
        out.haloed(
            "end",
            (end + direction * 18.0, end_y + 3.5),
            "#57606a",
            &words,
        );
    }

    /// The end of the stub of a copy that does not arrive. Each stub is lower than the one before it that
    /// leaves from the same point to the same side.
    pub(super) fn stub(&self, arrow: &Arrow) -> (f64, f64) {
        let (x, y) = self.place(arrow.from);
        let is_right = |arrow: &Arrow| self.x(arrow.to) > x;
        let is_above = |other: &&Arrow| {
            let leaves_here = other.from == arrow.from && other.message < arrow.message;
            let arrives = matches!(other.end, End::Arrives(_));
            leaves_here && !arrives && is_right(other) == is_right(arrow)
        };
        let above = self.story.arrows.iter().filter(is_above).count();
        let direction = if is_right(arrow) { 1.0 } else { -1.0 };
        let end = x + direction * self.column * 0.36;
        (end, y + 11.0 * (above as f64 + 1.0))
    }
}
