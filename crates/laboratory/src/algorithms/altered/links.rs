//! Links.
use super::{Altered, altered, changed, indicating, twice};
use crate::algorithms::links::ARRIVALS;
use bytes::Bytes;
use quorate_abstractions::link;
use quorate_core::ProcessId;
use quorate_links::{eliminate_duplicates, fair_loss, stubborn};

indicating!(stubborn_says, stubborn => Deliver(stubborn::Deliver));
indicating!(fair_loss_says, fair_loss => Deliver(fair_loss::Deliver));
indicating!(perfect_says, eliminate_duplicates => Deliver(link::Deliver<Bytes>));

/// Another content than that of any message.
const GARBLED: Bytes = Bytes::from_static(b"garbled");

/// Each indication comes once more than a copy may arrive.
fn too_often<T: Clone + 'static>(_: ProcessId) -> super::Alteration<T> {
    Box::new(|indication: T| vec![indication; 1 + ARRIVALS as usize])
}

const ROWS: [Altered; 5] = [
    altered(
        "fair-loss",
        [
            "fair-loss-too-often",
            "each delivery is indicated five times",
        ],
        ["FLL2", "times"],
        |wiring| fair_loss_says(wiring, "fair-loss", too_often),
    ),
    altered(
        "fair-loss",
        [
            "fair-loss-garbled",
            "a delivery is indicated with another content",
        ],
        ["FLL3", "sent 0 times"],
        |wiring| {
            let garble = |delivery: &mut fair_loss::Deliver| delivery.bytes = GARBLED;
            fair_loss_says(wiring, "fair-loss", changed(garble))
        },
    ),
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
