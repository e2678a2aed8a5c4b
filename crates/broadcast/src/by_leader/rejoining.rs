//! The wiring where processes come back without their memory.
use super::{ByLeader, Configuration, Effect, Event, Message, joining::Joining};
use quorate_abstractions::{Subscribe, leader::Trust, link, reconfigurable};
use quorate_core::{Addr, Host, Layer};

/// What a group of processes that come back needs of its links.
#[derive(Clone)]
pub struct Rejoining {
    /// How the links stand.
    pub status: Subscribe<link::Status>,
    /// Where an incarnation takes the place of another.
    pub adopt: Addr<link::Adopt>,
}

/// Starts it where processes that come back without their memory are put in their slots again. The
/// links' [`rejoin`](link::Status::Newcomer) lanes must be those of `link`.
pub fn spawn_reconfigurable<H: Host>(
    host: &H,
    configuration: Configuration,
    link: impl Layer<link::Send<Message>, link::Deliver<Message>>,
    detector: &Subscribe<Trust>,
    rejoining: Rejoining,
    up: Addr<reconfigurable::Indication>,
) -> Addr<reconfigurable::Request> {
    let mailbox = host.mailbox();
    let requests = mailbox.addr().with(|request| match request {
        reconfigurable::Request::Broadcast(request) => Event::Broadcast(request),
        reconfigurable::Request::State { ticket, view } => Event::State { ticket, view },
    });
    let link = link.attach(mailbox.addr().with(Event::Link));
    detector.send(mailbox.addr().with(Event::Leader));
    rejoining.status.send(mailbox.addr().with(Event::Status));
    let algorithm = ByLeader {
        joining: Joining::unknown(),
        ..ByLeader::new(host, configuration)
    };
    let adopt = rejoining.adopt;
    host.start(mailbox, algorithm, move |effect| match effect {
        Effect::Link(request) => link.send(request),
        Effect::Deliver(indication) => up.send(reconfigurable::Indication::Deliver(indication)),
        Effect::Indicate(indication) => up.send(indication),
        Effect::Adopt(request) => adopt.send(request),
    });
    requests
}
