//! The behaviour of each algorithm over a gap: the stream of a link from one process to another ends, and the
//! next one begins.
//!
//! Both processes remain members, and hear of the gap by the [status](quorate_abstractions::link::Status)
//! of their links. What was said in the gap is lost; an algorithm says it again, or says that it does not.

/// The behaviour of an algorithm over a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    /// It goes on and keeps its promises. The text says what it sends again.
    Repeats(&'static str),
    /// It may lack for good the messages that the gap has taken, and its users are told. The text says what
    /// holds.
    Ends(&'static str),
    /// It uses lanes without streams, or no lane at all.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms;
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
