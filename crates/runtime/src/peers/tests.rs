use super::*;
use futures::task::noop_waker_ref;
use quorate_sim::testing::p;
use std::{
    sync::atomic::AtomicUsize,
    task::{Wake, Waker},
};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_peer_is_an_address_or_a_name_with_a_port() {
    for text in ["127.0.0.1:7100", "[::1]:7100", "127.0.0.1:0"] {
        let peer: PeerAddress = text.parse().unwrap();
        assert_eq!(peer, PeerAddress::from(at(text)));
        assert_eq!(peer.to_string(), text);
        assert_eq!(peer.fixed(), Some(at(text)));
    }
    let peer = PeerAddress::try_from("Replica-2.a_zone.example:7100").unwrap();
    let name = peer.name().unwrap();
    assert_eq!(
        (name.host(), name.port()),
        ("replica-2.a_zone.example", 7100)
    );
    assert_eq!(peer.to_string(), "replica-2.a_zone.example:7100");
    // Upper and lower case make no difference in names.
    assert_eq!(peer, "replica-2.A_ZONE.example:7100".parse().unwrap());
    for text in [
        "", "a", ":1", "a:", "a:0", "a:65536", "a b:1", "a:1:2", "[::1]", "::1:7100", "a/b:1",
    ] {
        let error = text.parse::<PeerAddress>().unwrap_err();
        assert_eq!(error.to_string(), format!("`{text}` is no HOST:PORT"));
    }
}

#[test]
fn who_is_at_an_address_is_told_by_the_present_table() {
    let addresses = Addresses::new([Some(at("10.0.0.1:7")), None, Some(at("10.0.0.3:7"))]);
    assert_eq!(addresses.processes(), 3);
    assert_eq!(addresses.of(p(2)), None);
    assert_eq!(addresses.of(p(4)), None);
    assert_eq!(addresses.at(at("10.0.0.3:7")), Some(p(3)));
    assert_eq!(addresses.at(at("[::ffff:10.0.0.3]:7")), Some(p(3)));
    assert!(addresses.set(p(3), at("10.0.0.4:7")));
    assert!(addresses.set(p(2), at("10.0.0.3:7")));
    assert_eq!(addresses.at(at("10.0.0.3:7")), Some(p(2)));
    assert_eq!(addresses.at(at("10.0.0.4:7")), Some(p(3)));
    assert_eq!(addresses.of(p(2)), Some(at("10.0.0.3:7")));
    assert!(!addresses.set(p(2), at("10.0.0.3:7")), "that is no news");
    assert!(!addresses.set(p(4), at("10.0.0.3:7")), "it is no member");
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn each_change_is_taken_once_and_wakes_whoever_looks() {
    let addresses = Addresses::new([Some(at("10.0.0.1:7")), None, None]);
    let mut changes = addresses.changes();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let times = || woken.0.load(Ordering::Relaxed);
    assert!(changes.take(&Context::from_waker(&waker)).is_empty());
    addresses.set(p(1), at("10.0.0.1:7"));
    assert_eq!(times(), 0);
    addresses.set(p(2), at("10.0.0.2:7"));
    assert_eq!(times(), 1);
    addresses.set(p(3), at("10.0.0.3:7"));
    addresses.set(p(3), at("10.0.0.4:7"));
    let cx = Context::from_waker(noop_waker_ref());
    let news = vec![(p(2), at("10.0.0.2:7")), (p(3), at("10.0.0.4:7"))];
    assert_eq!(changes.take(&cx), news);
    assert!(changes.take(&cx).is_empty());
}
