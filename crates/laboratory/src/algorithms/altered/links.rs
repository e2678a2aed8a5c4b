//! Links.
use super::{Altered, altered, changed, indicating, twice};
use bytes::Bytes;
use quorate_abstractions::link;
use quorate_links::{eliminate_duplicates, stubborn};

indicating!(stubborn_says, stubborn => Deliver(stubborn::Deliver));
indicating!(perfect_says, eliminate_duplicates => Deliver(link::Deliver<Bytes>));

/// Another content than that of any message.
const GARBLED: Bytes = Bytes::from_static(b"garbled");

const ROWS: [Altered; 3] = [
    altered(
        "retransmit-with-cancel",
        [
            "retransmit-garbled",
            "a delivery is indicated with another content",
        ],
        ["SL2", "sent 0 times"],
        |wiring| {
            let garble = |delivery: &mut stubborn::Deliver| delivery.bytes = GARBLED;
            stubborn_says(wiring, "retransmit-with-cancel", changed(garble))
        },
    ),
    altered(
        "eliminate-duplicates",
        [
            "eliminate-duplicates-twice",
            "each delivery is indicated twice",
        ],
        ["PL2", "times"],
        |wiring| perfect_says(wiring, "eliminate-duplicates", twice),
    ),
    altered(
        "eliminate-duplicates",
        [
            "eliminate-duplicates-garbled",
            "a delivery is indicated with another content",
        ],
        ["PL3", "sent 0 times"],
        |wiring| {
            let garble = |delivery: &mut link::Deliver<Bytes>| delivery.message = GARBLED;
            perfect_says(wiring, "eliminate-duplicates", changed(garble))
        },
    ),
];

pub(super) static ALL: &[&[Altered]] = &[&ROWS];
