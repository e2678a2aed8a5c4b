//! Peers that are known by name, where the address of a name changes.
use super::{
    node::{Kind, within},
    replicated::{Process, deposit, free, kill, start},
    *,
};
use crate::{
    Builder, Node, NodeEvent,
    node::{Admission, NodeStatus},
    peers::PeerAddress,
};
use futures::StreamExt;
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Mutex,
};

/// The present addresses of the names.
#[derive(Clone, Default)]
struct Directory(Arc<Mutex<BTreeMap<String, Vec<SocketAddr>>>>);

impl Directory {
    fn set(&self, rank: usize, addresses: &[SocketAddr]) {
        let mut names = self.0.lock().unwrap();
        names.insert(format!("replica{rank}"), addresses.to_vec());
    }

    fn find(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let found = self.0.lock().unwrap().get(host).cloned();
        found.ok_or_else(|| io::Error::other("nobody has that name"))
    }

    /// A process of three that listens at all addresses, at this port.
    fn builder(&self, kind: Kind, rank: usize, port: u16) -> Builder {
        let peers = ["replica1:7100", "replica2:7100", "replica3:7100"];
        let peers = peers.map(|name| PeerAddress::try_from(name).unwrap());
        let names = self.clone();
        let builder = Node::builder(p(rank), peers)
            .on_panic(OnPanic::End)
            .insecure()
            .resolver(move |name| {
                assert_eq!(name.port(), 7100);
                let found = names.find(name.host());
                async move { found }
            });
        let bind = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        match kind {
            Kind::Udp => builder.udp(bind),
            Kind::Tcp => builder.tcp(bind),
        }
    }

    async fn start(&self, kind: Kind, rank: usize, port: u16) -> Process {
        start(self.builder(kind, rank, port)).await
    }
}

/// Waits until a node's status satisfies the condition.
async fn until(node: &Node, known: impl FnMut(&NodeStatus) -> bool) {
    within(node.status().wait_for(known)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_at_another_address_is_found_by_its_name() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let names = Directory::default();
        let (peers, later) = (free(kind), free(kind));
        names.set(1, &peers[..1]);
        names.set(2, &peers[1..2]);
        let mut processes = Vec::new();
        for (rank, address) in (1..).zip(&peers) {
            processes.push(names.start(kind, rank, address.port()).await);
        }
        // A name that cannot be resolved yet is no error.
        let first = &processes[0].node;
        until(first, |now| now.peers[2].lookup_failure.is_some()).await;
        until(first, |now| now.peers[1].address == Some(peers[1])).await;
        let known = first.status().borrow().clone();
        assert_eq!(known.peers[2].name.to_string(), "replica3:7100");
        assert_eq!(known.peers[2].address, None);
        assert_eq!(known.admission, Admission::Joining);
        names.set(3, &peers[2..]);
        until(first, |now| now.peers[2].address == Some(peers[2])).await;
        assert_eq!(first.status().borrow().peers[2].lookup_failure, None);
        assert_eq!(deposit(&processes[2].bank, "ann", 1).await, 1);

        // The process comes back at another address.
        let mut events = processes[0].node.events();
        kill(processes.remove(2).node).await;
        let there = later.iter().find(|it| !peers.contains(it)).unwrap();
        names.set(3, &[*there]);
        let again = names.start(kind, 3, there.port()).await;
        assert_eq!(deposit(&again.bank, "ann", 1).await, 2);
        let located = NodeEvent::Located {
            peer: p(3),
            address: *there,
        };
        while within(events.next()).await.unwrap() != located {}
        assert_eq!(deposit(&processes[0].bank, "ann", 1).await, 3);
        for process in [again].into_iter().chain(processes) {
            within(process.node.shutdown()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_addresses_the_one_that_answers_is_found() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let names = Directory::default();
        let peers = free(kind);
        // A stranger there receives everything, and sends nothing.
        let nobody = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        );
        let nobody = match kind {
            Kind::Udp => nobody.0.local_addr(),
            Kind::Tcp => nobody.1.local_addr(),
        };
        let newer = "[::1]:9".parse().unwrap();
        for (rank, address) in (1..).zip(&peers) {
            names.set(rank, &[newer, nobody.as_ref().copied().unwrap(), *address]);
        }
        let mut processes = Vec::new();
        for (rank, address) in (1..).zip(&peers) {
            processes.push(names.start(kind, rank, address.port()).await);
        }
        for (number, process) in (1..).zip(&processes) {
            assert_eq!(deposit(&process.bank, "ann", 1).await, number);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_heard_and_does_not_hear_is_looked_up_again() {
    let (names, of_first) = (Directory::default(), Directory::default());
    let peers = free(Kind::Udp);
    for (rank, address) in (1..).zip(&peers) {
        names.set(rank, &[*address]);
        of_first.set(rank, &[*address]);
    }
    // Messages from p1 to p3 take a path that ends, and those from p3 do not: p3 has moved, and sends from
    // there.
    let way = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    of_first.set(3, &[way.local_addr().unwrap()]);
    let third = peers[2];
    let way = tokio::spawn(async move {
        let mut datagram = vec![0; 65_536];
        while let Ok(length) = way.recv(&mut datagram).await {
            way.send_to(&datagram[..length], third).await.unwrap();
        }
    });
    let first = of_first.start(Kind::Udp, 1, peers[0].port()).await;
    let _second = names.start(Kind::Udp, 2, peers[1].port()).await;
    let third = names.start(Kind::Udp, 3, peers[2].port()).await;
    assert_eq!(deposit(&third.bank, "ann", 1).await, 1);
    until(&third.node, |now| now.connected().contains(p(1))).await;
    way.abort();
    of_first.set(3, &peers[2..]);
    until(&third.node, |now| now.suspected.contains(p(1))).await;
    until(&first.node, |now| now.peers[2].address == Some(peers[2])).await;
    until(&third.node, |now| !now.suspected.contains(p(1))).await;
    assert_eq!(deposit(&third.bank, "ann", 1).await, 2);
}

#[tokio::test]
async fn names_are_compared_as_addresses_are() {
    let names = ["replica1:7100", "Replica1:7100"].map(|name| PeerAddress::try_from(name).unwrap());
    let own = "127.0.0.1:0".parse().unwrap();
    let error = Node::builder(p(1), names).udp(own).start().await.err();
    assert_eq!(
        error.unwrap().to_string(),
        "p1 and p2 have the same address, replica1:7100"
    );
}
