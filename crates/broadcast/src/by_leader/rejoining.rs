//! The wiring for processes that are given states.
use super::{ByLeader, OrderSettings, User, joining::Joining, spawn_as};
use quorate_abstractions::{
    Subscribe,
    leader::Trust,
    link::{Adopt, Links},
    reconfigurable::{Indication, Request},
};
use quorate_core::{Addr, Host};

/// Starts total order in which processes that come back without their memory are put in their seats again.
/// The links' [`rejoin`](quorate_abstractions::link::Status::Newcomer) lanes must be those of `links`, and
/// `adopt` must belong to the same links: it tells them that an incarnation takes the place of another.
pub fn spawn_reconfigurable<H: Host>(
    host: &H,
    settings: OrderSettings,
    links: &impl Links,
    detector: &Subscribe<Trust>,
    adopt: Addr<Adopt>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = ByLeader {
        joining: Joining::unknown(),
        user: User::Rejoins,
        ..ByLeader::new(host, settings)
    };
    start(host, algorithm, links, detector, adopt, up)
}

/// Starts total order in which nobody comes back, with a user that gives and takes states: a process that
/// lacks what nobody keeps any more, after a stream to it has ended, goes on with a state that covers it.
pub fn spawn_with_state<H: Host>(
    host: &H,
    settings: OrderSettings,
    links: &impl Links,
    detector: &Subscribe<Trust>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = ByLeader {
        user: User::GivesState,
        ..ByLeader::new(host, settings)
    };
    start(host, algorithm, links, detector, Addr::nowhere(), up)
}

pub(super) fn start(
    host: &impl Host,
    algorithm: ByLeader,
    links: &impl Links,
    detector: &Subscribe<Trust>,
    adopt: Addr<Adopt>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let (lane, chunks) = (links.lane(), links.at("state").lane());
    spawn_as(
        host,
        algorithm,
        lane,
        chunks,
        &links.status(),
        detector,
        adopt,
        up,
    )
}
