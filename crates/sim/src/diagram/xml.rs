//! Writing XML.
use std::fmt::Write;

/// The text with XML's special characters escaped, and the characters that XML cannot hold removed.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            control if control.is_control() => {}
            other => escaped.push(other),
        }
    }
    escaped
}

/// A document being written.
pub(super) struct Document {
    out: String,
}

impl Document {
    /// A document of this size, white.
    pub(super) fn new(width: f64, height: f64, style: &str) -> Self {
        let mut document = Document { out: String::new() };
        document.line(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\">"
        ));
        document.line(format_args!("<style>{style}</style>"));
        document.line(format_args!(
            "<rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#ffffff\"/>"
        ));
        document
    }

    /// Writes one line of valid markup.
    pub(super) fn line(&mut self, markup: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.out.write_fmt(markup);
        self.out.push('\n');
    }

    /// Text of a class with its anchor at a point.
    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escape(text);
        self.line(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        ));
    }

    /// Text in a colour with a white edge, readable on any background.
    pub(super) fn haloed(&mut self, class: &str, (x, y): (f64, f64), colour: &str, text: &str) {
        let text = escape(text);
        self.line(format_args!(
            "<text class=\"{class} halo\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>\
             <text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" style=\"fill:{colour}\">{text}</text>"
        ));
    }

    /// Begins a group with a tooltip.
    pub(super) fn begin(&mut self, explanation: &str) {
        let explanation = escape(explanation);
        self.line(format_args!("<g><title>{explanation}</title>"));
    }

    pub(super) fn end(&mut self) {
        self.line(format_args!("</g>"));
    }

    pub(super) fn finish(mut self) -> String {
        self.line(format_args!("</svg>"));
        self.out
    }
}
