//! The traps of the specification, each with the mutant that falls into it.
use super::*;
use std::collections::BTreeSet;

/// The session and the counter of a sealed datagram: the nonce, under one key.
fn nonce(flying: &Flying) -> Vec<u8> {
    flying.bytes[1..13].to_vec()
}

/// How many nonces are used again when the layer above sends a datagram again.
fn reused(mut net: Net) -> usize {
    let sealed: Vec<_> = (0..10).map(|_| net.sealed(1, 2, b"\x01again")).collect();
    let nonces: BTreeSet<_> = sealed.iter().map(nonce).collect();
    sealed.len() - nonces.len()
}

#[test]
fn m_e1_a_retransmission_of_the_layer_above_has_a_nonce_of_its_own() {
    assert_eq!(reused(Net::new(2).met()), 0);
    assert!(reused(Net::of(Mutant::CounterFromAbove, 2).met()) > 0);
}

/// Whether a datagram arrives after somebody has sent one with a high counter, and no tag.
fn survives_forged_counters(mut net: Net) -> bool {
    let genuine = net.sealed(1, 2, b"\x01genuine");
    for counter in [1_u64 << 40, u64::MAX - 1, 5, 0, 1] {
        let mut forged = BytesMut::from(&genuine.bytes[..]);
        forged[5..13].copy_from_slice(&counter.to_le_bytes());
        net.at(2).receive(Path::Listed, &forged.freeze());
    }
    net.at(2).receive(Path::Listed, &genuine.bytes);
    net.at(2).texts() == [b"\x01genuine"]
}

#[test]
fn m_e2_forged_counters_do_not_close_the_window() {
    assert!(survives_forged_counters(Net::new(2).met()));
    assert!(!survives_forged_counters(
        Net::of(Mutant::WindowBeforeTag, 2).met()
    ));
}

/// The ephemeral keys of two starts whose generators begin alike.
fn ephemeral_keys(rules: Rules) -> [Bytes; 2] {
    [7, 8].map(|start| {
        let mut driven = Driven::new(
            1,
            start,
            Settings {
                rules,
                ..settings(1, 2)
            },
        );
        driven.act(Peers::begin);
        driven.flying[0].bytes.slice(28..60)
    })
}

#[test]
fn m_e3_a_start_never_goes_on_with_the_keys_of_an_earlier_one() {
    let [one, other] = ephemeral_keys(Rules::default());
    assert_ne!(one, other);
    let [one, other] = ephemeral_keys(Rules::of(Mutant::SecretsFromGenerator));
    assert_eq!(
        one, other,
        "the mutant's counters would begin again under keys that were used"
    );
    // What an earlier start has sealed does not open in a session with the next one.
    let mut net = Net::new(2).met();
    let earlier: Vec<_> = (0..5).map(|n| net.sealed(1, 2, &[1, n])).collect();
    *net.at(1) = Driven::new(1, 55, settings(1, 2));
    net.at(1).now = net.now;
    net.at(1).send(2, b"\x01new");
    net.settle();
    assert_eq!(net.at(2).texts(), [b"\x01new"]);
    for flying in &earlier {
        net.at(2).receive(Path::Listed, &flying.bytes);
    }
    assert_eq!(net.at(2).texts(), [b"\x01new"]);
}

/// p3 seals for p2 what claims to be from p1.
fn impersonated(mut net: Net) -> Vec<(ProcessId, Bytes)> {
    net.at(3).send(2, b"\x01lie");
    net.settle();
    net.at(2).delivered.clone()
}

#[test]
fn m_e4_the_session_says_who_has_sent_and_not_the_seat_that_a_frame_claims() {
    assert_eq!(impersonated(Net::new(3).met()), []);
    let delivered = impersonated(Net::of(Mutant::ClaimedSender, 3).met());
    assert_eq!(delivered.len(), 1);
    assert_eq!(
        claims(&delivered[0].1),
        Some(p(1)),
        "the layer above would believe it"
    );
    // Nor can p3 use a session of p1, or begin one in its place.
    let mut net = Net::new(3).met();
    let genuine = net.sealed(1, 2, b"\x01true");
    let mut forged = net.sealed(3, 2, b"\x01lie").bytes.to_vec();
    forged[1..5].copy_from_slice(&genuine.bytes[1..5]);
    net.at(2).receive(Path::Listed, &Bytes::from(forged));
    assert_eq!(net.at(2).counted("forged"), 1);
    let posing = Settings {
        secret: secret(3),
        ..settings(1, 3)
    };
    let mut posing = Driven::new(1, 123, posing);
    posing.send(2, b"\x01lie");
    net.all.push(posing);
    let begun = net.at(2).begun.len();
    for _ in 0..4 {
        let sent: Vec<_> = net.at(4).flying.drain(..).collect();
        for flying in sent {
            for answer in net.at(2).receive(Path::Listed, &flying.bytes) {
                net.at(4)
                    .act(|peers, step| peers.receive(Source::Unknown, &answer.bytes, step));
            }
        }
    }
    assert_eq!(net.at(2).begun.len(), begun);
    assert!(net.at(4).counted("bad-cookie") > 0, "no cookie is for it");
}

#[test]
fn m_e5_a_relay_reads_only_the_outer_head_and_alters_nothing() {
    let mut net = Net::new(3).met();
    let text = b"\x01for p2 alone";
    let sealed = net.sealed(1, 2, text);
    assert!(
        !sealed
            .bytes
            .windows(4)
            .any(|part| text.windows(4).any(|other| part == other))
    );
    // p3 relays it: it cannot open it, and passes it on as it is.
    assert!(net.at(3).receive(Path::Listed, &sealed.bytes).is_empty());
    assert!(net.at(3).delivered.is_empty());
    for at in 0..sealed.bytes.len() {
        for bit in 0..8 {
            let mut altered = BytesMut::from(&sealed.bytes[..]);
            altered[at] ^= 1 << bit;
            net.at(2).receive(Path::Listed, &altered.freeze());
        }
        net.at(2).receive(Path::Listed, &sealed.bytes.slice(..at));
    }
    assert!(net.at(2).delivered.is_empty());
    net.at(2).receive(at(3), &sealed.bytes);
    assert_eq!(net.at(2).texts(), [text]);
}

#[test]
fn fll2_a_repeated_datagram_is_delivered_once() {
    let repeat = |mut net: Net| {
        let sealed: Vec<_> = (0..1500_u32)
            .map(|n| net.sealed(1, 2, &[&[1][..], &n.to_le_bytes()].concat()))
            .collect();
        for flying in sealed.iter().rev().chain(&sealed) {
            net.at(2).receive(Path::Listed, &flying.bytes);
        }
        net.at(2).delivered.len()
    };
    assert_eq!(repeat(Net::new(2).met()), 1500);
    assert_eq!(repeat(Net::of(Mutant::NoWindow, 2).met()), 3000);
}
