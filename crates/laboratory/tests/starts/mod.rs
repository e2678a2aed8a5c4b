//! The starts of one process, one after the other, over an edge that they share.
use quorate_abstractions::fair_loss::{Indication, Transmit};
use quorate_core::{Addr, Incarnation, ProcessId};
use quorate_sim::World;
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// Where what arrives goes, while the start that it belongs to is alive.
pub type Way = (Arc<AtomicBool>, Addr<Indication>);

/// The edge of a start, which carries nothing while the start is not alive: to all others it is not there.
pub fn while_alive(edge: Addr<Transmit>) -> (Arc<AtomicBool>, Addr<Transmit>) {
    let alive = Arc::new(AtomicBool::new(false));
    let way = alive.clone();
    let edge = Addr::new(move |transmit| {
        if way.load(Relaxed) {
            edge.send(transmit);
        }
    });
    (alive, edge)
}

/// The starts of process `me`, under one incarnation each. All but the first wait for their turn.
pub fn starts<S>(
    world: &mut World,
    me: ProcessId,
    incarnations: impl IntoIterator<Item = u64>,
    start: impl Fn(&World, Addr<Transmit>) -> S,
    way: impl Fn(&S) -> Way,
) -> Vec<S> {
    let ways: Arc<OnceLock<Vec<Way>>> = Arc::default();
    let arrivals = ways.clone();
    let edge = world.fair_loss(
        me,
        Addr::new(move |indication: Indication| {
            let all = arrivals.get().into_iter().flatten();
            for (_, arrivals) in all.filter(|(alive, _)| alive.load(Relaxed)) {
                arrivals.send(indication.clone());
            }
        }),
    );
    let mut starts = Vec::new();
    for incarnation in incarnations {
        world.set_incarnation(me, Incarnation(incarnation));
        starts.push(start(world, edge.clone()));
    }
    let all: Vec<Way> = starts.iter().map(way).collect();
    all[0].0.store(true, Relaxed);
    assert!(ways.set(all).is_ok());
    starts
}
