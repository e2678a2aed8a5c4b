//! One entry an algorithm: what it implements, promises, assumes and costs.
use serde::Serialize;

/// Whether a property can be refuted by a finite run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Refuted by a finite prefix: checked at every step.
    Safety,
    /// Judged on complete runs only.
    Liveness,
}

/// A property, by its textbook tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Property {
    /// The tag: `URB4`.
    pub tag: &'static str,
    /// Safety or liveness.
    pub kind: Kind,
    /// What it says.
    pub says: &'static str,
}

/// The exact cost of one operation in a run without failures, on ideal lower layers: messages that a
/// process sends to itself are not counted, and a step is the time of one message.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// The messages, as a formula in n.
    pub messages: &'static str,
    /// The steps until the last process is done, as a formula in n.
    pub steps: &'static str,
    /// The messages, computed.
    #[serde(skip)]
    pub count: fn(u64) -> u64,
    /// The steps, computed.
    #[serde(skip)]
    pub depth: fn(u64) -> u64,
}

/// An algorithm.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Algorithm {
    /// The name by which commands and configurations choose it.
    pub name: &'static str,
    /// The abstraction that it implements.
    pub abstraction: &'static str,
    /// What it assumes of processes, timing and channels.
    pub model: &'static str,
    /// How many crashes it survives.
    pub bound: &'static str,
    /// The abstractions that it stands on.
    pub over: &'static [&'static str],
    /// What it promises.
    pub properties: &'static [Property],
    /// What one operation costs; `None` where the cost is a rate, told by `memory`'s neighbour `rate`.
    pub cost: Option<Cost>,
    /// The cost of what never ends: heartbeats, acknowledgements.
    pub rate: &'static str,
    /// What its memory follows.
    pub memory: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

const fn safety(tag: &'static str, says: &'static str) -> Property {
    Property {
        tag,
        kind: Kind::Safety,
        says,
    }
}

const fn liveness(tag: &'static str, says: &'static str) -> Property {
    Property {
        tag,
        kind: Kind::Liveness,
        says,
    }
}

const LINK: &[Property] = &[
    liveness(
        "PL1",
        "reliable delivery: a message between correct processes is delivered",
    ),
    safety("PL2", "no duplication"),
    safety("PL3", "no creation"),
    safety(
        "FIFO",
        "messages of one lane between two incarnations are delivered in order",
    ),
];

const LINK_WITHOUT_ORDER: &[Property] = LINK.split_at(3).0;

const BOOK: &str = "Cachin, Guerraoui, Rodrigues: Introduction to Reliable and Secure Distributed \
                    Programming";

/// Every algorithm, from the bottom up.
pub const ALGORITHMS: &[Algorithm] = &[
    Algorithm {
        name: "retransmit-with-cancel",
        abstraction: "stubborn link",
        model: "fair-loss links; any number of crashes",
        bound: "f ≤ n",
        over: &["fair-loss link"],
        properties: &[
            liveness("SL1", "stubborn delivery, until cancelled"),
            safety("SL2", "no creation"),
        ],
        cost: None,
        rate: "one datagram an uncancelled message and period; periods back off exponentially",
        memory: "the uncancelled messages",
        source: BOOK,
    },
    Algorithm {
        name: "eliminate-duplicates",
        abstraction: "perfect link",
        model: "fair-loss links, no process comes back; any number of crashes",
        bound: "f ≤ n",
        over: &["stubborn link"],
        properties: LINK_WITHOUT_ORDER,
        cost: Some(Cost {
            messages: "1",
            steps: "1",
            count: |_| 1,
            depth: |_| 1,
        }),
        rate: "an acknowledgement a message; what is not acknowledged is repeated",
        memory: "the unacknowledged messages; to a crashed process all, until P reports it",
        source: BOOK,
    },
    Algorithm {
        name: "sliding-window",
        abstraction: "perfect link",
        model: "fair-loss links (UDP), or byte streams that may break (TCP); any number of crashes",
        bound: "f ≤ n",
        over: &["fair-loss link"],
        properties: LINK,
        cost: Some(Cost {
            messages: "1",
            steps: "1",
            count: |_| 1,
            depth: |_| 1,
        }),
        rate: "an acknowledgement a batch, on its own or on data",
        memory: "the unacknowledged messages, up to a limit a peer",
        source: "RFC 6298, RFC 9002 in outline",
    },
    Algorithm {
        name: "exclude-on-timeout",
        abstraction: "perfect failure detector",
        model: "synchronous",
        bound: "f ≤ n",
        over: &["heartbeats"],
        properties: &[
            liveness("PFD1", "strong completeness: every crash is reported"),
            safety(
                "PFD2",
                "strong accuracy: none is reported before it, or twice",
            ),
        ],
        cost: None,
        rate: "n(n−1) heartbeats an interval",
        memory: "O(n)",
        source: BOOK,
    },
    Algorithm {
        name: "increasing-timeout",
        abstraction: "eventually perfect failure detector",
        model: "eventually synchronous",
        bound: "f ≤ n",
        over: &["heartbeats"],
        properties: &[
            liveness(
                "EPFD1",
                "strong completeness: crashed processes are suspected for ever",
            ),
            liveness(
                "EPFD2",
                "eventual strong accuracy: correct ones eventually are not",
            ),
        ],
        cost: None,
        rate: "n(n−1) heartbeats an interval",
        memory: "O(n)",
        source: BOOK,
    },
    Algorithm {
        name: "lowest-rank",
        abstraction: "eventual leader",
        model: "eventually perfect failure detector",
        bound: "f < n",
        over: &["eventually perfect failure detector"],
        properties: &[
            liveness(
                "ELD1",
                "eventually some correct process is trusted for ever",
            ),
            liveness("ELD2", "eventually all correct processes trust the same"),
        ],
        cost: None,
        rate: "none",
        memory: "O(n)",
        source: BOOK,
    },
    Algorithm {
        name: "best-effort",
        abstraction: "best-effort broadcast",
        model: "asynchronous, crash-stop",
        bound: "f ≤ n",
        over: &["perfect link"],
        properties: &[
            liveness(
                "BEB1",
                "validity: a correct sender's message reaches every correct process",
            ),
            safety("BEB2", "no duplication"),
            safety("BEB3", "no creation"),
        ],
        cost: Some(Cost {
            messages: "n−1",
            steps: "1",
            count: |n| n - 1,
            depth: |n| (n > 1).into(),
        }),
        rate: "none",
        memory: "none",
        source: BOOK,
    },
    Algorithm {
        name: "eager",
        abstraction: "reliable broadcast",
        model: "asynchronous, crash-stop",
        bound: "f ≤ n",
        over: &["best-effort broadcast"],
        properties: &[
            liveness(
                "RB1",
                "validity: a correct process delivers its own broadcasts",
            ),
            safety("RB2", "no duplication"),
            safety("RB3", "no creation"),
            liveness(
                "RB4",
                "agreement: what a correct process delivers, every correct one delivers",
            ),
        ],
        cost: Some(Cost {
            messages: "n(n−1)",
            steps: "1",
            count: |n| n * (n - 1),
            depth: |n| (n > 1).into(),
        }),
        rate: "none",
        memory: "delivered identifiers, as watermarks",
        source: BOOK,
    },
    Algorithm {
        name: "majority-ack",
        abstraction: "uniform reliable broadcast",
        model: "asynchronous, crash-stop",
        bound: "f < n/2",
        over: &["perfect link"],
        properties: &[
            liveness(
                "URB1",
                "validity: a correct process delivers its own broadcasts",
            ),
            safety("URB2", "no duplication"),
            safety("URB3", "no creation"),
            liveness(
                "URB4",
                "uniform agreement: what any process delivers, every correct one delivers",
            ),
        ],
        cost: Some(Cost {
            messages: "n(n−1)",
            steps: "2",
            count: |n| n * (n - 1),
            depth: |n| if n > 1 { 2 } else { 0 },
        }),
        rate: "none",
        memory: "undelivered messages; delivered identifiers, as watermarks",
        source: BOOK,
    },
    Algorithm {
        name: "rotating-coordinator",
        abstraction: "uniform consensus",
        model: "eventually synchronous, crash-stop",
        bound: "f < n/2",
        over: &[
            "perfect link",
            "reliable broadcast",
            "eventually perfect failure detector",
        ],
        properties: &[
            safety("UC1", "validity: what is decided was proposed"),
            safety(
                "UC2",
                "uniform agreement: no two processes decide differently",
            ),
            safety("UC3", "integrity: a process decides at most once"),
            liveness(
                "UC4",
                "termination: if all correct processes propose, all decide",
            ),
        ],
        cost: Some(Cost {
            messages: "3(n−1) + n(n−1)",
            steps: "4",
            count: |n| (3 + n) * (n - 1),
            depth: |n| if n > 1 { 4 } else { 0 },
        }),
        rate: "none",
        memory: "O(n) an undecided instance; decided ones, as a watermark",
        source: "Chandra, Toueg: Unreliable Failure Detectors for Reliable Distributed Systems, 1996",
    },
    Algorithm {
        name: "by-consensus",
        abstraction: "uniform total-order broadcast",
        model: "eventually synchronous, crash-stop",
        bound: "f < n/2",
        over: &["uniform reliable broadcast", "uniform consensus"],
        properties: &[
            liveness(
                "TOB1",
                "validity: a correct process delivers its own broadcasts",
            ),
            safety("TOB2", "no duplication"),
            safety("TOB3", "no creation"),
            liveness(
                "TOB4",
                "uniform agreement: what any process delivers, every correct one delivers",
            ),
            safety(
                "TOB5",
                "uniform total order: of two delivery sequences, one is a prefix",
            ),
            safety(
                "FRB5",
                "first-in first-out: messages of one origin are delivered in their order",
            ),
        ],
        cost: Some(Cost {
            messages: "(2n+3)(n−1)",
            steps: "6 (n ≥ 4)",
            count: |n| (2 * n + 3) * (n - 1),
            depth: |n| match n {
                1 => 0,
                2 | 3 => 5,
                _ => 6,
            },
        }),
        rate: "none",
        memory: "unordered messages, early decisions, a counter an origin",
        source: "Chandra, Toueg: Unreliable Failure Detectors for Reliable Distributed Systems, 1996",
    },
];

/// The algorithm of that name.
pub fn find(name: &str) -> Option<&'static Algorithm> {
    ALGORITHMS.iter().find(|algorithm| algorithm.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lower_layers_exist() {
        for algorithm in ALGORITHMS {
            assert_eq!(
                find(algorithm.name).map(|a| a.abstraction),
                Some(algorithm.abstraction)
            );
            for below in algorithm.over {
                let is_edge = ["fair-loss link", "heartbeats"].contains(below);
                assert!(
                    is_edge || ALGORITHMS.iter().any(|a| a.abstraction == *below),
                    "{} stands on {below}, which nothing implements",
                    algorithm.name
                );
            }
        }
    }
}
