//! What each algorithm does over a gap: where the stream of a link from one process to another ends, and
//! the next one begins.
//!
//! Both processes remain members, and hear of the gap by the [status](quorate_abstractions::link::Status)
//! of their links. What was said in the gap is lost; an algorithm says it again, or says that it does not.
use crate::{
    algorithm::{Algorithm, Ground},
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

const REGISTERS: Gap = Gap::Repeats(
    "who has an operation open asks the receiver of the new stream its last request again, with the same \
     number and tag, and has the receiver do so",
);
const IMPOSED: Gap = Gap::Repeats(
    "what was imposed in open instances, and in the latest 256 that are over (or 4 MiB of them): who missed \
     an older one stays without it",
);
const CAUSAL: Gap = Gap::Ends(
    "what the broadcast below lost in the gap is not delivered, nor what causally follows it; all else is",
);
const PAST: Gap = Gap::Ends(
    "what the broadcast below lost in the gap comes with a later message that has it in its past, or not \
     at all",
);
const FIRST_IN_FIRST_OUT: Gap = Gap::Ends(
    "of an origin whose message the broadcast below lost, nothing later is delivered; all others are",
);

/// By algorithm, from the bottom up.
const ROWS: &[(&str, Gap)] = &[
    (
        "retransmit-with-cancel",
        Gap::Unaffected("it is a link beneath the streams"),
    ),
    (
        "eliminate-duplicates",
        Gap::Unaffected("it is a link beneath the streams"),
    ),
    (
        "sliding-window",
        Gap::Unaffected("it is the link that ends streams and begins them, and says so"),
    ),
    (
        "exclude-on-timeout",
        Gap::Unaffected("heartbeats go on, whatever the streams do"),
    ),
    (
        "increasing-timeout",
        Gap::Unaffected("heartbeats go on, whatever the streams do"),
    ),
    (
        "lowest-rank",
        Gap::Unaffected("it stands on a detector, and sends nothing"),
    ),
    (
        "best-effort",
        Gap::Ends("what was broadcast in the gap does not reach its receiver; all others have it"),
    ),
    (
        "eager",
        Gap::Ends(
            "what was said in the gap reaches its receiver by the relay of another, or not at all",
        ),
    ),
    (
        "lazy",
        Gap::Repeats(
            "what this process has sent and the receiver has not reported, of its latest 4,096 messages; \
             where more are missing, it ends, and the users are told",
        ),
    ),
    (
        "all-ack",
        Gap::Repeats(
            "what is pending at either end; who has delivered it says again that it holds it",
        ),
    ),
    (
        "majority-ack",
        Gap::Ends(
            "what is pending at either end is said again, so that whoever broadcasts delivers; what others \
             have delivered and forgotten meanwhile is not",
        ),
    ),
    ("first-in-first-out", FIRST_IN_FIRST_OUT),
    ("first-in-first-out-uniform", FIRST_IN_FIRST_OUT),
    ("causal-past", PAST),
    ("causal-past-uniform", PAST),
    ("causal-collected", PAST),
    ("causal-collected-uniform", PAST),
    ("causal-waiting", CAUSAL),
    ("causal-waiting-uniform", CAUSAL),
    ("hierarchical", IMPOSED),
    ("uniform-hierarchical", IMPOSED),
    (
        "leader-driven",
        Gap::Repeats(
            "open proposals and acceptances, and the latest 1,024 decisions, as far as the receiver lacks \
             them; a candidate campaigns in a higher ballot",
        ),
    ),
    (
        "rotating-coordinator",
        Gap::Repeats(
            "what was said last in the present round of open instances, that earlier rounds were left, and \
             the latest 256 decisions (or 4 MiB of them): who missed an older one stays without it",
        ),
    ),
    (
        "randomised",
        Gap::Repeats(
            "what was said last in open instances, and the latest 256 decisions: who missed an older one \
             stays without it",
        ),
    ),
    (
        "by-consensus",
        Gap::Ends(
            "consensus goes on; where the broadcast below lost a batch, nothing is delivered from there on",
        ),
    ),
    (
        "by-consensus-on-messages",
        Gap::Ends(
            "a message that the broadcast below lost comes with the decision that orders it; where \
             consensus has forgotten that, too, nothing is delivered from there on",
        ),
    ),
    (
        "by-leader",
        Gap::Repeats(
            "what ballots repeat, and batches that are not ordered or that the receiver may lack; who is \
             behind what is kept gets a snapshot",
        ),
    ),
    (
        "by-total-order",
        Gap::Ends(
            "as the total order below: over the one that a leader drives it goes on, with its state, which \
             has the latest 256 decisions (or 4 MiB of them); over the one by consensus it decides nothing \
             from where that ends",
        ),
    ),
    (
        "terminating",
        Gap::Repeats("the source's message in flight; consensus goes on"),
    ),
    (
        "perfect-from-terminating",
        Gap::Repeats("nothing of its own: the terminating broadcast below goes on"),
    ),
    (
        "non-blocking",
        Gap::Repeats("the votes in open instances; consensus goes on"),
    ),
    (
        "two-phase",
        Gap::Repeats(
            "the coordinator's questions in open instances, and votes whose outcome is not known; it \
             remembers the latest 4,096 outcomes: who missed an older one stays without it",
        ),
    ),
    (
        "group-membership",
        Gap::Repeats("nothing of its own: consensus goes on"),
    ),
    (
        "by-terminating",
        Gap::Repeats(
            "what this process has broadcast in the view and is not stable, and what it has delivered; \
             terminating broadcast and membership go on",
        ),
    ),
    (
        "views-by-consensus",
        Gap::Repeats(
            "what this process has broadcast in the view and is not stable, and what it has delivered, or \
             its flush; consensus goes on",
        ),
    ),
    (
        "primary-views",
        Gap::Repeats(
            "the view ends, and the next begins with what any member has delivered; flushes, requests to \
             join and transfers are said again",
        ),
    ),
    ("read-one-write-all", REGISTERS),
    ("majority-voting", REGISTERS),
    ("read-impose-write-all", REGISTERS),
    ("read-impose-write-majority", REGISTERS),
    ("read-impose-write-consult-all", REGISTERS),
    ("multi-writer-majority", REGISTERS),
    (
        "flooding",
        Gap::Repeats(
            "what stands, of every origin; over fair-loss lanes, which know no streams, that is said again \
             from time to time",
        ),
    ),
    (
        "quorum-access-classical",
        Gap::Repeats(
            "the open calls that the receiver has not answered, under the same numbers, and which are over; \
             the receiver does the same",
        ),
    ),
    (
        "quorum-access-generalized",
        Gap::Repeats("nothing of its own: the flooding below goes on"),
    ),
    (
        "register-by-quorum-access",
        Gap::Repeats("nothing of its own: the quorum access below goes on"),
    ),
    (
        "snapshot-from-registers",
        Gap::Repeats("nothing of its own: the registers below go on"),
    ),
    (
        "snapshot-by-quorum-access",
        Gap::Repeats("nothing of its own: the quorum access below goes on"),
    ),
    (
        "lattice-agreement",
        Gap::Repeats("nothing of its own: the snapshot below goes on"),
    ),
    ("view-synchronizer", Gap::Unaffected("it sends nothing")),
    (
        "by-quorums",
        Gap::Repeats("nothing of its own: the flooding below goes on"),
    ),
];

impl Algorithm {
    /// What it does over a gap.
    pub fn gap(&self) -> Option<Gap> {
        let row = ROWS.iter().find(|(name, _)| *name == self.name);
        row.map(|(_, gap)| *gap)
    }

    /// Whether it runs over perfect links, which are what streams are part of.
    pub fn is_over_streams(&self) -> bool {
        let ground = self.simulation.ground;
        !matches!(ground, Ground::FairLoss | Ground::Heartbeats)
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
        let (holds, what) = match algorithm.gap() {
            Some(Gap::Repeats(what)) => ("goes on", what),
            Some(Gap::Ends(what)) => ("may end", what),
            Some(Gap::Unaffected(what)) => ("unaffected", what),
            None => ("?", "?"),
        };
        let (name, abstraction) = (algorithm.name, algorithm.abstraction);
        writeln!(text, "| `{name}` | {abstraction} | {holds} | {what} |")?;
    }
    text.write_str(TAIL)
}

const HEAD: &str = "\
# What each algorithm does over a gap

Generated from the catalogue (`crates/catalogue/src/gaps.rs`); a test says when it is stale.

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
from seeds (`crates/catalogue/tests/gaps.rs`). What goes on is found to stand still where it does not hear of
the gaps.

The rows that go on are in the columns *gaps* and *long cut* of the [matrix](matrix.md), too.

Who stays without a decision has that instance open for good, and takes part in those above it as far as the
algorithm lets instances run ahead of an open one (65,536; by quorums 1,024).
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broadcasts::Broadcast;

    #[test]
    fn users_are_told_of_gaps_where_a_row_says_that_something_may_stay_away() {
        for broadcast in Broadcast::all() {
            let gap = algorithms::find(broadcast.name()).and_then(Algorithm::gap);
            let may_lose = match gap {
                Some(Gap::Ends(_)) => true,
                Some(Gap::Repeats(what)) => what.contains("users are told"),
                Some(Gap::Unaffected(_)) | None => false,
            };
            assert_eq!(broadcast.may_lose_over_gaps(), may_lose, "{broadcast:?}");
        }
    }

    #[test]
    fn every_algorithm_has_a_row_and_every_row_an_algorithm() {
        for algorithm in algorithms::all() {
            let gap = algorithm.gap();
            assert!(gap.is_some(), "{} has no row", algorithm.name);
            let beneath = matches!(gap, Some(Gap::Unaffected(_)));
            assert!(algorithm.is_over_streams() || beneath, "{}", algorithm.name);
        }
        for (name, _) in ROWS {
            assert!(algorithms::find(name).is_some(), "{name}");
            let same = ROWS.iter().filter(|(other, _)| other == name);
            assert_eq!(same.count(), 1, "{name}");
        }
    }
}
