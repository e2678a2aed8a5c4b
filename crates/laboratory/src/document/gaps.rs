//! What each algorithm does over a gap, as a page.
use crate::{algorithms, gaps::Gap};
use std::fmt::{Result, Write};

/// The page.
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
