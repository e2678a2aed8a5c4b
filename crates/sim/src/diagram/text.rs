//! The space-time diagram as text: processes as columns, time going down.
//!
//! A copy is named by the number of its send: `>7 p3` leaves for p3, `<7 p1` has come from p1, `x7`
//! is lost. `?` marks a request, `!` an indication, `✗` a crash.
use crate::trace::{Kind, Record, Trace};
use quorate_core::{Time, observe::Role};
use std::fmt::Write;

/// What a diagram shows.
#[derive(Clone, Debug)]
pub struct Diagram {
    width: usize,
    lines: usize,
    heartbeats: bool,
}

impl Default for Diagram {
    fn default() -> Self {
        Diagram {
            width: 22,
            lines: 400,
            heartbeats: false,
        }
    }
}

impl Diagram {
    /// Gives every process a column of this many characters (at least 8; 22 by default).
    #[must_use]
    pub fn width(mut self, width: usize) -> Self {
        self.width = width.max(8);
        self
    }

    /// Ends the diagram after this many lines (400 by default), and says how much is left out.
    #[must_use]
    pub fn lines(mut self, lines: usize) -> Self {
        self.lines = lines;
        self
    }

    /// Shows heartbeats too.
    #[must_use]
    pub fn heartbeats(mut self) -> Self {
        self.heartbeats = true;
        self
    }

    /// Draws the records of a trace at `n` processes.
    pub fn draw(&self, trace: &Trace, n: usize) -> String {
        let mut lines = Lines::new(self.width, n);
        let mut left_out = 0;
        for record in trace.records() {
            let Some(text) = self.text(record) else {
                continue;
            };
            if lines.count() < self.lines {
                lines.add(record.time, record.process.index(), &text);
            } else {
                left_out += 1;
            }
        }
        lines.finish(left_out)
    }

    /// The text of a record; `None` for events between modules.
    fn text(&self, record: &Record) -> Option<String> {
        if !self.heartbeats && record.name.as_str() == "heartbeat" {
            return None;
        }
        Some(match &record.kind {
            Kind::Event(o) if o.role == Role::Request => format!("? {} {o}", record.name.last()),
            Kind::Effect(o) if o.role == Role::Indication => {
                format!("! {} {o}", record.name.last())
            }
            Kind::Event(_) | Kind::Effect(_) => return None,
            Kind::Send {
                message, to, label, ..
            } => format!(">{message} {to} {label}"),
            Kind::Receive {
                message,
                from,
                label,
                ..
            } => format!("<{message} {from} {label}"),
            Kind::Drop { message, to, .. } => format!("x{message} {to} lost"),
            Kind::Duplicate { message, to, extra } => format!("+{message} {to} {extra} more"),
            Kind::Crash => "✗ CRASH".to_owned(),
            Kind::Pause => "‖ pause".to_owned(),
            Kind::Resume => "▸ resume".to_owned(),
            Kind::Start => "▸ start".to_owned(),
            Kind::Cut { to } => format!("∤ {to} cut off"),
            Kind::Heal { to } => format!("∼ {to} back"),
            Kind::End { to } => format!("≀ {to} ended"),
            Kind::Gap { from } => format!("≀ {from} gap"),
            Kind::Begin { to } => format!("∼ {to} begun"),
        })
    }
}

/// The lines of a diagram being drawn: the cells of one moment share lines as long as each process
/// has a cell of its own.
struct Lines {
    width: usize,
    n: usize,
    out: String,
    count: usize,
    time: Option<Time>,
    shown: Option<Time>,
    row: Vec<Option<String>>,
    down: Vec<bool>,
}

impl Lines {
    fn new(width: usize, n: usize) -> Self {
        let mut out = format!("{:>12}", "time");
        for rank in 1..=n {
            let name = format!("p{rank}");
            let _ = write!(out, "  {name:<width$}");
        }
        Lines {
            width,
            n,
            out: out.trim_end().to_owned() + "\n",
            count: 0,
            time: None,
            shown: None,
            row: vec![None; n],
            down: vec![false; n],
        }
    }

    fn count(&self) -> usize {
        self.count
    }

    fn add(&mut self, time: Time, index: usize, text: &str) {
        // A row keeps the order of events: no event is put left of an earlier one.
        let later = self.row.iter().skip(index).any(Option::is_some);
        if self.time != Some(time) || later {
            self.flush();
        }
        self.time = Some(time);
        let text: String = text.chars().take(self.width).collect();
        if let Some(cell) = self.row.get_mut(index) {
            *cell = Some(text);
        }
    }

    fn flush(&mut self) {
        let Some(time) = self.time.filter(|_| self.row.iter().any(Option::is_some)) else {
            return;
        };
        let label = if self.shown == Some(time) {
            String::new()
        } else {
            time.to_string()
        };
        self.shown = Some(time);
        let mut line = format!("{label:>12}");
        for (cell, down) in self.row.iter_mut().zip(&mut self.down) {
            let idle = if *down { " " } else { "│" };
            let text = cell.take().unwrap_or_else(|| idle.to_owned());
            *down = (*down && text != "▸ start") || text.starts_with('✗');
            let padding = self.width.saturating_sub(text.chars().count());
            let _ = write!(line, "  {text}{}", " ".repeat(padding));
        }
        self.out.push_str(line.trim_end());
        self.out.push('\n');
        self.count += 1;
    }

    fn finish(mut self, left_out: usize) -> String {
        self.flush();
        if self.n > 0 && left_out > 0 {
            let _ = writeln!(self.out, "{:>12}  {left_out} more", "…");
        }
        self.out
    }
}
