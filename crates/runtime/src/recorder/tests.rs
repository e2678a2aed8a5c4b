use super::*;
use quorate_core::Incarnation;
use quorate_sim::testing::p;

fn recorder(capacity: usize) -> Recorder {
    let identity = Identity {
        me: p(1),
        incarnation: Incarnation(1),
        processes: Membership::of_size(3).unwrap(),
        seed: 0,
    };
    Recorder::new(identity, capacity)
}

#[test]
fn the_oldest_records_are_forgotten_and_the_numbers_go_on() {
    let recorder = recorder(3);
    let lane = Name::from("chat");
    for _ in 0..4 {
        recorder.sent(&lane, To::All, &Bytes::from_static(b"m"));
    }
    let recording = recorder.recording();
    assert_eq!((recording.records.len(), recording.forgotten), (3, 5));
    let of = |record: &Recorded| match record.what {
        EventKind::Send { to, number, .. } => (to, number),
        _ => unreachable!("only sends were recorded"),
    };
    let kept: Vec<_> = recording.records.iter().map(of).collect();
    assert_eq!(kept, [(p(3), 3), (p(2), 4), (p(3), 4)]);
}

#[test]
fn copies_are_numbered_by_lane_and_peer_and_own_ones_are_none() {
    let recorder = recorder(10);
    let (one, other) = (Name::from("one"), Name::from("other"));
    let message = Bytes::from_static(b"m");
    for (lane, from) in [(&one, 2), (&other, 2), (&one, 3), (&one, 1), (&one, 2)] {
        recorder.received(lane, p(from), &message);
    }
    let numbers: Vec<_> = recorder
        .recording()
        .records
        .iter()
        .filter_map(|record| match record.what {
            EventKind::Receive { from, number, .. } => Some((record.name.clone(), from, number)),
            _ => None,
        })
        .collect();
    let expected = [
        (one.clone(), p(2), 1),
        (other, p(2), 1),
        (one.clone(), p(3), 1),
        (one, p(2), 2),
    ];
    assert_eq!(numbers, expected);
}

#[test]
fn a_copy_has_the_label_of_the_effect_that_sends_it() {
    struct Said(Observation);
    impl Observe for Said {
        fn observe(&self) -> Observation {
            self.0
        }
    }
    let mut recorder = recorder(10);
    let module = Name::from("chat");
    recorder.effect(&module, &Said(Observation::internal("Data")));
    recorder.sent(&module, To::One(p(2)), &Bytes::new());
    recorder.event(&Name::from("link"), &Said(Observation::request("Send")));
    recorder.effect(
        &Name::from("detector"),
        &Said(Observation::internal("Beat")),
    );
    let recording = recorder.recording();
    let labels: Vec<_> = recording
        .records
        .iter()
        .map(|record| match record.what {
            EventKind::Effect(observation) | EventKind::Event(observation) => observation.label,
            EventKind::Send { label, .. } => label,
            EventKind::Receive { .. } => "",
        })
        .collect();
    assert_eq!(labels, ["Data", "Data"]);
}
