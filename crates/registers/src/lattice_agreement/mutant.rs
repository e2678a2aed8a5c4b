//! Lattice agreement that scans first: a mutant that LA2 catches.
use super::{Effect, Event, LatticeAgreement, Mode, spawn_as};
use quorate_abstractions::{
    lattice::Lattice,
    lattice_agreement::{Indication, Propose},
    snapshot::{self, Action, SnapshotResponse, View},
};
use quorate_core::{Addr, Algorithm, Ctx, Host, Layer, wire::encode};

/// Decides what it scanned before it made its own proposal known.
pub(super) struct ScansFirst<L> {
    inner: LatticeAgreement<L>,
    /// The result of the scan of the proposal in flight.
    seen: View,
}

impl<L: Lattice> Algorithm for ScansFirst<L> {
    type Event = Event<L>;
    type Effect = Effect<L>;

    fn upon(&mut self, event: Event<L>, ctx: &mut Ctx<Self>) {
        let inner = &mut self.inner;
        match event {
            Event::Propose(Propose { operation, value }) if inner.pending.is_none() => {
                inner.pending = Some(operation);
                inner.own.join(&value);
                inner.operate(Action::Scan, ctx);
            }
            Event::Snapshot(snapshot::Indication { outcome, .. }) => match outcome {
                SnapshotResponse::Scanned(view) => {
                    self.seen = view;
                    inner.operate(Action::Update(encode(&inner.own)), ctx);
                }
                SnapshotResponse::Updated => {
                    inner.upon_scanned(&std::mem::take(&mut self.seen), ctx);
                }
                SnapshotResponse::Refused(_) => ctx.count("refused by the snapshot"),
            },
            Event::Propose(_) => inner.upon(event, ctx),
        }
    }
}

impl<L: Lattice> ScansFirst<L> {
    pub(super) fn new() -> Self {
        ScansFirst {
            inner: LatticeAgreement::new(Mode::Repeated),
            seen: View::new(),
        }
    }
}

/// Starts repeated lattice agreement that scans before it updates. Only for tests and demonstrations.
pub fn spawn_mutant<H: Host, L: Lattice>(
    host: &H,
    snapshot: impl Layer<snapshot::Port>,
    up: Addr<Indication<L>>,
) -> Addr<Propose<L>> {
    spawn_as(host, ScansFirst::new(), snapshot, up)
}
