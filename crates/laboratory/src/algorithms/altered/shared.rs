//! Objects that processes share.
use super::{
    Alteration, Altered, altered, at, changed, indicating, not_where, stops_after, twice, wire,
};
use crate::wiring::{RequestPort, Wiring};
use bytes::Bytes;
use quorate_abstractions::{
    lattice::Bits,
    lattice_agreement::{self as agreed, LatticeResponse},
    quorum_access::{self, Answer},
    register::{self, RegisterResponse, Tag},
    snapshot::{self, SnapshotResponse},
};
use quorate_core::{Host, ProcessId};
use quorate_quorums::{classical, marks::Marks};
use quorate_registers::{
    by_consensus, exchange, lattice_agreement, snapshot_by_double_collect as double_collect,
    snapshot_by_quorum_access,
};
use quorate_sim::Alter;
use std::collections::BTreeMap;

type Got = quorum_access::Indication<Marks>;
type Decided = agreed::Indication<Bits>;

indicating!(register_says, exchange => Indication(register::Indication));
indicating!(agreed_says, by_consensus => Return(register::Indication));
indicating!(snapshot_says, snapshot_by_quorum_access => Return(snapshot::Indication));

/// The effects and events of algorithms with parameters, as those that have none are declared.
mod access {
    use super::{Marks, classical};
    pub(super) type Event = classical::Event<Marks>;
    pub(super) type Effect = classical::Effect<Marks>;
}
mod lattice {
    use super::{Bits, lattice_agreement};
    pub(super) type Event = lattice_agreement::Event<Bits>;
    pub(super) type Effect = lattice_agreement::Effect<Bits>;
}
indicating!(access_says, access => Return(Got));
indicating!(agreement_says, lattice => Return(Decided));

/// The tag of a read or a write.
fn tag(indication: &mut register::Indication) -> Option<&mut Tag> {
    match &mut indication.outcome {
        RegisterResponse::Read { tag, .. } | RegisterResponse::Written { tag } => Some(tag),
        RegisterResponse::Refused(_) => None,
    }
}

/// An operation is indicated with the first timestamp.
fn untimely(indication: &mut register::Indication) {
    if let Some(tag) = tag(indication).filter(|tag| **tag != Tag::INITIAL) {
        tag.timestamp = 1;
    }
}

/// A write is indicated as one of p1.
fn alike(indication: &mut register::Indication) {
    if let RegisterResponse::Written { tag } = &mut indication.outcome {
        tag.writer = ProcessId::from_rank(1);
    }
}

/// The value of the first read is indicated with the tags of the others.
fn swapped(_: ProcessId) -> Alteration<register::Indication> {
    let mut first = None;
    Box::new(move |mut indication: register::Indication| {
        if let RegisterResponse::Read {
            value: value @ Some(_),
            ..
        } = &mut indication.outcome
        {
            *value = first.get_or_insert_with(|| value.clone()).clone();
        }
        vec![indication]
    })
}

/// Reads of a register return what the first one has returned.
fn stale_reads(_: ProcessId) -> Alteration<register::Indication> {
    let mut first: BTreeMap<Bytes, RegisterResponse> = BTreeMap::new();
    Box::new(move |mut indication: register::Indication| {
        if let RegisterResponse::Read { .. } = &indication.outcome {
            let outcome = indication.outcome.clone();
            let first = first.entry(indication.register.clone()).or_insert(outcome);
            indication.outcome = first.clone();
        }
        vec![indication]
    })
}

/// From its third read of a register on, a process returns what the first one has returned.
fn third_is_first(_: ProcessId) -> Alteration<register::Indication> {
    let mut reads: BTreeMap<Bytes, (u64, RegisterResponse)> = BTreeMap::new();
    Box::new(move |mut indication: register::Indication| {
        if let RegisterResponse::Read { .. } = &indication.outcome {
            let outcome = indication.outcome.clone();
            let (count, first) = reads
                .entry(indication.register.clone())
                .or_insert((0, outcome));
            *count += 1;
            if *count > 2 {
                indication.outcome = first.clone();
            }
        }
        vec![indication]
    })
}

const REGISTERS: [Altered; 12] = [
    altered(
        "read-one-write-all",
        [
            "read-one-going-back",
            "from its third read of a register on, a process returns what it has read first",
        ],
        ["OOAR3", "older than"],
        |wiring| register_says(wiring, "read-one-write-all", third_is_first),
    ),
    altered(
        "majority-voting",
        [
            "voting-that-stops",
            "p2 indicates the end of one operation, and then no more",
        ],
        ["ONRR1", "never returns"],
        |wiring| register_says(wiring, "majority-voting", at(2, stops_after(1))),
    ),
    altered(
        "majority-voting",
        [
            "voting-twice",
            "the end of each operation is indicated twice",
        ],
        ["ONRR2", "not in flight"],
        |wiring| register_says(wiring, "majority-voting", twice),
    ),
    altered(
        "majority-voting",
        [
            "voting-stale",
            "a process reads again what it has read first",
        ],
        ["ONRR2", "neither the last"],
        |wiring| register_says(wiring, "majority-voting", stale_reads),
    ),
    altered(
        "read-impose-write-majority",
        [
            "imposing-that-stops",
            "p2 indicates the end of one operation, and then no more",
        ],
        ["ONAR1", "never returns"],
        |wiring| register_says(wiring, "read-impose-write-majority", at(2, stops_after(1))),
    ),
    altered(
        "read-impose-write-majority",
        [
            "imposing-twice",
            "the end of each operation is indicated twice",
        ],
        ["ONAR2", "not in flight"],
        |wiring| register_says(wiring, "read-impose-write-majority", twice),
    ),
    altered(
        "read-impose-write-majority",
        [
            "imposing-stale",
            "a process reads again what it has read first",
        ],
        ["ONAR3", "older than"],
        |wiring| register_says(wiring, "read-impose-write-majority", stale_reads),
    ),
    altered(
        "multi-writer-majority",
        [
            "multi-writer-that-stops",
            "p2 indicates the end of one operation, and then no more",
        ],
        ["NNAR1", "never returns"],
        |wiring| register_says(wiring, "multi-writer-majority", at(2, stops_after(1))),
    ),
    altered(
        "multi-writer-majority",
        [
            "multi-writer-twice",
            "the end of each operation is indicated twice",
        ],
        ["NNAR2", "not in flight"],
        |wiring| register_says(wiring, "multi-writer-majority", twice),
    ),
    altered(
        "multi-writer-majority",
        [
            "multi-writer-untimely",
            "p2 indicates its operations with the first timestamp",
        ],
        ["NNAR2", "does not follow"],
        |wiring| register_says(wiring, "multi-writer-majority", at(2, changed(untimely))),
    ),
    altered(
        "multi-writer-majority",
        ["multi-writer-alike", "writes are indicated as writes of p1"],
        ["NNAR2", "the same tag"],
        |wiring| register_says(wiring, "multi-writer-majority", changed(alike)),
    ),
    altered(
        "multi-writer-majority",
        [
            "multi-writer-swapped",
            "p2 indicates the value of its first read with the tags of the others",
        ],
        ["NNAR2", "another value was written"],
        |wiring| register_says(wiring, "multi-writer-majority", at(2, swapped)),
    ),
];

const BY_CONSENSUS: [Altered; 4] = [
    altered(
        "register-by-consensus",
        [
            "register-by-consensus-twice",
            "the end of each operation is indicated twice",
        ],
        ["NNAR2", "not in flight"],
        |wiring| agreed_says(wiring, "register-by-consensus", twice),
    ),
    altered(
        "register-by-consensus",
        [
            "register-by-consensus-untimely",
            "p2 indicates its operations with the first timestamp",
        ],
        ["NNAR2", "does not follow"],
        |wiring| agreed_says(wiring, "register-by-consensus", at(2, changed(untimely))),
    ),
    altered(
        "register-by-consensus",
        [
            "register-by-consensus-alike",
            "writes are indicated as writes of p1",
        ],
        ["NNAR2", "the same tag"],
        |wiring| {
            // Timestamps differ, since all writes are in one order.
            let first = |indication: &mut register::Indication| {
                alike(indication);
                untimely(indication);
            };
            agreed_says(wiring, "register-by-consensus", changed(first))
        },
    ),
    altered(
        "register-by-consensus",
        [
            "register-by-consensus-swapped",
            "p2 indicates the value of its first read with the tags of the others",
        ],
        ["NNAR2", "another value was written"],
        |wiring| agreed_says(wiring, "register-by-consensus", at(2, swapped)),
    ),
];

const ACCESS: [Altered; 3] = [
    altered(
        "quorum-access-classical",
        ["access-twice", "the end of each call is indicated twice"],
        ["QAF1", "not in flight"],
        |wiring| access_says(wiring, "quorum-access-classical", twice),
    ),
    altered(
        "quorum-access-classical",
        [
            "access-inventing",
            "states are indicated with an update that nobody requested",
        ],
        ["QAF1", "was requested"],
        |wiring| {
            let invent = |indication: &mut Got| {
                if let Answer::Got(states) = &mut indication.answer {
                    states.push(Marks(1 << 63));
                }
            };
            access_says(wiring, "quorum-access-classical", changed(invent))
        },
    ),
    altered(
        "quorum-access-classical",
        [
            "access-that-stops",
            "p2 indicates the end of one call, and then no more",
        ],
        ["QAF3", "never returns"],
        |wiring| access_says(wiring, "quorum-access-classical", at(2, stops_after(1))),
    ),
];

/// Alters the scans at p2.
fn scans(
    wiring: &Wiring<'_>,
    alter: impl Fn(&mut snapshot::View) + Clone + Send + Sync + 'static,
) -> RequestPort {
    let altered = move |_| -> Alteration<snapshot::Indication> {
        let alter = alter.clone();
        Box::new(move |mut indication: snapshot::Indication| {
            if let SnapshotResponse::Scanned(view) = &mut indication.outcome {
                alter(view);
            }
            vec![indication]
        })
    };
    snapshot_says(wiring, "snapshot-by-quorum-access", at(2, altered))
}

/// Takes the last update of p1 out of a scan.
fn without_the_last(view: &mut snapshot::View) {
    if let Some(segment) = view.first_mut() {
        segment.sequence = segment.sequence.saturating_sub(1);
    }
}

const SNAPSHOTS: [Altered; 5] = [
    altered(
        "snapshot-by-quorum-access",
        [
            "snapshot-that-stops",
            "p2 indicates the end of one operation, and then no more",
        ],
        ["SN1", "never returns"],
        |wiring| snapshot_says(wiring, "snapshot-by-quorum-access", at(2, stops_after(1))),
    ),
    altered(
        "snapshot-by-quorum-access",
        [
            "snapshot-twice",
            "the end of each operation is indicated twice",
        ],
        ["SN2", "not in flight"],
        |wiring| snapshot_says(wiring, "snapshot-by-quorum-access", twice),
    ),
    altered(
        "snapshot-by-quorum-access",
        ["snapshot-empty", "p2 scans nothing"],
        ["SN2", "there before it"],
        |wiring| {
            scans(wiring, |view| {
                for segment in view {
                    segment.sequence = 0;
                }
            })
        },
    ),
    altered(
        "snapshot-by-quorum-access",
        [
            "snapshot-ahead",
            "p2 scans an update of p1 that nobody has requested",
        ],
        ["SN2", "nobody has requested"],
        |wiring| {
            scans(wiring, |view| {
                if let Some(segment) = view.first_mut() {
                    segment.sequence += 100;
                }
            })
        },
    ),
    altered(
        "snapshot-by-quorum-access",
        ["snapshot-behind", "p2 does not scan the last update of p1"],
        ["SN2", "there before that"],
        |wiring| scans(wiring, without_the_last),
    ),
];

/// Lets a scan collect twice, and not again.
struct GivesUp {
    /// The reads of two collects.
    most: usize,
    reads: usize,
}

impl Alter<double_collect::Event, double_collect::Effect> for GivesUp {
    fn hear(&mut self, event: double_collect::Event, heard: &mut Vec<double_collect::Event>) {
        if matches!(event, double_collect::Event::Request(_)) {
            self.reads = 0;
        }
        heard.push(event);
    }

    fn say(&mut self, effect: double_collect::Effect, said: &mut Vec<double_collect::Effect>) {
        if let double_collect::Effect::Register(register::Request {
            action: register::Action::Read,
            ..
        }) = &effect
        {
            self.reads += 1;
            if self.reads > self.most {
                return;
            }
        }
        said.push(effect);
    }
}

const DOUBLE_COLLECT: [Altered; 1] = [altered(
    "snapshot-by-double-collect",
    [
        "scans-give-up",
        "a scan that saw an update between its two collects does not collect again",
    ],
    ["SN1-O", "runs alone"],
    |wiring| {
        let most = 2 * wiring.host().processes().n();
        let gives_up = wiring.altered(move |_| GivesUp { most, reads: 0 });
        wire("snapshot-by-double-collect", &gives_up)
    },
)];

const LATTICE_AGREEMENT: [Altered; 3] = [
    altered(
        "lattice-agreement",
        ["agreement-twice", "each decision is indicated twice"],
        ["LA3", "not in flight"],
        |wiring| agreement_says(wiring, "lattice-agreement", twice),
    ),
    altered(
        "lattice-agreement",
        ["agreement-inventing", "more is decided than was proposed"],
        ["LA3", "more than was proposed"],
        |wiring| {
            let invent = |indication: &mut Decided| {
                if let LatticeResponse::Decided(Bits(bits)) = &mut indication.outcome {
                    *bits |= 1 << 63;
                }
            };
            agreement_says(wiring, "lattice-agreement", changed(invent))
        },
    ),
    altered(
        "lattice-agreement",
        ["agreement-undecided", "p2 indicates no decision"],
        ["LA4", "never returns"],
        |wiring| {
            let at_p2 = |me: ProcessId, _: &Decided| me.rank() == 2;
            agreement_says(wiring, "lattice-agreement", not_where(at_p2))
        },
    ),
];

pub(super) static ALL: &[&[Altered]] = &[
    &REGISTERS,
    &BY_CONSENSUS,
    &ACCESS,
    &SNAPSHOTS,
    &DOUBLE_COLLECT,
    &LATTICE_AGREEMENT,
];
