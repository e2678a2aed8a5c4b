//! The options of `quorate sim` for failure models beside crashes, and for timing models.
use super::parse_process;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use quorate_core::Time;
use quorate_laboratory::scenario::{Clocks, GivenOmission, Omissions, Scenario};
use quorate_sim::{OmissionKind, TimingPolicy, schedule::Passage, timing::Bounds};
use std::time::Duration;

/// Failures beside crashes, clocks, and timing (`docs/failure-models.md`).
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Failure models")]
pub struct Models {
    /// Some processes omit messages of this kind, as drawn from the seed. In synchronous rounds f processes do, where
    /// otherwise up to f crash.
    #[arg(long, value_enum, value_name = "WHICH")]
    pub omission: Option<Omitted>,
    /// How many processes omit messages: 1, if --omission is given.
    #[arg(long, value_name = "K", requires = "omission")]
    omitting: Option<usize>,
    /// The probability with which they omit each message: 0.5, if --omission is given.
    #[arg(long, value_name = "P", requires = "omission")]
    omit_chance: Option<f64>,
    /// A message that its sender omits: 1>2#3 is the third that p1 sends to p2. May be repeated.
    #[arg(long, value_name = "MESSAGE", value_parser = parse_message)]
    omit_send: Vec<Passage>,
    /// A message that its receiver omits: 1>2#3 is the third that p1 sends to p2. May be repeated.
    #[arg(long, value_name = "MESSAGE", value_parser = parse_message)]
    omit_receive: Vec<Passage>,
    /// The clock of each process begins at a time of its own, within an hour.
    #[arg(long)]
    offset: bool,
    /// The clock of each process shows between 1 - RHO and 1 + RHO seconds in a second.
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "RHO",
        allow_negative_numbers = true
    )]
    drift: f64,
    /// How many times a clock jumps forward, as drawn from the seed. A process that is suspended, and then finds that
    /// its clock has jumped, is one of --pauses.
    #[arg(long, default_value_t = 0, value_name = "K")]
    jumps: usize,
    /// The timing model. By default messages take up to 40 milliseconds, or on ideal layers, for every other seed, any
    /// time.
    #[arg(long, value_enum, value_name = "MODEL")]
    timing: Option<Timing>,
    /// δ, in milliseconds: the longest time that a message takes (40, if --timing is given).
    #[arg(long, value_name = "MS", requires = "timing")]
    delta: Option<u64>,
    /// Φ, in milliseconds: how late a timer fires at most (5).
    #[arg(long, value_name = "MS", requires = "timing")]
    phi: Option<u64>,
    /// Δ, in milliseconds: the time within which all processes start (50).
    #[arg(long, value_name = "MS", requires = "timing")]
    start_within: Option<u64>,
    /// GST, in milliseconds: when the bounds begin to hold (2000).
    #[arg(long, value_name = "MS", requires = "timing")]
    gst: Option<u64>,
    /// Runs the algorithm outside its failure models, too, and checks all its properties.
    #[arg(long)]
    beyond: bool,
}

/// Which messages are omitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Omitted {
    /// Those that a faulty process sends.
    Send,
    /// Those that are sent to it.
    Receive,
    /// Those of both kinds.
    General,
}

impl From<Omitted> for OmissionKind {
    fn from(omitted: Omitted) -> Self {
        match omitted {
            Omitted::Send => OmissionKind::Send,
            Omitted::Receive => OmissionKind::Receive,
            Omitted::General => OmissionKind::General,
        }
    }
}

/// A timing model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Timing {
    /// δ, Φ and Δ always hold.
    Synchronous,
    /// They hold from GST on. Before that, everything takes any time, but no message and no timer is later than δ and
    /// Φ after GST. Liveness is judged from GST.
    EventuallySynchronous,
    /// Nothing is bounded.
    Asynchronous,
}

fn parse_message(text: &str) -> Result<Passage> {
    let syntax = "a message is given as FROM>TO#NUMBER";
    let (way, number) = text.split_once('#').context(syntax)?;
    let (from, to) = way.split_once('>').context(syntax)?;
    Ok(Passage {
        from: parse_process(from, syntax)?,
        to: parse_process(to, syntax)?,
        number: number.parse().context(syntax)?,
    })
}

impl Models {
    /// What has no meaning in synchronous rounds, and whether it is given.
    pub fn beside_rounds(&self) -> [(&'static str, bool); 9] {
        [
            ("--omitting", self.omitting.is_some()),
            ("--omit-chance", self.omit_chance.is_some()),
            ("--omit-send", !self.omit_send.is_empty()),
            ("--omit-receive", !self.omit_receive.is_empty()),
            ("--offset", self.offset),
            ("--drift", self.drift != 0.0),
            ("--jumps", self.jumps > 0),
            ("--timing", self.timing.is_some()),
            ("--beyond", self.beyond),
        ]
    }

    /// Adds what is given to the scenario.
    ///
    /// # Errors
    /// When options are given that have no meaning in the timing model.
    pub fn add_to(&self, scenario: &mut Scenario) -> Result<()> {
        if let Some(omission) = self.omission {
            scenario.faults.omissions = Some(Omissions {
                kind: omission.into(),
                processes: self.omitting.unwrap_or(1),
                probability: self.omit_chance.unwrap_or(0.5),
            });
        }
        let sent = self.omit_send.iter().map(|copy| (*copy, copy.from));
        let received = self.omit_receive.iter().map(|copy| (*copy, copy.to));
        let omitted = sent.chain(received);
        scenario.omitted = omitted
            .map(|(copy, by)| GivenOmission { copy, by })
            .collect();
        scenario.faults.clocks = Clocks {
            offset: self.offset,
            drift: self.drift,
            jumps: self.jumps,
        };
        scenario.timing = self.policy()?;
        scenario.beyond = self.beyond;
        Ok(())
    }

    fn policy(&self) -> Result<Option<TimingPolicy>> {
        let milliseconds =
            |given: Option<u64>, usual| Duration::from_millis(given.unwrap_or(usual));
        let bounds = Bounds {
            delay: milliseconds(self.delta, 40),
            lateness: milliseconds(self.phi, 5),
            start: milliseconds(self.start_within, 50),
        };
        let gst = Time::ZERO + milliseconds(self.gst, 2000);
        let is_bounded = [self.delta, self.phi, self.start_within]
            .iter()
            .any(Option::is_some);
        Ok(match self.timing {
            None => None,
            Some(Timing::Asynchronous) if is_bounded || self.gst.is_some() => {
                bail!("there are no bounds, and no GST, in an asynchronous system")
            }
            Some(Timing::Synchronous) if self.gst.is_some() => {
                bail!("in a synchronous system the bounds always hold: no --gst")
            }
            Some(Timing::Synchronous) => Some(TimingPolicy::Synchronous(bounds)),
            Some(Timing::EventuallySynchronous) => {
                Some(TimingPolicy::EventuallySynchronous { bounds, gst })
            }
            Some(Timing::Asynchronous) => Some(TimingPolicy::Asynchronous),
        })
    }
}
