use super::*;
use crate::{
    majority_voting::MajorityVoting,
    multi_writer::MultiWriter,
    testing::{X, p, reaction, read},
};
use quorate_sim::{Timed, World};

/// p1 of five reads. p2 answers twice, the second time with a write of p1 that it has got meanwhile; then p3
/// and p4 answer that they hold nothing. Returns what p1 does then.
fn answered_twice<R: Rules>(mut p1: Phases<R>) -> Vec<Effect> {
    let (timestamp, writer) = (1, Some(p(1)));
    let written = Held {
        tag: Tag { timestamp, writer },
        value: Some(Bytes::from_static(b"1.1")),
    };
    let nothing = Held::default();
    reaction(&mut p1, Event::Request(read(1)));
    let mut effects = Vec::new();
    for (rank, held) in [(2, &nothing), (2, &written), (3, &nothing), (4, &nothing)] {
        assert!(effects.is_empty(), "{effects:?}");
        let (request, content) = (1, Content::Value(held.clone()));
        let (from, message) = (p(rank), Message { request, content });
        effects = reaction(&mut p1, Event::Link(Deliver { from, message }));
    }
    effects
}

#[test]
fn who_answers_twice_counts_once_and_is_believed_again_where_one_process_writes() {
    let world = World::new(5, 1, Timed::lock_step()).unwrap();
    let host = world.host(p(1));
    for (effects, timestamp) in [
        (answered_twice(MajorityVoting::new(&host, p(1))), 1),
        (answered_twice(MultiWriter::new(&host)), 0),
    ] {
        let [
            Effect::Indication(Indication {
                outcome: RegisterResponse::Read { tag, .. },
                register,
                ..
            }),
        ] = &effects[..]
        else {
            panic!("{effects:?}");
        };
        assert_eq!((register, tag.timestamp), (&X, timestamp));
    }
}
