use super::*;
use quorate_abstractions::{eventually_perfect::Timeout, pressure::Hindrance};
use quorate_core::Incarnation;
use quorate_sim::testing::p;
use std::net::UdpSocket;
use tokio::sync::mpsc;

pub fn five() -> Membership {
    Membership::of_size(5).unwrap()
}

/// The status of a p1 that has not started.
pub fn nothing() -> NodeStatus {
    NodeStatus::new(p(1), Incarnation(1), &[], 2)
}

/// p1 of five, which has just started and is alone, and its status.
async fn alone() -> (Node, NodeStatus) {
    let mut sockets: Vec<_> = (0..5)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let peers: Vec<_> = sockets.iter().map(|it| it.local_addr().unwrap()).collect();
    let builder = Node::builder(p(1), peers).incarnation(Incarnation(1));
    let node = builder.socket(sockets.remove(0)).start().await.unwrap();
    let now = node.status().borrow().clone();
    (node, now)
}

/// A view whose events come from the test.
struct Told {
    view: View,
    now: watch::Sender<NodeStatus>,
    events: mpsc::UnboundedSender<(NodeEvent, NodeStatus)>,
}

impl Told {
    async fn new() -> Self {
        let (_node, now) = alone().await;
        let now = watch::Sender::new(now);
        let (events, told) = mpsc::unbounded_channel();
        let told = stream::unfold(told, |mut told| async { Some((told.recv().await?, told)) });
        let deadline = Duration::from_secs(2);
        let view = View::new(five(), now.subscribe(), told, deadline);
        Told { view, now, events }
    }

    fn change(&self, change: impl FnOnce(&mut NodeStatus)) {
        self.now.send_modify(change);
    }

    /// Changes the status, and tells the view by this event.
    fn tell(&self, event: NodeEvent, change: impl FnOnce(&mut NodeStatus)) {
        self.change(change);
        let now = self.now.borrow().clone();
        self.events.send((event, now)).unwrap();
    }

    fn admit(&self) {
        self.tell(NodeEvent::Admitted, |now| {
            (now.admission, now.took_part) = (Known::Admitted, true);
        });
    }
}

fn connect(now: &mut NodeStatus, rank: usize, incarnation: u64) {
    let incarnation = Incarnation(incarnation);
    let peer = &mut now.peers[rank - 1];
    peer.channel = ChannelState::Connected { incarnation };
    peer.incarnation = Some(incarnation);
    peer.holder = Some(incarnation);
}

fn exclude(now: &mut NodeStatus, reason: &str) {
    now.admission = Known::Excluded {
        by: p(2),
        reason: reason.to_owned(),
    };
    now.leader = None;
}

#[tokio::test]
async fn ready_is_who_takes_part_and_is_answered_in_time() {
    let told = Told::new().await;
    told.view.outcomes().upon_return(Duration::ZERO);
    told.change(|now| now.met = [p(2)].into_iter().collect());
    assert_eq!(
        told.view.ready().unwrap_err(),
        "not admitted yet: 3 others must have met this process, and 1 have"
    );
    told.change(|now| {
        now.peers[2].name = "replica3:7100".parse().unwrap();
        now.peers[2].address = None;
    });
    assert_eq!(
        told.view.ready().unwrap_err(),
        "not admitted yet: 3 others must have met this process, and 1 have; not found by name: p3 (replica3:7100)"
    );
    assert!(told.view.to_json()["leader"].is_null());
    let mut role = told.view.role();
    assert_eq!(*role.borrow_and_update(), Role::Joining);
    told.admit();
    assert_eq!(told.view.ready(), Ok(()), "whomever it sees");
    role.changed().await.unwrap();
    assert_eq!(*role.borrow(), Role::Voter);
}

#[tokio::test]
async fn who_is_not_answered_says_whom_it_does_not_reach_and_who_is_to_lead() {
    let told = Told::new().await;
    told.admit();
    told.change(|now| {
        (2..=4).for_each(|rank| connect(now, rank, 7));
        now.suspected = [p(2), p(3)].into_iter().collect();
        now.cut_off = [p(3)].into_iter().collect();
        now.leader = Some(p(4));
    });
    let because = "no quorum: nothing that was asked for has come back in time for 0 s; ";
    let words = || told.view.ready().unwrap_err().replace(because, "");
    assert_eq!(words(), "not reached: p2 p5; p4 is to lead");
    told.change(|now| {
        now.cut_off = [p(1)].into_iter().collect();
        now.leader = Some(p(1));
    });
    let all = "not reached: p2 p3 p5; cut off from a majority; this process is to lead";
    assert_eq!(words(), all);
    assert_eq!(told.view.to_json()["cut_off"], json!([1]));
}

#[tokio::test]
async fn exclusion_says_which_kind_it_is() {
    let restarted = Told::new().await;
    restarted.change(|now| exclude(now, "known as another"));
    let words = restarted.view.ready().unwrap_err();
    assert!(words.contains("restarted without its memory") && words.contains("known as another"));

    let lost = Told::new().await;
    lost.admit();
    lost.change(|now| exclude(now, "p2 has lost p1"));
    let words = lost.view.ready().unwrap_err();
    assert!(words.contains("was given up by others") && words.contains("p2 has lost p1"));
    let status = lost.view.to_json();
    assert_eq!(
        (&status["role"], &status["excluded"]),
        (&"excluded".into(), &words.clone().into())
    );
    assert_eq!(
        lost.view.live().unwrap_err(),
        words,
        "a supervisor is to act"
    );
    assert_eq!(Told::new().await.view.live(), Ok(()));

    let late = Told::new().await;
    late.change(|now| {
        (now.admission, now.started_again) = (Known::Newcomer, true);
    });
    assert_eq!(late.view.ready().unwrap_err(), "newcomer: catching up");
    assert!(late.view.came_later());
    late.change(|now| exclude(now, "a later one came"));
    let words = late.view.ready().unwrap_err();
    assert!(words.contains("was started again") && words.contains("a later one came"));

    let other = Told::new().await;
    other.change(|now| now.admission = Known::Unreadable);
    assert!(other.view.live().unwrap_err().contains("cannot read"));
}

#[tokio::test]
async fn peers_and_what_slows_modules_are_shown() {
    let told = Told::new().await;
    let timeout = Timeout {
        floor: Duration::from_millis(525),
        excess: Duration::from_micros(262_500),
    };
    told.change(|now| {
        connect(now, 2, 7);
        now.peers[1].stream_ended = true;
        now.peers[2].timeout = Some(timeout);
        let reason = "another cluster".to_owned();
        now.peers[3].channel = ChannelState::Refused { reason };
        let by = Hindrance {
            by: p(2),
            owed: 9,
            announced: true,
        };
        now.slowed.insert("orders".to_owned(), by);
    });
    let status = told.view.to_json();
    let peers = &status["peers"];
    assert_eq!(peers.as_array().map(Vec::len), Some(4), "the others");
    let name = &peers[0]["name"];
    assert!(
        name.as_str()
            .is_some_and(|name| name.starts_with("127.0.0.1:"))
    );
    let second = json!({
        "process": 2,
        "name": name,
        "address": name,
        "lookup_failure": null,
        "connected": true,
        "identity": null,
        "incarnation": Incarnation(7).to_string(),
        "suspected": false,
        "timeout_ms": peers[0]["timeout_ms"],
        "lost": true,
        "refused": null,
        "replaced_by": null,
    });
    assert_eq!(peers[0], second);
    assert_eq!(
        peers[1]["timeout_ms"],
        json!({ "floor": 525, "excess": 262 })
    );
    assert_eq!(peers[2]["refused"], "another cluster");
    assert!(peers[3]["incarnation"].is_null());
    let slowed = json!([{ "module": "orders", "by": 2, "owed": 9, "announced": true }]);
    assert_eq!(status["slowed"], slowed);
}

#[tokio::test]
async fn members_are_who_holds_the_seats() {
    let told = Told::new().await;
    let addresses: Vec<String> = (1..=5).map(|rank| format!("a:{rank}")).collect();
    told.admit();
    told.change(|now| {
        (2..=4).for_each(|rank| connect(now, rank, 7));
        now.leader = Some(p(1));
        now.suspected.insert(p(3));
        let (known, newcomer) = (Incarnation(7), Incarnation(8));
        now.peers[3].channel = ChannelState::Replaced { known, newcomer };
    });
    let role = || {
        let members = told.view.members(&addresses)["members"].clone();
        let words = members.as_array().unwrap().iter();
        let words = words.map(|m| m["role"].as_str().unwrap().to_owned());
        (
            members[0]["leader"].clone(),
            words.collect::<Vec<_>>().join(" "),
        )
    };
    let words = "voter voter suspected newcomer unknown".to_owned();
    assert_eq!(role(), (true.into(), words));
    let replaced = &told.view.to_json()["peers"][2]["replaced_by"];
    assert_eq!(*replaced, Incarnation(8).to_string());
    told.change(|now| {
        connect(now, 4, 8);
        now.peers[3].held_before = 1;
        now.epoch = 1;
    });
    let words = "voter voter suspected voter unknown".to_owned();
    assert_eq!(role(), (true.into(), words));
    let fourth = told.view.members(&addresses)["members"][3].clone();
    assert_eq!(fourth["held_before"], 1);
    assert_eq!(fourth["address"], "a:4");
    assert_eq!(fourth["incarnation"], Incarnation(8).to_string());
}

#[tokio::test]
async fn every_change_is_told_once_and_in_order() {
    let told = Told::new().await;
    let mut changes = told.view.changes();
    let elect = |rank| {
        let leader = p(rank);
        told.tell(NodeEvent::Elected { leader }, |now| {
            now.leader = Some(leader);
        });
    };
    elect(1);
    told.tell(NodeEvent::Suspected { peer: p(2) }, |now| {
        now.suspected.insert(p(2));
    });
    // This event changes nothing that the view presents.
    told.tell(NodeEvent::Gap { peer: p(3) }, |_| {});
    elect(2);
    let newcomers = Vec::new();
    told.tell(
        NodeEvent::Seats {
            epoch: 1,
            newcomers,
        },
        |now| {
            now.epoch = 1;
            now.peers[1].held_before = 1;
        },
    );
    told.tell(NodeEvent::Missed { count: 3 }, |_| {});
    assert_eq!(changes.recv().await.unwrap()["leader"], 1);
    assert_eq!(changes.recv().await.unwrap()["suspected"][0], 2);
    assert_eq!(changes.recv().await.unwrap()["leader"], 2);
    let last = changes.recv().await.unwrap();
    assert_eq!(
        (&last["epoch"], &last["members"][1]["held_before"]),
        (&1.into(), &1.into())
    );
    assert_eq!(last, told.view.present());
    assert_eq!(changes.recv().await.unwrap(), json!({ "missed": 3 }));
}

#[tokio::test]
async fn a_node_alone_is_a_voter_that_leads() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peers = vec![socket.local_addr().unwrap()];
    let node = Node::builder(p(1), peers).socket(socket);
    let node = node.start().await.unwrap();
    let one = Membership::of_size(1).unwrap();
    let view = View::of(&node, one, Duration::from_secs(2));
    let mut role = view.role();
    role.wait_for(Role::is_settled).await.unwrap();
    let mut leader = node.leader_hint();
    leader.wait_for(Option::is_some).await.unwrap();
    let status = view.to_json();
    assert_eq!(
        (&status["role"], &status["leader"]),
        (&"voter".into(), &1.into())
    );
    assert_eq!(
        view.present()["members"][0]["incarnation"],
        node.incarnation().to_string()
    );
}
