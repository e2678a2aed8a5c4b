//! How sessions begin, although datagrams are lost, repeated and late.
use super::*;
use crate::frame::Frame;

#[test]
fn a_pair_takes_one_round_trip_once() {
    let mut net = Net::new(2);
    net.at(1).send(2, b"\x01hello");
    net.settle();
    let kinds: Vec<u8> = net.seen.iter().map(Flying::kind).collect();
    assert_eq!(kinds, [INITIATE, RESPOND, SEALED]);
    assert_eq!(net.at(2).texts(), [b"\x01hello"]);
    net.at(2).send(1, b"\x02back");
    net.at(1).send(2, b"\x01more");
    net.settle();
    assert_eq!(net.seen.len(), 5);
    assert_eq!(net.at(1).texts(), [b"\x02back"]);
    let longer = net.seen[4].bytes.len() - b"\x01more".len();
    assert_eq!(longer, OVERHEAD);
    assert!((24..=32).contains(&longer));
}

#[test]
fn a_batch_is_sealed_into_segments_of_one_length() {
    let mut net = Net::new(2).met();
    let batch = Bytes::from(vec![1; 250]);
    net.at(1).act(|peers, step| {
        peers.send(p(2), batch, 100, step);
        let Some(Output::Transmit { bytes, segment, .. }) = step.outputs.last() else {
            panic!("{:?}", step.outputs);
        };
        assert_eq!(
            (*segment, bytes.len()),
            (100 + OVERHEAD, 250 + 3 * OVERHEAD)
        );
    });
    net.settle();
    let lengths: Vec<usize> = net.at(2).texts().iter().map(|text| text.len()).collect();
    assert_eq!(lengths, [100, 100, 50]);
}

#[test]
fn both_may_begin_at_once_and_the_lower_seat_counts() {
    let mut net = Net::new(2);
    net.all
        .iter_mut()
        .for_each(|driven| driven.act(Peers::begin));
    net.collect();
    assert_eq!(net.flying.len(), 2);
    net.settle();
    assert_eq!(net.at(1).counted("crossed"), 1);
    let begun = |driven: &Driven| driven.begun.len();
    assert_eq!(net.all.iter().map(begun).collect::<Vec<_>>(), [1, 1]);
    // The one that has yielded does not go on.
    net.pass(Duration::from_secs(30));
    assert_eq!(net.all.iter().map(begun).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_handshake_survives_the_loss_of_any_of_its_datagrams() {
    for lost in 1_u32..128 {
        let mut net = Net::new(2);
        net.at(1).send(2, b"\x01one");
        net.at(2).send(1, b"\x02two");
        let mut number = 0;
        let mut is_lost = |flying: &Flying| {
            // What the layer above has sent may get lost: it sends it again.
            let is_lost = number < 7 && lost >> number & 1 == 1;
            number += 1;
            is_lost && (flying.bytes.len() < OVERHEAD + 4 || flying.kind() != SEALED)
        };
        net.settle_losing(&mut is_lost);
        net.pass_losing(Duration::from_secs(20), is_lost);
        assert_eq!(net.at(2).texts(), [b"\x01one"], "{lost:b}");
        assert_eq!(net.at(1).texts(), [b"\x02two"], "{lost:b}");
        // Both use the same session.
        net.at(1).send(2, b"\x01three");
        net.at(2).send(1, b"\x02four");
        net.settle();
        assert_eq!(
            (net.at(1).delivered.len(), net.at(2).delivered.len()),
            (2, 2),
            "{lost:b}"
        );
    }
}

#[test]
fn handshakes_survive_any_order_and_repetition() {
    use rand::Rng;
    for seed in 0..200 {
        let mut rng = Random::seed_from_u64(seed);
        let mut net = Net::new(3);
        net.all
            .iter_mut()
            .for_each(|driven| driven.act(Peers::begin));
        let mut delivered = 0;
        for turn in 0..400_u32 {
            net.collect();
            net.now = net.now + Duration::from_millis(20);
            let now = net.now;
            net.all.iter_mut().for_each(|driven| driven.fire(now));
            // Any datagram that was ever sent arrives now, or none.
            if !net.seen.is_empty() && rng.next_u32() % 8 != 0 {
                let recent = net.seen.len().saturating_sub(12);
                let from = if rng.next_u32() % 4 == 0 { 0 } else { recent };
                let at = from + rng.next_u32() as usize % (net.seen.len() - from);
                let flying = net.seen[at].clone();
                let to = net.at(flying.to.rank());
                to.act(|peers, step| peers.receive(Source::Unknown, &flying.bytes, step));
            }
            net.flying.clear();
            let (from, to) = (1 + turn as usize % 3, 1 + (turn as usize + 1) % 3);
            net.at(from)
                .send(to, &[&[from as u8][..], &turn.to_le_bytes()].concat());
            delivered += net
                .all
                .iter()
                .map(|driven| driven.delivered.len())
                .sum::<usize>();
        }
        assert!(delivered > 0, "seed {seed}");
        for driven in &net.all {
            let mut texts = driven.delivered.clone();
            let count = texts.len();
            texts.sort();
            texts.dedup();
            assert_eq!(texts.len(), count, "seed {seed}: delivered twice");
            assert!(
                texts
                    .iter()
                    .all(|(from, bytes)| claims(bytes) == Some(*from))
            );
        }
        net.pass(Duration::from_secs(30));
        for (from, to) in [(1, 2), (2, 3), (3, 1), (2, 1), (3, 2), (1, 3)] {
            // One that went into a session that the other has given up is lost, and is the occasion for a new one.
            net.at(from).send(to, &[from as u8, 0xfe]);
            net.settle();
            let text = [from as u8, 0xff];
            net.at(from).send(to, &text);
            net.settle();
            let expected = (p(from), Bytes::copy_from_slice(&text));
            assert_eq!(net.at(to).delivered.last(), Some(&expected), "seed {seed}");
        }
    }
}

#[test]
fn who_waits_repeats_ever_more_slowly_for_ever() {
    let mut net = Net::new(2);
    net.at(1).send(2, b"\x01one");
    net.settle_losing(|_| true);
    let mut times = Vec::new();
    for _ in 0..6000 {
        let now = net.now;
        net.pass_losing(Duration::from_millis(10), |_| {
            times.push(now);
            true
        });
    }
    assert!((8..40).contains(&times.len()), "{}", times.len());
    let longest = times.windows(2).map(|w| w[1] - w[0]).max().unwrap();
    assert!(longest <= Duration::from_millis(6300) && longest >= Duration::from_secs(5));
    // The dead is not a burden: nothing grows.
    for _ in 0..100 {
        net.at(1).send(2, b"\x01more");
    }
    assert_eq!(
        net.at(1).counted("no-session"),
        101 - Limits::default().held as u64
    );
    net.pass(Duration::from_secs(7));
    assert_eq!(net.at(2).delivered.len(), Limits::default().held);
}

#[test]
fn a_peer_that_starts_again_gets_a_new_session_and_its_old_one_ends() {
    let mut net = Net::new(2).met();
    let late = net.sealed(2, 1, b"\x02late");
    *net.at(2) = Driven::new(2, 77, settings(2, 2));
    net.at(2).now = net.now;
    net.at(2).rng = Random::seed_from_u64(2);
    net.at(2).send(1, b"\x02again");
    net.settle();
    assert_eq!(net.at(1).texts(), [b"\x02again"]);
    assert_eq!(net.at(1).begun.last().unwrap().1, Incarnation(77));
    // It took a cookie: the start is another one.
    assert_eq!(net.at(1).counted("cookie"), 1);
    let answers = net.at(1).receive(Path::Listed, &late.bytes);
    assert!(answers.is_empty());
    assert_eq!(net.at(1).counted("no-session"), 1);
}

#[test]
fn a_sender_finds_out_that_its_peer_has_started_again() {
    let mut net = Net::new(2).met();
    *net.at(2) = Driven::new(2, 77, settings(2, 2));
    net.at(2).now = net.now;
    // The new start has nothing to send.
    for _ in 0..20 {
        net.at(1).send(2, b"\x01hello");
        net.pass(Duration::from_secs(1));
    }
    assert!(!net.at(2).delivered.is_empty());
}

#[test]
fn an_old_handshake_changes_nothing() {
    let mut net = Net::new(2).met();
    let of = |net: &Net, kind: u8| net.seen.iter().find(|f| f.kind() == kind).cloned().unwrap();
    let (initiate, respond) = (of(&net, INITIATE), of(&net, RESPOND));
    // Of this start: it is dropped, with one hash.
    for _ in 0..10 {
        assert!(net.at(2).receive(Path::Listed, &initiate.bytes).is_empty());
    }
    assert_eq!(net.at(2).counted("old-handshake"), 10);
    // The answer gets the confirmation that it waits for, and no more.
    let answers = net.at(1).receive(Path::Listed, &respond.bytes);
    assert!(
        answers
            .iter()
            .all(|f| f.kind() == SEALED && f.bytes.len() < respond.bytes.len())
    );
    // Of an earlier start: it gets a cookie, and no session.
    let old = {
        let mut earlier = Driven::new(1, 99, settings(1, 2));
        earlier.act(Peers::begin);
        earlier.flying.pop().unwrap()
    };
    let before = net.at(2).peers.session(p(1));
    for _ in 0..10 {
        let answers = net.at(2).receive(Path::Listed, &old.bytes);
        assert!(answers.len() == 1 && answers[0].kind() == RETRY);
    }
    assert_eq!(net.at(2).peers.session(p(1)), before);
    net.at(1).send(2, b"\x01on");
    net.at(2).send(1, b"\x02on");
    net.settle();
    assert_eq!(net.at(1).texts(), [b"\x02on"]);
    assert_eq!(net.at(2).texts(), [b"\x01on"]);

    // Without the rule it would be answered again and again.
    let mut net = Net::of(Mutant::OldHandshakes, 2).met();
    let initiate = of(&net, INITIATE);
    assert_eq!(
        net.at(2).receive(Path::Listed, &initiate.bytes)[0].kind(),
        RESPOND
    );
}

#[test]
fn a_recorded_handshake_that_meets_nobody_does_not_keep_the_peer_out() {
    // An earlier start of p1 has begun handshakes, which somebody has recorded.
    let mut earlier = Driven::new(1, 99, settings(1, 2));
    earlier.act(Peers::begin);
    let recorded = earlier.flying.pop().unwrap();
    let mut net = Net::new(2);
    net.at(2).receive(Path::Listed, &recorded.bytes);
    net.at(1).send(2, b"\x01hello");
    for _ in 0..200 {
        net.at(2).receive(Path::Listed, &recorded.bytes);
        net.pass(Duration::from_millis(10));
    }
    assert_eq!(net.at(2).texts(), [b"\x01hello"]);
}

/// Of a peer's earlier starts somebody has recorded handshakes, and he reads every cookie. Whether the present start still
/// gets a session when a handshake of an earlier one, with a cookie put on it, arrives between its own two messages.
fn gets_a_session_among_recorded_ones(rules: Rules) -> bool {
    let mut net = Net::with(2, |settings| Settings { rules, ..settings }).met();
    let recorded: Vec<_> = (100..110)
        .map(|start| {
            let of = Settings {
                rules,
                ..settings(1, 2)
            };
            let mut earlier = Driven::new(1, start, of);
            earlier.act(Peers::begin);
            let bytes = earlier.flying.pop().unwrap().bytes;
            bytes.slice(..crate::frame::INITIATE_BODY)
        })
        .collect();
    // The present start: p1 has lost its memory once more.
    let of = Settings {
        rules,
        ..settings(1, 2)
    };
    *net.at(1) = Driven::new(1, 200, of);
    let now = net.now;
    net.at(1).now = now;
    net.at(1).send(2, b"\x01x");
    for old in &recorded {
        // All that the adversary can make: the codes that need no secret.
        let first = crate::cookie::CodeKeys::new(secret(2).identity().link_key()).first(old);
        let everybody = crate::cookie::PairKeys::of_everybody();
        let ask = |last: [u8; 16]| Bytes::from([&old[..], &first[..], &last[..]].concat());
        net.collect();
        // One hop of the genuine handshake, then the recorded one.
        let Some(genuine) = net.flying.pop_front() else {
            continue;
        };
        let answers = net
            .at(genuine.to.rank())
            .receive(Path::Listed, &genuine.bytes);
        net.flying.extend(answers);
        let retry = net.at(2).receive(Path::Listed, &ask([0; 16]));
        let cookie = retry.iter().find_map(|f| match Frame::decode(&f.bytes) {
            Some(Frame::Retry(retry)) => Some(retry.cookie),
            _ => None,
        });
        if let Some(cookie) = cookie {
            let covered = [&old[..], &first[..]].concat();
            let with_cookie = ask(everybody.second(&cookie, &covered));
            net.at(2).receive(Path::Listed, &with_cookie);
            net.at(2).flying.clear();
        }
    }
    net.settle();
    net.at(1).send(2, b"\x01y");
    net.settle();
    net.at(2).texts().contains(&&b"\x01y"[..])
}

#[test]
fn nobody_else_puts_a_fresh_cookie_on_a_recorded_handshake() {
    assert!(gets_a_session_among_recorded_ones(Rules::default()));
    let of_everybody = Rules::of(Mutant::CodesOfEverybody);
    assert!(!gets_a_session_among_recorded_ones(of_everybody));
}

/// Whether both ends use one session after their handshakes have crossed late, when each answers the other.
fn agree_after_crossing_late(rules: Rules) -> bool {
    let mut net = Net::with(2, |settings| Settings { rules, ..settings });
    for rank in [1, 2] {
        net.at(rank).send(3 - rank, &[rank as u8]);
    }
    // Nothing arrives until neither seat insists on its own.
    net.pass_losing(Duration::from_millis(900), |_| true);
    for rank in [1, 2] {
        net.at(rank)
            .act(|peers, step| peers.reopened(p(3 - rank), step));
    }
    net.settle();
    for rank in [1, 2] {
        net.at(rank).send(3 - rank, &[rank as u8, 7]);
    }
    net.settle();
    let has = |driven: &Driven| driven.delivered.iter().any(|(_, bytes)| bytes[1..] == [7]);
    net.all.iter().all(has)
}

#[test]
fn who_has_crossed_late_agrees_on_the_session_of_the_lower_seat() {
    assert!(agree_after_crossing_late(Rules::default()));
    assert!(!agree_after_crossing_late(Rules::of(Mutant::BothGiveUp)));
}

#[test]
fn a_peer_of_a_higher_seat_that_cannot_be_found_is_answered_after_a_while() {
    // p2 is elsewhere: what p1 begins does not reach it, and what p1 answers does.
    let mut net = Net::new(2);
    net.at(1).send(2, b"\x01x");
    net.at(2).send(1, b"\x02x");
    net.pass_losing(Duration::from_secs(20), |f| {
        f.from == p(1) && f.kind() == INITIATE
    });
    assert_eq!(net.at(1).texts(), [b"\x02x"]);
    assert_eq!(net.at(2).texts(), [b"\x01x"]);
}

#[test]
fn an_actor_never_has_more_than_one_timer() {
    let settings = settings(1, 4);
    let mut sealed = Sealed::new(p(1), Incarnation(1), settings);
    let counters = quorate_core::Counters::default();
    let mut ctx = quorate_core::Context::new(quorate_core::Name::root(), 1, counters);
    sealed.upon_start(&mut ctx);
    let mut alarms: Vec<_> = ctx.take_alarms().collect();
    for turn in 0..500_u64 {
        ctx.set_now(Time::from_nanos(turn * 100_000_000));
        let due: Vec<_> = alarms
            .iter()
            .filter(|it| it.at <= ctx.now())
            .map(|it| it.id)
            .collect();
        for id in due {
            if let Some(event) = ctx.take_due(id) {
                sealed.upon(event, &mut ctx);
            }
        }
        let bytes = Bytes::from_static(b"\x01x");
        let transmit = fair_loss::Transmit {
            to: p(2 + turn as usize % 3),
            segment: bytes.len(),
            bytes,
        };
        sealed.upon(Event::Transmit(transmit), &mut ctx);
        alarms.extend(ctx.take_alarms());
        alarms.retain(|alarm| ctx.is_waiting(alarm.id));
        assert_eq!(alarms.len(), 1, "turn {turn}");
    }
}
