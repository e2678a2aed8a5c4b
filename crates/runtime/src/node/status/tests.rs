use super::*;
use crate::node::group::GroupNews;
use quorate_abstractions::reconfigurable::Epoch;
use quorate_sim::testing::{p, set};
use std::{collections::BTreeSet, time::Duration};

/// What p1 of three knows.
fn snapshot() -> NodeStatus {
    let addresses = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)).into());
    NodeStatus::new(p(1), Incarnation(1), &addresses, 2)
}

fn connected(rank: usize, incarnation: u64) -> link::Status {
    link::Status::Connected {
        peer: p(rank),
        incarnation: Incarnation(incarnation),
    }
}

fn replaced(rank: usize, known: u64, newcomer: u64) -> link::Status {
    link::Status::Replaced {
        peer: p(rank),
        known: Incarnation(known),
        newcomer: Incarnation(newcomer),
    }
}

fn newcomer() -> link::Status {
    link::Status::Newcomer {
        by: p(2),
        known: Incarnation(9),
    }
}

fn excluded() -> link::Status {
    link::Status::Excluded {
        by: p(2),
        reason: "another start".to_owned(),
    }
}

fn refused(reason: &str) -> link::Status {
    link::Status::Refused {
        peer: p(2),
        reason: reason.to_owned(),
    }
}

fn epoch(number: u64, newcomers: &[(usize, u64, u64)]) -> GroupNews {
    let newcomer = |&(rank, incarnation, before): &(usize, u64, u64)| {
        let process = p(rank);
        let incarnation = Incarnation(incarnation);
        let origin = Origin {
            process,
            incarnation,
        };
        (origin, before)
    };
    GroupNews::Epoch(Epoch {
        number,
        newcomers: newcomers.iter().map(newcomer).collect(),
    })
}

fn full(by: usize, owed: usize) -> (Name, Room) {
    let by = Hindrance {
        by: p(by),
        owed,
        announced: false,
    };
    (Name::from("orders"), Room::Full(by))
}

fn elected(rank: usize) -> NodeEvent {
    NodeEvent::Elected { leader: p(rank) }
}

#[test]
fn nobody_is_trusted_while_this_process_does_not_take_part() {
    let mut now = snapshot();
    assert_eq!(now.upon_leader(Trust(p(1))), []);
    assert_eq!(now.leader, None);
    let events = now.upon_status(link::Status::Admitted);
    assert_eq!(events, [NodeEvent::Admitted, elected(1)]);
    assert_eq!(now.leader, Some(p(1)));
    now.upon_status(excluded());
    assert_eq!(now.leader, None);
    assert_eq!(now.upon_leader(Trust(p(2))), []);
    assert_eq!(now.leader, None);
}

#[test]
fn who_was_started_again_takes_part_once_it_has_the_state() {
    let mut now = snapshot();
    now.upon_leader(Trust(p(2)));
    let (by, known) = (p(2), Incarnation(9));
    let events = now.upon_status(newcomer());
    assert_eq!(events, [NodeEvent::Newcomer { by, known }]);
    assert_eq!(now.admission, Admission::Newcomer);
    assert_eq!(now.peers[0].holder, None, "its seat is another's");
    // The process has its seat, but not yet the state of the others.
    assert_eq!(now.upon_status(link::Status::Admitted), []);
    assert_eq!((&now.admission, now.leader), (&Admission::Newcomer, None));
    assert_eq!(now.upon_group(GroupNews::Coming { bytes: 0 }), []);
    assert_eq!(now.upon_group(GroupNews::Coming { bytes: 70 }), []);
    assert_eq!(now.incoming, Some(70));
    let events = now.upon_group(GroupNews::Whole { position: 5 });
    let caught_up = NodeEvent::CaughtUp {
        bytes: 70,
        position: 5,
    };
    assert_eq!(events, [caught_up, NodeEvent::Admitted, elected(2)]);
    assert_eq!(now.admission, Admission::Admitted);
    assert!(now.started_again && now.took_part && now.incoming.is_none());
    now.upon_group(epoch(1, &[(1, 1, 1)]));
    let own = &now.peers[0];
    assert_eq!((own.holder, own.held_before), (Some(Incarnation(1)), 1));
}

#[test]
fn who_was_far_behind_catches_up_and_is_what_it_was() {
    let mut now = snapshot();
    now.upon_status(link::Status::Admitted);
    now.upon_group(GroupNews::Coming { bytes: 10 });
    now.upon_group(GroupNews::Abandoned);
    assert_eq!(now.incoming, None);
    now.upon_group(GroupNews::Coming { bytes: 20 });
    let events = now.upon_group(GroupNews::Whole { position: 7 });
    let (bytes, position) = (20, 7);
    assert_eq!(events, [NodeEvent::CaughtUp { bytes, position }]);
    assert!(!now.started_again);
}

#[test]
fn what_ends_a_process_is_final() {
    let excluded_event = NodeEvent::Excluded {
        by: p(2),
        reason: "another start".to_owned(),
    };
    let mut now = snapshot();
    assert_eq!(now.upon_status(excluded()), [excluded_event]);
    assert!(!now.took_part);
    let admission = now.admission.clone();
    assert_eq!(now.upon_status(excluded()), []);
    assert_eq!(now.upon_status(link::Status::Admitted), []);
    assert_eq!(now.upon_status(newcomer()), []);
    assert_eq!(now.upon_group(GroupNews::Unreadable), []);
    now.upon_group(GroupNews::Whole { position: 1 });
    assert_eq!(now.admission, admission);

    let mut now = snapshot();
    now.upon_status(newcomer());
    let events = now.upon_group(GroupNews::Unreadable);
    assert_eq!(events, [NodeEvent::Unreadable]);
    assert_eq!(now.upon_status(excluded()), []);
    assert_eq!(now.admission, Admission::Unreadable);
}

#[test]
fn a_refusal_is_told_until_another_reason_comes_or_it_is_over() {
    let mut now = snapshot();
    let refusal = |reason: &str| NodeEvent::Refused {
        peer: p(2),
        reason: reason.to_owned(),
    };
    assert_eq!(now.upon_status(refused("a")), [refusal("a")]);
    assert_eq!(now.upon_status(refused("a")), []);
    assert_eq!(now.upon_status(refused("b")), [refusal("b")]);
    assert_eq!(now.upon_status(connected(2, 7)).len(), 1);
    assert_eq!(now.upon_status(refused("b")), [refusal("b")]);
    // A process that is no member has no entry.
    let stranger = link::Status::Refused {
        peer: p(9),
        reason: "no member".to_owned(),
    };
    assert_eq!(now.upon_status(stranger).len(), 1);
}

#[test]
fn a_stream_that_has_ended_stays_so_for_that_start_of_the_peer() {
    let mut now = snapshot();
    let ended = link::Status::Ended { peer: p(2) };
    let incarnation = Incarnation(7);
    now.upon_status(connected(2, 7));
    let events = now.upon_status(ended.clone());
    assert_eq!(events, [NodeEvent::StreamEnded { peer: p(2) }]);
    assert_eq!(now.peers[1].channel, ChannelState::Ended { incarnation });
    now.upon_status(replaced(2, 7, 8));
    now.upon_status(connected(2, 7));
    assert_eq!(now.peers[1].channel, ChannelState::Ended { incarnation });
    let events = now.upon_status(link::Status::Begun { peer: p(2) });
    assert_eq!(events, [NodeEvent::StreamBegun { peer: p(2) }]);
    assert_eq!(
        now.peers[1].channel,
        ChannelState::Connected { incarnation }
    );
    now.upon_status(ended.clone());
    now.upon_status(connected(2, 8));
    let incarnation = Incarnation(8);
    assert_eq!(
        now.peers[1].channel,
        ChannelState::Connected { incarnation }
    );
    assert!(!now.peers[1].stream_ended);
    // The stream of a process to itself changes no entry.
    let own = now.upon_status(link::Status::Ended { peer: p(1) });
    assert_eq!(own, [NodeEvent::StreamEnded { peer: p(1) }]);
    assert_eq!(now.peers[0].channel, ChannelState::Unknown);
    let gap = now.upon_status(link::Status::Gap { peer: p(3) });
    assert_eq!(gap, [NodeEvent::Gap { peer: p(3) }]);
}

#[test]
fn seats_have_their_first_holders_until_the_order_says_otherwise() {
    let mut now = snapshot();
    let holders = |now: &NodeStatus| {
        let seats = now.peers.iter();
        let seats = seats.map(|peer| (peer.holder.map(|it| it.0), peer.held_before));
        seats.collect::<Vec<_>>()
    };
    assert_eq!(holders(&now), [(Some(1), 0), (None, 0), (None, 0)]);
    now.upon_status(connected(2, 7));
    assert_eq!(holders(&now), [(Some(1), 0), (Some(7), 0), (None, 0)]);
    now.upon_status(replaced(2, 7, 8));
    assert!(matches!(
        now.peers[1].channel,
        ChannelState::Replaced { .. }
    ));
    let events = now.upon_group(epoch(1, &[(2, 8, 1)]));
    assert!(
        matches!(&events[..], [NodeEvent::Seats { epoch: 1, newcomers }] if newcomers.len() == 1)
    );
    assert_eq!(
        now.peers[1].channel,
        ChannelState::Unknown,
        "it waits no more"
    );
    assert_eq!(holders(&now), [(Some(1), 0), (Some(8), 1), (None, 0)]);
    // The indication also follows a state transfer, and is no news then.
    assert_eq!(now.upon_group(epoch(1, &[(2, 8, 1)])), []);
    // A newcomer that does not have its seat yet goes on waiting.
    now.upon_status(replaced(2, 8, 9));
    now.upon_group(epoch(2, &[(2, 8, 1), (3, 4, 1)]));
    assert!(matches!(
        now.peers[1].channel,
        ChannelState::Replaced { .. }
    ));
    assert_eq!(now.epoch, 2);
}

#[test]
fn what_the_detectors_say_is_told_one_by_one() {
    let mut now = snapshot();
    let reach = |suspected: &[usize], cut_off: &[usize]| Reach {
        suspected: set(suspected),
        cut_off: set(cut_off),
        ..Reach::default()
    };
    let peer = p(2);
    assert_eq!(
        now.upon_reach(reach(&[2], &[1])),
        [
            NodeEvent::Suspected { peer },
            NodeEvent::CutOff { process: p(1) }
        ]
    );
    let process = p(1);
    assert_eq!(
        now.upon_reach(reach(&[3], &[])),
        [
            NodeEvent::Suspected { peer: p(3) },
            NodeEvent::Restored { peer },
            NodeEvent::CutOffNoLonger { process },
        ]
    );
    assert_eq!(now.upon_reach(reach(&[3], &[])), []);
    let process = p(2);
    let leaving = Reach {
        leaving: set(&[2]),
        ..reach(&[2, 3], &[])
    };
    let events = [
        NodeEvent::Leaving { process },
        NodeEvent::Suspected { peer },
    ];
    assert_eq!(now.upon_reach(leaving), events);
    assert_eq!(now.leaving, set(&[2]));
    let gone = [NodeEvent::LeavingNoLonger { process }];
    assert_eq!(now.upon_reach(reach(&[2, 3], &[])), gone);
    assert_eq!(now.leaving, ProcessSet::EMPTY);
    let process = p(3);
    let crashed = [NodeEvent::Crashed { process }];
    assert_eq!(now.upon_crash(Crash(process)), crashed);
    assert_eq!(now.upon_crash(Crash(process)), []);
    now.upon_status(link::Status::Admitted);
    assert_eq!(now.upon_leader(Trust(p(1))), [elected(1)]);
    assert_eq!(now.upon_leader(Trust(p(1))), []);
    assert_eq!(now.upon_leader(Trust(p(2))), [elected(2)]);
}

#[test]
fn a_module_is_slowed_once_by_each_and_what_is_owed_is_no_news() {
    let mut now = snapshot();
    let module = "orders".to_owned();
    assert!(
        matches!(&now.upon_room(full(2, 5))[..], [NodeEvent::Slowed { by, .. }] if by.owed == 5)
    );
    assert_eq!(now.upon_room(full(2, 6)), []);
    assert_eq!(now.slowed[&module].owed, 6);
    assert_eq!(now.upon_room(full(3, 6)).len(), 1);
    let open = || (Name::from("orders"), Room::Open);
    let events = now.upon_room(open());
    assert_eq!(events, [NodeEvent::SlowedNoLonger { module }]);
    assert_eq!(now.upon_room(open()), []);
}

#[cfg(feature = "rounds")]
#[test]
fn each_late_message_of_a_round_is_told_and_they_are_counted_by_sender() {
    let mut now = snapshot();
    for (rank, round) in [(2, 1), (3, 1), (2, 2)] {
        let (instance, from) = (7, p(rank));
        let omission = Omission {
            instance,
            round,
            from,
        };
        let module = "motions".to_owned();
        let told = NodeEvent::Omission {
            module: module.clone(),
            from,
            instance,
            round,
        };
        assert_eq!(now.upon_omission(module, omission), [told]);
    }
    assert_eq!(now.omissions, BTreeMap::from([(p(2), 2), (p(3), 1)]));
}

#[test]
fn timeouts_and_who_has_met_this_process_are_in_the_snapshot_alone() {
    let mut now = snapshot();
    assert_eq!((now.met, now.needed), (ProcessSet::EMPTY, 2));
    assert_eq!(now.upon_met(set(&[3])), []);
    assert_eq!(now.met, set(&[3]));
    let timeout = Timeout {
        floor: Duration::from_secs(1),
        excess: Duration::ZERO,
    };
    let process = p(2);
    assert_eq!(now.upon_timeout(Allowed { process, timeout }), []);
    assert_eq!(now.peers[1].timeout, Some(timeout));
}

/// The knowledge of a reader that only reads events.
#[derive(Default, PartialEq, Debug)]
struct Reader {
    suspected: BTreeSet<ProcessId>,
    cut_off: BTreeSet<ProcessId>,
    crashed: BTreeSet<ProcessId>,
    slowed: BTreeMap<String, ProcessId>,
    leader: Option<ProcessId>,
    epoch: u64,
    takes_part: bool,
    is_over: bool,
}

impl Reader {
    /// Returns whether the event was news.
    fn read(&mut self, event: NodeEvent) -> bool {
        match event {
            NodeEvent::Admitted => !mem::replace(&mut self.takes_part, true),
            NodeEvent::Excluded { .. } | NodeEvent::Unreadable => {
                (self.leader, self.takes_part) = (None, false);
                !mem::replace(&mut self.is_over, true)
            }
            NodeEvent::Suspected { peer } => self.suspected.insert(peer),
            NodeEvent::Restored { peer } => self.suspected.remove(&peer),
            NodeEvent::CutOff { process } => self.cut_off.insert(process),
            NodeEvent::CutOffNoLonger { process } => self.cut_off.remove(&process),
            NodeEvent::Crashed { process } => self.crashed.insert(process),
            NodeEvent::Elected { leader } => self.leader.replace(leader) != Some(leader),
            NodeEvent::Seats { epoch, .. } => mem::replace(&mut self.epoch, epoch) != epoch,
            NodeEvent::Slowed { module, by } => self.slowed.insert(module, by.by) != Some(by.by),
            NodeEvent::SlowedNoLonger { module } => self.slowed.remove(&module).is_some(),
            _ => true,
        }
    }

    fn of(now: &NodeStatus) -> Self {
        let slowed = now.slowed.iter();
        let over =
            |it: &Admission| matches!(it, Admission::Excluded { .. } | Admission::Unreadable);
        Reader {
            suspected: now.suspected.iter().collect(),
            cut_off: now.cut_off.iter().collect(),
            crashed: now.crashed.iter().collect(),
            slowed: slowed.map(|(module, by)| (module.clone(), by.by)).collect(),
            leader: now.leader,
            epoch: now.epoch,
            takes_part: now.admission == Admission::Admitted,
            is_over: over(&now.admission),
        }
    }
}

type News = fn(&mut NodeStatus) -> Vec<NodeEvent>;

const NEWS: [News; 15] = [
    |now| now.upon_status(link::Status::Admitted),
    |now| now.upon_status(newcomer()),
    |now| now.upon_status(excluded()),
    |now| now.upon_leader(Trust(p(1))),
    |now| now.upon_leader(Trust(p(2))),
    |now| {
        let (suspected, cut_off) = (set(&[2]), set(&[1, 2]));
        now.upon_reach(Reach {
            suspected,
            cut_off,
            ..Reach::default()
        })
    },
    |now| {
        let (suspected, cut_off) = (set(&[2, 3]), set(&[2]));
        now.upon_reach(Reach {
            suspected,
            cut_off,
            ..Reach::default()
        })
    },
    |now| {
        now.upon_reach(Reach {
            suspected: set(&[2]),
            leaving: set(&[1, 2]),
            ..Reach::default()
        })
    },
    |now| now.upon_reach(Reach::default()),
    |now| now.upon_crash(Crash(p(3))),
    |now| now.upon_group(GroupNews::Whole { position: 1 }),
    |now| now.upon_group(GroupNews::Unreadable),
    |now| now.upon_group(epoch(1, &[(2, 8, 1)])),
    |now| now.upon_room(full(2, 1)),
    |now| now.upon_room((Name::from("orders"), Room::Open)),
];

/// Tests all orders of five pieces of news.
#[test]
fn who_only_reads_events_knows_the_same_and_is_told_nothing_twice() {
    let count = NEWS.len();
    for number in 0..count.pow(5) {
        let (mut now, mut reader) = (snapshot(), Reader::default());
        let mut rest = number;
        for _ in 0..5 {
            for event in NEWS[rest % count](&mut now) {
                assert!(reader.read(event.clone()), "{number}: {event:?}");
            }
            rest /= count;
            assert_eq!(reader, Reader::of(&now), "{number}");
        }
    }
}

#[test]
fn who_is_refused_is_kept_out_where_too_few_are_left() {
    let refuse = |now: &mut NodeStatus, rank| {
        now.upon_status(link::Status::Refused {
            peer: p(rank),
            reason: format!("p{rank} differs"),
        });
    };
    let addresses = [1, 2, 3, 4, 5].map(|port| SocketAddr::from(([127, 0, 0, 1], port)).into());
    let mut now = NodeStatus::new(p(1), Incarnation(1), &addresses, 3);
    refuse(&mut now, 3);
    assert_eq!(now.kept_out(), None, "three others are left");
    refuse(&mut now, 2);
    assert_eq!(now.kept_out(), Some((p(2), "p2 differs")));
    // The process now runs another program, and has met this one.
    now.upon_met(ProcessSet::from_iter([p(2)]));
    assert_eq!(now.kept_out(), None);
    refuse(&mut now, 4);
    assert_eq!(now.kept_out(), Some((p(3), "p3 differs")));
    now.upon_status(link::Status::Admitted);
    assert_eq!(now.kept_out(), None);
}

#[test]
fn where_a_name_leads_is_told_when_it_changes_and_that_it_leads_nowhere_once() {
    let mut now = snapshot();
    let peer = p(2);
    let at = |port| SocketAddr::from(([127, 0, 0, 9], port));
    let reason = || "no such name".to_owned();
    let not_located = NodeEvent::NotLocated {
        peer,
        reason: reason(),
    };
    assert_eq!(now.upon_not_located(peer, reason()), [not_located]);
    assert!(now.upon_not_located(peer, "timeout".to_owned()).is_empty());
    assert_eq!(now.peers[1].lookup_failure.as_deref(), Some("timeout"));
    let located = |address| NodeEvent::Located { peer, address };
    assert_eq!(now.upon_located(peer, at(1)), [located(at(1))]);
    assert_eq!(now.peers[1].lookup_failure, None);
    assert!(now.upon_located(peer, at(1)).is_empty(), "that is no news");
    // An address that was known stays in use.
    assert_eq!(now.upon_not_located(peer, reason()).len(), 1);
    assert_eq!(now.peers[1].address, Some(at(1)));
    assert_eq!(now.upon_located(peer, at(2)), [located(at(2))]);
    assert!(now.upon_located(p(1), at(3)).is_empty(), "that is oneself");
    assert!(now.upon_not_located(p(4), reason()).is_empty(), "no member");
}
