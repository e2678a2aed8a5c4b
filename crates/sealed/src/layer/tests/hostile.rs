//! What a stranger's datagrams cost.
use super::*;
use crate::{
    cookie::{CodeKeys, PairKeys},
    frame::{Frame, INITIATE_BODY, INITIATE_LENGTH},
};
use proptest::prelude::*;
use rand::Rng;

/// An INITIATE of somebody who knows p2's identity and no secret, in the place of p1.
fn forged(rng: &mut Random, start: u64, number: u64) -> Bytes {
    let mut out = BytesMut::new();
    crate::frame::put_initiate(
        &mut out,
        (p(1), p(2)),
        agreed().tag(),
        Incarnation(start),
        number,
        rng.next_u32(),
    );
    let mut noise = [0; crate::frame::FIRST];
    rng.fill_bytes(&mut noise);
    out.extend_from_slice(&noise);
    let codes = CodeKeys::new(secret(2).identity().link_key());
    let code = codes.first(&out[..INITIATE_BODY]);
    out.extend_from_slice(&code);
    out.extend_from_slice(&[0; 16]);
    out.freeze()
}

/// How many forged handshakes in a second cost a key agreement, and whether p1 gets a session meanwhile.
fn flooded(rules: Rules) -> (u64, bool) {
    let mut rng = Random::seed_from_u64(1);
    let mut net = Net::with(2, |settings| Settings { rules, ..settings });
    let (limits, before) = (Limits::default(), net.at(2).peers.due());
    for _ in 0..2 * limits.strangers {
        let datagram = forged(&mut rng, 1, 1);
        let answers = net.at(2).receive(at(666), &datagram);
        assert!(answers.iter().map(|f| f.bytes.len()).sum::<usize>() < datagram.len());
        assert!(
            answers.iter().all(|f| f.path == at(666)),
            "it goes where it came from"
        );
    }
    assert_eq!(net.at(2).peers.due(), before, "nothing is stored");
    net.at(1).send(2, b"\x01hello");
    for _ in 0..100 {
        // Whatever permit comes back, a stranger is there before the member.
        net.now = net.now + Duration::from_millis(10);
        let now = net.now;
        net.all.iter_mut().for_each(|driven| driven.fire(now));
        for _ in 0..2 * limits.strangers / 100 {
            let datagram = forged(&mut rng, 1, 1);
            net.at(2).receive(at(666), &datagram);
        }
        net.settle();
    }
    (
        net.at(2).counted("bad-handshake"),
        net.at(2).texts() == [b"\x01hello"],
    )
}

#[test]
fn a_stranger_costs_little_and_does_not_starve_members() {
    let strangers = u64::from(Limits::default().strangers);
    let (agreements, is_served) = flooded(Rules::default());
    assert!(is_served);
    assert!(agreements <= 2 * strangers + 1, "{agreements}");
    assert!(
        agreements >= strangers,
        "the search finds what there is: {agreements}"
    );
    let (agreements, is_served) = flooded(Rules::of(Mutant::OneBudget));
    assert!(!is_served, "{agreements}");
}

#[test]
fn a_running_session_outlives_any_stranger() {
    let mut net = Net::new(2).met();
    let mut rng = Random::seed_from_u64(1);
    let before = net.at(2).peers.session(p(1));
    for number in 0..500 {
        for start in [1, 2, 3] {
            let datagram = forged(&mut rng, start, number);
            net.at(2).receive(Path::Listed, &datagram);
        }
    }
    assert_eq!(net.at(2).peers.session(p(1)), before);
    net.at(1).send(2, b"\x01x");
    net.settle();
    assert_eq!(net.at(2).texts(), [b"\x01x"]);
}

/// In one second strangers from many addresses ask for more cookies than there are.
#[test]
fn cookies_are_bounded_and_those_for_the_listed_address_are_others() {
    let limits = Limits {
        strangers: 0,
        ..Limits::default()
    };
    let mut net = Net::with(2, |settings| Settings { limits, ..settings });
    let mut rng = Random::seed_from_u64(1);
    let mut answers = 0;
    for number in 0..10 * limits.cookies {
        let datagram = forged(&mut rng, u64::from(number), 1);
        answers += net.at(2).receive(at(number as u16), &datagram).len();
    }
    assert_eq!(answers, limits.cookies as usize);
    net.at(1).send(2, b"\x01x");
    net.settle();
    assert_eq!(net.at(2).texts(), [b"\x01x"]);
}

#[test]
fn a_cookie_is_bound_to_the_address_and_dies() {
    let strangers = Limits {
        strangers: 0,
        ..Limits::default()
    };
    let mut net = Net::with(2, |settings| Settings {
        limits: strangers,
        ..settings
    });
    net.at(1).send(2, b"\x01x");
    let first = net.at(1).flying.pop().unwrap();
    let retry = net.at(2).receive(at(1), &first.bytes).pop().unwrap();
    assert_eq!(retry.kind(), RETRY);
    net.at(1).receive(Path::Listed, &retry.bytes);
    net.at(1).act(|_, _| {});
    let second = {
        let mut again = Net::with(2, |settings| Settings {
            limits: strangers,
            ..settings
        });
        again.at(2).rng = Random::seed_from_u64(99);
        again.at(1).send(2, b"\x01x");
        let first = again.at(1).flying.pop().unwrap();
        let retry = again.at(2).receive(at(1), &first.bytes).pop().unwrap();
        let second = again
            .at(1)
            .receive(Path::Listed, &retry.bytes)
            .pop()
            .unwrap();
        // Another address, and the cookie of another start, are refused.
        for path in [at(2), Path::Listed] {
            let answers = again.at(2).receive(path, &second.bytes);
            assert!(answers.len() == 1 && answers[0].kind() == RETRY, "{path:?}");
        }
        // After four minutes, too.
        again.at(2).now = again.now + Duration::from_secs(241);
        assert_eq!(again.at(2).receive(at(1), &second.bytes)[0].kind(), RETRY);
        second
    };
    let answers = net.at(2).receive(at(1), &second.bytes);
    assert!(
        answers.iter().all(|f| f.kind() == RETRY),
        "the other process's cookies have another key"
    );
}

#[test]
fn with_a_cookie_the_address_of_a_member_has_a_budget_of_its_own() {
    let limits = Limits {
        strangers: 0,
        ..Limits::default()
    };
    let mut net = Net::with(2, |settings| Settings { limits, ..settings });
    net.at(1).send(2, b"\x01x");
    net.settle();
    let kinds: Vec<u8> = net.seen.iter().map(Flying::kind).collect();
    assert_eq!(kinds, [INITIATE, RETRY, INITIATE, RESPOND, SEALED]);
    assert_eq!(net.at(2).texts(), [b"\x01x"]);
}

#[test]
fn a_forged_cookie_does_not_make_a_process_send_for_ever() {
    let mut net = Net::new(2);
    net.at(1).send(2, b"\x01x");
    let first = net.at(1).flying.pop().unwrap();
    let Some(Frame::Initiate(initiate)) = Frame::decode(&first.bytes) else {
        panic!("{first:?}");
    };
    // Only the peer can make the code; this one goes mad.
    let pair = PairKeys::new(&secret(2), &secret(1).identity());
    let mut sent = 0;
    for n in 0..50 {
        let cookie = [n; 16];
        let code = pair.retry(&cookie, &crate::cookie::first_of(&initiate));
        let retry = crate::frame::Retry {
            from: p(2),
            to: p(1),
            echo: initiate.index,
            cookie,
            codes: [code, [0; 16]],
        };
        sent += net.at(1).receive(Path::Listed, &retry.encode()).len();
        let guessed = crate::frame::Retry {
            codes: [[n; 16]; 2],
            ..retry
        };
        assert!(
            net.at(1)
                .receive(Path::Listed, &guessed.encode())
                .is_empty()
        );
    }
    assert!(sent <= 3, "{sent}");
}

#[test]
fn no_datagram_of_a_handshake_has_an_answer_longer_than_itself() {
    let mut net = Net::new(3);
    net.all
        .iter_mut()
        .for_each(|driven| driven.act(Peers::begin));
    net.collect();
    while let Some(flying) = net.flying.pop_front() {
        let is_handshake = flying.kind() != SEALED;
        let answers = net
            .at(flying.to.rank())
            .receive(Path::Listed, &flying.bytes);
        let length: usize = answers.iter().map(|f| f.bytes.len()).sum();
        assert!(
            !is_handshake || length < flying.bytes.len(),
            "{flying:?}: {answers:?}"
        );
        net.flying.extend(answers);
    }
    assert_eq!(INITIATE_LENGTH, 156);
    assert_eq!(INITIATE_LENGTH, INITIATE_BODY + 32);
}

#[test]
fn altered_handshakes_make_no_session() {
    for at in 0..INITIATE_LENGTH {
        let mut net = Net::new(2);
        net.at(1).send(2, b"\x01x");
        let initiate = net.at(1).flying.pop().unwrap();
        let mut altered = BytesMut::from(&initiate.bytes[..]);
        altered[at] ^= 1;
        // With the right first code, which anybody can compute.
        if at < INITIATE_BODY {
            let codes = CodeKeys::new(secret(2).identity().link_key());
            let code = codes.first(&altered[..INITIATE_BODY]);
            altered[INITIATE_BODY..][..16].copy_from_slice(&code);
        }
        let answers = net.at(2).receive(Path::Listed, &altered.freeze());
        // The second code counts only if there is a cookie.
        let counts = at < INITIATE_BODY + 16;
        assert!(
            !counts || answers.iter().all(|f| f.kind() != RESPOND),
            "byte {at}"
        );
        let Some(respond) = net.at(2).receive(Path::Listed, &initiate.bytes).pop() else {
            continue;
        };
        for at in 0..respond.bytes.len() {
            let mut altered = BytesMut::from(&respond.bytes[..]);
            altered[at] ^= 1;
            net.at(1).now = net.at(1).now + Duration::from_secs(1);
            net.at(1).receive(Path::Listed, &altered.freeze());
            assert!(net.at(1).begun.is_empty(), "byte {at}");
        }
        // A false answer has changed nothing.
        net.at(1).receive(Path::Listed, &respond.bytes);
        assert_eq!(net.at(1).begun.len(), 1);
    }
}

fn kinds() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![Just(156_usize), Just(76), Just(56), 0..300_usize];
    (0..6_u8, lengths, any::<u64>(), any::<bool>()).prop_map(|(kind, length, seed, is_sane)| {
        let mut bytes = vec![0; length];
        Random::seed_from_u64(seed).fill_bytes(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        if is_sane && length > 4 {
            bytes[1..4].copy_from_slice(&[1, 2, 0]);
        }
        bytes
    })
}

/// Many answers are forged while the peer's own is under way, by somebody who has read the question.
#[test]
fn forged_answers_cost_a_hash_and_keep_no_answer_out() {
    let mut net = Net::new(2);
    net.at(1).send(2, b"\x01x");
    let initiate = net.at(1).flying.pop().unwrap();
    let answers = net.at(2).receive(Path::Listed, &initiate.bytes);
    let Some(Frame::Respond(respond)) = Frame::decode(&answers[0].bytes) else {
        panic!("{answers:?}");
    };
    for n in 0..1000_u32 {
        let mut forged = respond.clone();
        forged.noise[..4].copy_from_slice(&n.to_le_bytes());
        assert!(net.at(1).receive(Path::Listed, &forged.encode()).is_empty());
    }
    assert_eq!(net.at(1).counted("forged"), 1000);
    assert_eq!(net.at(1).counted("bad-handshake"), 0);
    net.at(1).receive(Path::Listed, &answers[0].bytes);
    assert_eq!(net.at(1).begun.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_are_fatal_and_none_are_delivered(all in prop::collection::vec(kinds(), 1..60)) {
        let mut net = Net::new(2).met();
        for bytes in all {
            let bytes = Bytes::from(bytes);
            let answers = net.at(2).receive(Path::Listed, &bytes);
            let length: usize = answers.iter().map(|f| f.bytes.len()).sum();
            prop_assert!(length <= bytes.len());
        }
        prop_assert!(net.at(2).delivered.is_empty());
        net.at(1).send(2, b"\x01x");
        net.settle();
        prop_assert_eq!(net.at(2).texts(), [b"\x01x"]);
    }

    #[test]
    fn frames_are_unpacked_as_they_were_packed(echo in any::<u32>(), noise in any::<[u8; 32]>()) {
        let mut long = [0; crate::frame::SECOND];
        long[..32].copy_from_slice(&noise);
        let respond = crate::frame::Respond { from: p(1), to: p(2), echo, noise: long, code: [7; 8] };
        prop_assert_eq!(Frame::decode(&respond.encode()), Some(Frame::Respond(respond)));
    }
}
