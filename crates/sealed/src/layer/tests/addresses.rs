//! Peers that move, and those who pretend that one has.
use super::*;

/// p1 hears p2 from this address; gives what p1 transmits because of it.
fn heard(net: &mut Net, path: Path, text: &[u8]) -> Vec<Flying> {
    let sealed = net.sealed(2, 1, text);
    net.at(1).receive(path, &sealed.bytes)
}

#[test]
fn a_peer_moves_when_it_answers_a_challenge_from_its_new_address() {
    let mut net = Net::new(2).met();
    let challenge = heard(&mut net, at(7), &[2; 60]);
    assert!(challenge.len() == 1 && challenge[0].path == at(7));
    // Until then both are used.
    let mut sent = Vec::new();
    net.at(1).send(2, b"\x01x");
    sent.append(&mut net.at(1).flying);
    let paths: Vec<Path> = sent.iter().map(|f| f.path).collect();
    assert_eq!(paths, [at(7), Path::Listed]);
    assert_eq!(sent[0].bytes, sent[1].bytes);
    let answer = net.at(2).receive(Path::Listed, &challenge[0].bytes);
    assert!(answer[0].bytes.len() <= challenge[0].bytes.len());
    // The answer counts only from there.
    let mut elsewhere = Net::new(2).met();
    let other = heard(&mut elsewhere, at(7), b"\x02moved");
    let wrong = elsewhere.at(2).receive(Path::Listed, &other[0].bytes);
    elsewhere.at(1).receive(at(8), &wrong[0].bytes);
    assert!(elsewhere.at(1).moved.is_empty());

    net.at(1).receive(at(7), &answer[0].bytes);
    assert_eq!(net.at(1).moved, [at(7)]);
    assert_eq!(net.at(1).peers.session(p(2)).unwrap().path, at(7));
    net.at(1).send(2, b"\x01y");
    let paths: Vec<Path> = net.at(1).flying.drain(..).map(|f| f.path).collect();
    assert_eq!(paths, [at(7)]);
}

/// Somebody delays an original, and is first with a copy from its own address.
fn follows_a_copy(mut net: Net) -> bool {
    let original = net.sealed(2, 1, b"\x02x");
    net.at(1).receive(at(666), &original.bytes);
    net.at(1).receive(Path::Listed, &original.bytes);
    net.pass(Duration::from_secs(3));
    net.at(1).peers.session(p(2)).unwrap().path != Path::Listed
}

#[test]
fn a_copy_from_another_address_moves_nobody() {
    assert!(!follows_a_copy(Net::new(2).met()));
    assert!(follows_a_copy(Net::of(Mutant::EveryAddress, 2).met()));
}

#[test]
fn only_the_highest_counter_so_far_makes_an_address_a_candidate() {
    let mut net = Net::new(2).met();
    let old = net.sealed(2, 1, b"\x02old");
    let new = net.sealed(2, 1, b"\x02new");
    net.at(1).receive(Path::Listed, &new.bytes);
    assert!(net.at(1).receive(at(666), &old.bytes).is_empty());
    assert_eq!(net.at(1).texts(), [b"\x02new", b"\x02old"]);
    assert!(
        net.at(1).receive(at(666), &new.bytes).is_empty(),
        "a repeated one neither"
    );
    net.at(1).send(2, b"\x01x");
    assert_eq!(net.at(1).flying.len(), 1);
}

#[test]
fn an_address_that_does_not_answer_gets_little_and_is_forgotten() {
    let mut net = Net::new(2).met();
    let sealed = net.sealed(2, 1, b"\x02x");
    let length = sealed.bytes.len();
    let mut there: usize = net
        .at(1)
        .receive(at(666), &sealed.bytes)
        .iter()
        .map(|f| f.bytes.len())
        .sum();
    for _ in 0..50 {
        net.at(1).send(2, b"\x01xxxxxxxx");
    }
    let extra = |net: &mut Net| {
        let flying: Vec<_> = net.at(1).flying.drain(..).collect();
        flying
            .iter()
            .filter(|f| f.path == at(666))
            .map(|f| f.bytes.len())
            .sum::<usize>()
    };
    there += extra(&mut net);
    let now = net.now;
    for step in 1..40 {
        net.at(1).fire(now + Duration::from_millis(100 * step));
        there += extra(&mut net);
    }
    assert!(there <= 3 * length, "{there} bytes for {length}");
    net.at(1).send(2, b"\x01x");
    assert_eq!(extra(&mut net), 0);
    // The peer comes back from where it was: nothing has changed.
    net.at(1).send(2, b"\x01y");
    assert!(net.at(1).flying.iter().all(|f| f.path == Path::Listed));
}
