//! The events of a process: dots, boxes with text, crosses.
use super::{Picture, box_width};
use crate::diagram::{
    story::{Mark, Point},
    xml::Document,
};
use std::fmt::Write;

impl Picture<'_> {
    pub(super) fn draw_point(&self, out: &mut Document, point: &Point, y: f64) {
        let x = self.x(point.process);
        let module = if point.module.as_str().is_empty() {
            String::new()
        } else {
            format!("{}: ", point.module)
        };
        let explanation = format!(
            "{module}{} at p{}, {}{}",
            point.text,
            point.process + 1,
            point.time,
            self.reason(point)
                .map_or(String::new(), |reason| format!(": {reason}"))
        );
        if point.mark == Mark::Dot {
            out.line(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"#424a53\"/>"
            ));
            return;
        }
        out.begin(&explanation);
        match point.mark {
            Mark::Crash => {
                out.line(format_args!(
                    "<path d=\"M{:.1},{:.1} l16,16 m0,-16 l-16,16\" stroke=\"#cf222e\" \
                     stroke-width=\"3.4\" stroke-linecap=\"round\"/>",
                    x - 8.0,
                    y - 8.0
                ));
                out.text("crash", x + 14.0, y + 4.0, &point.text);
            }
            _ => self.draw_box(out, point, (x, y)),
        }
        out.end();
    }

    /// The box of a request, an indication, or another event with text, and beside it the reason.
    fn draw_box(&self, out: &mut Document, point: &Point, (x, y): (f64, f64)) {
        let (fill, stroke, class) = match point.mark {
            Mark::Indication => ("#1f2328", "#1f2328", "inverse"),
            Mark::Request => ("#ffffff", "#1f2328", "box"),
            Mark::Suspicion => ("#fff1e5", "#bc4c00", "box"),
            Mark::Trust => ("#eaf5ec", "#1a7f37", "box"),
            Mark::Pause | Mark::Resume => ("#fff8c5", "#bf8700", "box"),
            Mark::Crash | Mark::Cut | Mark::Dot => ("#ffebe9", "#cf222e", "box"),
        };
        let wide = box_width(&point.text);
        out.line(format_args!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"18\" rx=\"9\" \
             fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"1.2\"/>",
            x - wide / 2.0,
            y - 9.0
        ));
        out.text(class, x, y + 4.0, &point.text);
        if let Some(caption) = self.caption(point) {
            let place = (x + caption.left, y + 4.0);
            out.haloed("reason", place, "#1f2328", &caption.words);
        }
    }

    /// The reason of an indication, as text.
    fn reason(&self, point: &Point) -> Option<String> {
        let reason = point.reason.as_ref()?;
        let mut words = match reason.upon {
            Some(arrow) => {
                let arrow = &self.story.arrows[arrow];
                let from = self.story.points[arrow.from].process + 1;
                format!("upon {} from p{from}", arrow.text)
            }
            None => "by its own step".to_owned(),
        };
        let heard = reason.heard;
        if !heard.is_empty() {
            let majority = if 2 * heard.len() > self.story.n {
                ", a majority"
            } else {
                ""
            };
            // Writing to a string does not fail.
            let _ = write!(
                words,
                "; heard of it from {} of {}{majority}: {heard:?}",
                heard.len(),
                self.story.n
            );
        }
        Some(words)
    }
}
