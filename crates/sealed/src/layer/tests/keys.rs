//! New keys, and the identities that may have them.
use super::*;

fn indexes(net: &Net) -> Vec<u32> {
    let sealed = net
        .seen
        .iter()
        .filter(|f| f.kind() == SEALED && f.from == p(1));
    let mut indexes: Vec<u32> = sealed
        .map(|f| u32::from_le_bytes(f.bytes[1..5].try_into().unwrap()))
        .collect();
    indexes.dedup();
    indexes
}

#[test]
fn keys_are_replaced_after_a_number_of_datagrams_without_a_pause() {
    let limits = Limits {
        renew_after_datagrams: 10,
        ..Limits::default()
    };
    let mut net = Net::with(2, |settings| Settings { limits, ..settings }).met();
    for number in 0..100_u8 {
        let rank = 1 + number as usize % 2;
        net.at(rank).send(3 - rank, &[rank as u8, number]);
        // Each datagram arrives at once, handshake or not.
        net.settle();
        let delivered = net.at(3 - rank).delivered.last().cloned();
        assert_eq!(
            delivered,
            Some((p(rank), Bytes::from(vec![rank as u8, number])))
        );
    }
    assert!(indexes(&net).len() >= 4, "{:?}", indexes(&net));
    assert!(net.at(1).begun.len() < 20);
}

#[test]
fn keys_are_replaced_after_a_time_and_the_one_who_began_is_first() {
    let limits = Limits {
        renew_after: Duration::from_secs(100),
        ..Limits::default()
    };
    let mut net = Net::with(2, |settings| Settings { limits, ..settings }).met();
    net.pass(Duration::from_secs(90));
    net.at(1).send(2, b"\x01x");
    net.settle();
    assert_eq!(net.at(1).begun.len(), 1);
    net.pass(Duration::from_secs(12));
    let before = net.seen.len();
    net.at(2).send(1, b"\x02x");
    net.settle();
    assert_eq!(
        net.seen.len(),
        before + 1,
        "the other one waits a little longer"
    );
    net.at(1).send(2, b"\x01x");
    net.settle();
    assert_eq!((net.at(1).begun.len(), net.at(2).begun.len()), (2, 2));
    assert_eq!(net.at(2).delivered.len(), 2);
}

#[test]
fn what_was_sealed_under_the_previous_keys_is_still_read_and_then_forgotten() {
    let limits = Limits {
        renew_after_datagrams: 5,
        ..Limits::default()
    };
    let mut net = Net::with(2, |settings| Settings { limits, ..settings }).met();
    let late: Vec<_> = (0..4).map(|n| net.sealed(1, 2, &[1, n])).collect();
    while net.at(2).begun.len() < 2 {
        net.at(1).send(2, b"\x01x");
        net.settle();
    }
    let before = net.at(2).delivered.len();
    for flying in &late[..3] {
        net.at(2).receive(Path::Listed, &flying.bytes);
        net.at(2).receive(Path::Listed, &flying.bytes);
    }
    assert_eq!(net.at(2).delivered.len(), before + 3);
    assert_eq!(net.at(2).counted("repeated"), 3);
    net.pass(limits.linger + Duration::from_secs(1));
    net.at(2).receive(Path::Listed, &late[3].bytes);
    assert_eq!(net.at(2).delivered.len(), before + 3);
}

#[test]
fn a_seat_may_list_two_identities_while_keys_are_replaced() {
    let (old, new) = (secret(2), secret(22));
    let listed = vec![old.identity(), new.identity()];
    for (present, index) in [(old, 0), (new, 1)] {
        let mut net = Net::with(2, |mut settings| {
            settings
                .identities
                .entry(p(2))
                .and_modify(|of| of.clone_from(&listed));
            if settings.secret.identity() == secret(2).identity() {
                settings.secret = present.clone();
            }
            settings
        });
        // Who begins tries one after the other; who is asked sees which it is.
        net.at(1).send(2, b"\x01x");
        net.pass(Duration::from_secs(20));
        assert_eq!(net.at(2).texts(), [b"\x01x"]);
        assert_eq!(net.at(1).begun.last().unwrap().2, listed[index]);
        // When the list gets shorter, the sessions of the identity that is gone end.
        let other = [listed[1 - index]];
        net.at(1)
            .act(|peers, step| peers.list(p(2), &[listed[index]], step));
        assert!(net.at(1).peers.session(p(2)).is_some());
        net.at(1).act(|peers, step| peers.list(p(2), &other, step));
        assert!(net.at(1).peers.session(p(2)).is_none());
        net.at(2).send(1, b"\x02x");
        net.pass(Duration::from_secs(20));
        assert!(net.at(1).delivered.is_empty());
    }
}

#[test]
fn all_keys_are_replaced_in_turn_and_every_datagram_arrives() {
    let (n, mut sent) = (3, 0_u8);
    let mut net = Net::new(n);
    let old = |rank| secret(rank).identity();
    let new = |rank| secret(rank + 20).identity();
    let mut talk = |net: &mut Net| {
        sent += 1;
        for from in 1..=n {
            for to in (1..=n).filter(|to| *to != from) {
                net.at(from).send(to, &[from as u8, sent]);
            }
        }
        net.pass(Duration::from_millis(100));
    };
    let list = |net: &mut Net, at: usize, of: usize, identities: &[Identity]| {
        net.at(at)
            .act(|peers, step| peers.list(p(of), identities, step));
        // What flies under a session that ends is lost.
        net.pass(Duration::from_millis(10));
    };
    talk(&mut net);
    for of in 1..=n {
        for at in 1..=n {
            list(&mut net, at, of, &[old(of), new(of)]);
            talk(&mut net);
        }
    }
    for at in 1..=n {
        net.at(at)
            .act(|peers, step| peers.replace_secret(secret(at + 20), step));
        talk(&mut net);
    }
    for of in 1..=n {
        for at in 1..=n {
            list(&mut net, at, of, &[new(of)]);
            talk(&mut net);
        }
    }
    net.pass(Duration::from_secs(20));
    for me in 1..=n {
        let others = (1..=n).filter(|rank| *rank != me);
        for other in others {
            let from = |(p, _): &&(ProcessId, Bytes)| p.rank() == other;
            let arrived = net.at(me).delivered.iter().filter(from).count();
            assert_eq!(arrived, usize::from(sent), "from p{other} at p{me}");
            let session = net.at(me).peers.session(p(other)).unwrap();
            assert_eq!(session.identity, new(other));
        }
    }
    // One end of each pair was the first to give up the old identity.
    let ended: usize = net.all.iter().map(|driven| driven.ended.len()).sum();
    assert_eq!(ended, n * (n - 1) / 2);
    // The other end sends again what it may have sealed in vain.
    let reopened: usize = net.all.iter().map(|driven| driven.reopened.len()).sum();
    assert!(reopened >= ended, "{reopened}");
}

#[test]
fn who_is_not_listed_gets_no_session() {
    let mut net = Net::new(2);
    let stranger = Settings {
        secret: secret(9),
        ..settings(1, 2)
    };
    *net.at(1) = Driven::new(1, 1, stranger);
    net.at(1).send(2, b"\x01x");
    net.pass(Duration::from_secs(20));
    assert!(net.at(2).delivered.is_empty() && net.at(1).begun.is_empty());
    assert!(net.at(2).counted("unlisted-identity") >= 1);
    // Nor does who knows an identity, and not its secret.
    let posing = Settings {
        secret: secret(9),
        ..settings(1, 2)
    };
    let mut posing = Driven::new(1, 1, posing);
    posing.act(Peers::begin);
    let answers = net.at(2).receive(Path::Listed, &posing.flying[0].bytes);
    assert!(answers.iter().all(|f| f.kind() != RESPOND));
}

#[test]
fn processes_that_do_not_agree_have_no_session_and_say_so() {
    let others = [
        Agreed::new("other", 1, "stack", &["a", "b"]),
        Agreed::new("cluster", 2, "stack", &["a", "b"]),
        Agreed::new("cluster", 1, "stacks", &["a", "b"]),
        Agreed::new("cluster", 1, "stack", &["ab"]),
        Agreed::new("cluster", 1, "stack", &["b", "a"]),
    ];
    for agreed in others {
        let mut net = Net::new(2);
        let differing = Settings {
            agreed,
            ..settings(1, 2)
        };
        *net.at(1) = Driven::new(1, 1, differing);
        net.at(1).send(2, b"\x01x");
        net.pass(Duration::from_secs(10));
        assert!(net.at(2).delivered.is_empty() && net.at(2).counted("other-context") > 0);
    }
    // The tag in the clear is only a hint: with a forged one the handshake fails.
    let mut net = Net::new(2);
    let mut other = Driven::new(
        1,
        1,
        Settings {
            agreed: others[0],
            ..settings(1, 2)
        },
    );
    other.act(Peers::begin);
    let mut forged = BytesMut::from(&other.flying[0].bytes[..]);
    forged[4..8].copy_from_slice(&agreed().tag().to_le_bytes());
    let codes = crate::cookie::CodeKeys::new(secret(2).identity().link_key());
    let code = codes.first(&forged[..crate::frame::INITIATE_BODY]);
    forged[crate::frame::INITIATE_BODY..][..16].copy_from_slice(&code);
    assert!(net.at(2).receive(Path::Listed, &forged.freeze()).is_empty());
    assert_eq!(net.at(2).counted("bad-handshake"), 1);
}
