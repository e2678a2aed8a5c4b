//! What each algorithm does over a gap: where the stream of a link from one process to another ends, and
//! the next one begins.
//!
//! Both processes remain members, and hear of the gap by the [status](quorate_abstractions::link::Status)
//! of their links. What was said in the gap is lost; an algorithm says it again, or says that it does not.
use crate::{
    algorithm::{Algorithm, Substrate},
    algorithms,
};
use std::fmt::{Result, Write};

/// What an algorithm does over a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    /// It goes on, and keeps its promises: so much is said again.
    Repeats(&'static str),
    /// It may lack for good what the gap has taken, and its users are told: so much holds.
    Ends(&'static str),
    /// It stands on lanes that know no streams, or on no lane at all.
    Unaffected(&'static str),
}

pub(crate) const REGISTERS: Gap = Gap::Repeats(
    "who has an operation open asks the receiver of the new stream its last request again, with the same \
     number and tag, and has the receiver do so",
);
pub(crate) const IMPOSED: Gap = Gap::Repeats(
    "what was imposed in open instances, and in the latest 256 that are over (or 4 MiB of them): who missed \
     an older one stays without it",
);
pub(crate) const CAUSAL: Gap = Gap::Ends(
    "what the broadcast below lost in the gap is not delivered, nor what causally follows it; all else is",
);
pub(crate) const PAST: Gap = Gap::Ends(
    "what the broadcast below lost in the gap comes with a later message that has it in its past, or not \
     at all",
);
pub(crate) const FIRST_IN_FIRST_OUT: Gap = Gap::Ends(
    "of an origin whose message the broadcast below lost, nothing later is delivered; all others are",
);

impl Algorithm {
    /// Whether it runs over perfect links, which are what streams are part of.
    pub fn is_over_streams(&self) -> bool {
        let substrate = self.simulation.substrate;
        !matches!(substrate, Substrate::FairLoss | Substrate::Heartbeats)
    }
}

/// The table, as a page.
pub fn page() -> String {
    let mut text = String::new();
    let _ = write_page(&mut text);
    text
}

fn write_page(text: &mut String) -> Result {
    text.write_str(HEAD)?;
    for algorithm in algorithms::all() {
        let (holds, what) = match algorithm.gap {
            Gap::Repeats(what) => ("goes on", what),
            Gap::Ends(what) => ("may end", what),
            Gap::Unaffected(what) => ("unaffected", what),
        };
        let (name, abstraction) = (algorithm.name, algorithm.abstraction);
        writeln!(text, "| `{name}` | {abstraction} | {holds} | {what} |")?;
    }
    text.write_str(TAIL)
}

const HEAD: &str = "\
# What each algorithm does over a gap

Generated from the entries of the laboratory; a test says when it is stale.

Between two starts of two processes a link carries a sequence of *streams*, in each direction. A stream ends
when its receiver owes more than the sender holds for it; the next one begins once the receiver has agreed.
Neither process is excluded for it. What was sent in between, and what had not arrived of the stream that
ended, is lost: a *gap*. The sender is told that its stream has ended and that the next has begun
(`Ended`, `Begun`), the receiver that something is missing (`Gap`), before anything of the next stream
arrives.

*Goes on*: the promises of the algorithm hold over any gaps, within the bounds that the row names, since what
is open is said again to whom the stream begins anew: by who owns it, with the same identifier and the same
tag. Nobody remembers answers: who asks again is answered again. *May end*: what the gap has taken may never
arrive; safety holds, everything else arrives, and the users at both ends are told.

| algorithm | abstraction | over a gap | what is said again, or what holds |
|---|---|---|---|
";

const TAIL: &str = "
Each row is run with one gap from each process to each other at every step, and with many gaps at once, drawn
from seeds (`crates/laboratory/tests/gaps.rs`). What goes on is found to stand still where it does not hear of
the gaps.

The rows that go on are in the columns *gaps* and *long cut* of the [matrix](matrix.md), too.

Who stays without a decision has that instance open for good, and takes part in those above it as far as the
algorithm lets instances run ahead of an open one (65,536; by quorums 1,024).
";

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_stacks::broadcasts::Broadcast;

    #[test]
    fn users_are_told_of_gaps_where_a_row_says_that_something_may_stay_away() {
        for broadcast in Broadcast::all() {
            let may_lose = match algorithms::find(broadcast.name()).unwrap().gap {
                Gap::Ends(_) => true,
                Gap::Repeats(what) => what.contains("users are told"),
                Gap::Unaffected(_) => false,
            };
            assert_eq!(broadcast.may_lose_over_gaps(), may_lose, "{broadcast:?}");
        }
    }

    #[test]
    fn who_stands_on_no_streams_says_that_they_do_not_concern_it() {
        for algorithm in algorithms::all() {
            let beneath = matches!(algorithm.gap, Gap::Unaffected(_));
            assert!(algorithm.is_over_streams() || beneath, "{}", algorithm.name);
        }
    }
}
