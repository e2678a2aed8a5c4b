use super::{Effect, Event};
use crate::{
    majority_voting::MajorityVoting,
    message::{Content, Message},
    multi_writer::MultiWriter,
    read_impose_write_consult_all::ReadImposeWriteConsultAll,
    read_impose_write_majority::ReadImposeWriteMajority,
    read_one_write_all::ReadOneWriteAll,
    testing::{p, reaction, write},
};
use quorate_abstractions::link::{Deliver, SendRequest, Status, To};
use quorate_core::{Algorithm, ProcessId};
use quorate_sim::{SimHost, Timed, World};

/// The requests and answers that the effects send to others.
fn sent(effects: Vec<Effect>) -> Vec<SendRequest<Message>> {
    let sent = effects.into_iter().filter_map(|effect| match effect {
        Effect::Link(send) => Some(send),
        Effect::Indication(_) => None,
    });
    sent.collect()
}

/// Delivers these messages from another process. Returns what the receiver sends.
fn arrive<A: Algorithm<Event = Event, Effect = Effect>>(
    at: &mut A,
    from: ProcessId,
    messages: &[SendRequest<Message>],
) -> Vec<SendRequest<Message>> {
    let deliver = |message: Message| Event::Link(Deliver { from, message });
    let arrived = messages.iter().map(|send| deliver(send.message.clone()));
    arrived
        .flat_map(|event| sent(reaction(at, event)))
        .collect()
}

/// p1 has made a request; p2's copy, or p2's answer, is lost. p1 asks again for what is open, with the same
/// message; p2 answers however often it is asked; and nothing is asked once nothing is open.
fn asks_again<A: Algorithm<Event = Event, Effect = Effect>>(make: impl Fn(&SimHost) -> A) {
    let world = World::new(3, 1, Timed::lock_step()).unwrap();
    let new = |rank| make(&world.host(p(rank)));
    let (mut p1, mut p2, mut p3) = (new(1), new(2), new(3));
    let mut asked = sent(reaction(&mut p1, Event::Request(write(1, 1))));
    while !asked.is_empty() {
        assert!(asked.iter().all(|send| send.to == To::All));
        let begun = Event::Status(Status::Begun { peer: p(2) });
        let mut all = sent(reaction(&mut p1, begun));
        let resumed = all.remove(0);
        assert_eq!(resumed.message.content, Content::Resumed);
        for repeated in [all, arrive(&mut p1, p(2), &[resumed])] {
            let messages = |sent: &[SendRequest<Message>]| {
                sent.iter()
                    .map(|send| send.message.clone())
                    .collect::<Vec<_>>()
            };
            assert!(repeated.iter().all(|send| send.to == To::One(p(2))));
            assert_eq!(messages(&repeated), messages(&asked));
        }
        let ended = Event::Status(Status::Ended { peer: p(2) });
        assert!(reaction(&mut p1, ended).is_empty(), "it would be dropped");
        let first = arrive(&mut p2, p(1), &asked);
        let second = arrive(&mut p2, p(1), &asked);
        assert_eq!(first, second, "who is asked again answers the same");
        let own = arrive(&mut p1, p(1), &asked);
        let third = arrive(&mut p3, p(1), &asked);
        let mut next = Vec::new();
        for (from, answers) in [(1, own), (2, first), (2, second), (3, third)] {
            next.extend(arrive(&mut p1, p(from), &answers));
        }
        asked = next;
    }
    let begun = Event::Status(Status::Begun { peer: p(2) });
    let sent = sent(reaction(&mut p1, begun));
    assert_eq!(sent.len(), 1, "nothing is open: {sent:?}");
}

#[test]
fn what_is_open_is_asked_again_with_the_same_number_and_tag() {
    asks_again(MultiWriter::new);
    asks_again(|host| MajorityVoting::new(host, p(1)));
    asks_again(|host| ReadImposeWriteMajority::new(host, p(1)));
    asks_again(|host| ReadOneWriteAll::new(host, p(1)));
    asks_again(ReadImposeWriteConsultAll::new);
}
