//! The wiring where processes are given states.
use super::{ByLeader, Configuration, Effect, Event, User, joining::Joining};
use quorate_abstractions::{
    Subscribe,
    leader::Trust,
    link::{Adopt, Links},
    reconfigurable::{Indication, Request},
};
use quorate_core::{Addr, Host};

/// Starts it where processes that come back without their memory are put in their seats again. The links'
/// [`rejoin`](quorate_abstractions::link::Status::Newcomer) lanes must be those of `links`, and `adopt`
/// theirs, too: where an incarnation takes the place of another.
pub fn spawn_reconfigurable<H: Host>(
    host: &H,
    configuration: Configuration,
    links: &impl Links,
    detector: &Subscribe<Trust>,
    adopt: Addr<Adopt>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = ByLeader {
        joining: Joining::unknown(),
        user: User::ComesBack,
        ..ByLeader::new(host, configuration)
    };
    spawn(host, algorithm, links, detector, adopt, up)
}

/// Starts it where nobody comes back, with a user that gives and takes states: who lacks what nobody keeps
/// any more, after a stream to it has ended, goes on with a state that stands for it.
pub fn spawn_with_state<H: Host>(
    host: &H,
    configuration: Configuration,
    links: &impl Links,
    detector: &Subscribe<Trust>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let algorithm = ByLeader {
        user: User::KeepsState,
        ..ByLeader::new(host, configuration)
    };
    spawn(host, algorithm, links, detector, Addr::nowhere(), up)
}

fn spawn<H: Host>(
    host: &H,
    algorithm: ByLeader,
    links: &impl Links,
    detector: &Subscribe<Trust>,
    adopt: Addr<Adopt>,
    up: Addr<Indication>,
) -> Addr<Request> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(|request| match request {
        Request::Broadcast(request) => Event::Broadcast(request),
        Request::State { ticket, view } => Event::State { ticket, view },
    });
    let link = links.open(mailbox.addr().with(Event::Link));
    let chunks = links.at("state").open(mailbox.addr().with(Event::Chunk));
    links.status().send(mailbox.addr().with(Event::Status));
    detector.send(mailbox.addr().with(Event::Leader));
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Link(request) => link.send(request),
        Effect::State(request) => chunks.send(request),
        Effect::Deliver(indication) => up.send(Indication::Deliver(indication)),
        Effect::Indicate(indication) => up.send(indication),
        Effect::Adopt(request) => adopt.send(request),
    });
    requests
}
