use super::*;
use quorate_abstractions::{eventually_perfect::Reach, link::Status};
use quorate_core::Incarnation;
use quorate_sim::testing::p;
use std::net::UdpSocket;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn an_address_is_chosen_that_the_socket_reaches() {
    let found = || {
        vec![
            at("[::1]:7"),
            at("10.0.0.1:7"),
            at("0.0.0.0:7"),
            at("10.0.0.2:0"),
        ]
    };
    let udp = |text: &str| Bound::Udp(UdpSocket::bind(text).unwrap());
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let older = at("127.0.0.1:1");
    let usable = Family::of(&udp("127.0.0.1:0"), older).usable(found());
    assert_eq!(usable, [at("10.0.0.1:7")]);
    let usable = Family::of(&Bound::Tcp(tcp), older).usable(found());
    assert_eq!(usable, [at("10.0.0.1:7"), at("[::1]:7")]);
    let newer = Family::of(&udp("127.0.0.1:0"), at("[::]:1"));
    assert_eq!(newer.usable(found()), [at("[::1]:7"), at("10.0.0.1:7")]);
    let mapped = vec![at("[::ffff:10.0.0.1]:7")];
    let usable = Family::of(&udp("127.0.0.1:0"), older).usable(mapped);
    assert_eq!(usable, [at("10.0.0.1:7")]);
}

#[test]
fn of_several_addresses_one_stays_until_it_has_had_its_turn() {
    let found = [at("10.0.0.1:7"), at("10.0.0.2:7")];
    assert_eq!(choose(&[], Some(found[0]), true), None);
    assert_eq!(choose(&found, None, false), Some(found[0]));
    assert_eq!(choose(&found, Some(at("10.0.0.3:7")), true), Some(found[0]));
    assert_eq!(choose(&found, Some(found[1]), false), Some(found[1]));
    assert_eq!(choose(&found, Some(found[1]), true), Some(found[0]));
    assert_eq!(choose(&found[..1], Some(found[0]), true), Some(found[0]));
}

#[test]
fn a_peer_is_silent_while_it_is_not_connected_or_is_suspected() {
    let names = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)).into());
    let mut now = NodeStatus::new(p(1), Incarnation(1), &names, 2);
    assert!(is_silent(&now, p(2)));
    now.upon_status(Status::Connected {
        peer: p(2),
        incarnation: Incarnation(2),
    });
    assert!(!is_silent(&now, p(2)));
    let suspected: ProcessSet = [p(2)].into_iter().collect();
    now.upon_reach(Reach {
        suspected,
        ..Reach::default()
    });
    assert!(is_silent(&now, p(2)));
    now.upon_reach(Reach {
        suspected,
        cut_off: suspected,
        ..Reach::default()
    });
    assert!(!is_silent(&now, p(2)), "it is heard");
}

#[test]
fn who_says_that_it_does_not_hear_this_process_is_noted() {
    let (heard, deaf) = those_that_do_not_hear(p(1));
    let says = |rank, unheard: &[usize]| {
        let mut said = Heard::of(p(rank));
        said.beat.unheard = unheard.iter().copied().map(p).collect();
        heard.send(said);
    };
    says(2, &[3]);
    assert!(!deaf.has_changed().unwrap());
    says(2, &[1, 3]);
    assert!(deaf.borrow().contains(p(2)) && !deaf.borrow().contains(p(3)));
    says(2, &[]);
    assert!(deaf.borrow().is_empty());
}
