//! What a session and a datagram cost, without a network in between.
//!
//! `cargo bench -p quorate-sealed`.
#![allow(clippy::unwrap_used, reason = "a benchmark that fails may panic")]
use bytes::Bytes;
use quorate_abstractions::addressed::Source;
use quorate_core::{Incarnation, ProcessId, Random, Time};
use quorate_sealed::{
    Agreed, Limits, Secret, Settings,
    peers::Peers,
    step::{Output, Step},
};
use rand::SeedableRng;
use std::collections::BTreeMap;

fn main() {
    divan::main();
}

fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).unwrap()
}

fn nobody(_: &[u8]) -> Option<ProcessId> {
    None
}

/// A process, and its generator.
struct End {
    peers: Peers,
    rng: Random,
}

impl End {
    fn new(me: usize, start: u64) -> End {
        let secret = |rank: usize| Secret::new([rank as u8; 32]);
        let other = 3 - me;
        let identities = BTreeMap::from([(p(other), vec![secret(other).identity()])]);
        let agreed = Agreed::new("bench", 1, "", &[""; 0]);
        let mut settings = Settings::new(secret(me), agreed, identities, nobody);
        settings.limits = Limits {
            renew_after_datagrams: u64::MAX,
            ..Limits::default()
        };
        End {
            peers: Peers::new(p(me), Incarnation(start), settings),
            rng: Random::seed_from_u64(start),
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Peers, &mut Step<'_>)) -> Vec<Output> {
        let (mut outputs, mut counts) = (Vec::new(), Vec::new());
        let mut step = Step {
            now: Time::ZERO,
            rng: &mut self.rng,
            outputs: &mut outputs,
            counts: &mut counts,
        };
        act(&mut self.peers, &mut step);
        outputs
    }

    fn send(&mut self, to: usize, bytes: &Bytes) -> Bytes {
        let sent = self.act(|peers, step| peers.send(p(to), bytes.clone(), bytes.len(), step));
        transmitted(sent)
    }

    fn receive(&mut self, bytes: &Bytes) -> Vec<Output> {
        self.act(|peers, step| peers.receive(Source::Unknown, bytes, step))
    }
}

fn transmitted(outputs: Vec<Output>) -> Bytes {
    let transmits = outputs.into_iter().filter_map(|output| match output {
        Output::Transmit { bytes, .. } => Some(bytes),
        _ => None,
    });
    transmits.last().unwrap()
}

/// Two processes with a session.
fn pair(start: u64) -> (End, End) {
    let (mut one, mut two) = (End::new(1, start), End::new(2, start));
    let initiate = one.send(2, &Bytes::from_static(b"hello"));
    let respond = transmitted(two.receive(&initiate));
    let hello = transmitted(one.receive(&respond));
    let arrived = two.receive(&hello);
    assert!(
        arrived
            .iter()
            .any(|output| matches!(output, Output::Deliver { .. }))
    );
    (one, two)
}

/// Both ends of a handshake, and the first datagram.
#[divan::bench]
fn handshake(bencher: divan::Bencher) {
    let mut start = 0;
    bencher.bench_local(|| {
        start += 1;
        pair(start)
    });
}

#[divan::bench(args = [64, 1024])]
fn seal(bencher: divan::Bencher, length: usize) {
    let (mut one, _) = pair(1);
    let bytes = Bytes::from(vec![7; length]);
    bencher.bench_local(|| one.send(2, &bytes));
}

#[divan::bench(args = [64, 1024])]
fn open(bencher: divan::Bencher, length: usize) {
    let (mut one, mut two) = pair(1);
    let bytes = Bytes::from(vec![7; length]);
    bencher
        .with_inputs(|| one.send(2, &bytes))
        .bench_local_refs(|sealed| two.receive(sealed));
}

/// What a stranger's datagram costs who does not know the identity.
#[divan::bench]
fn refuse(bencher: divan::Bencher) {
    let (_, mut two) = pair(1);
    let mut forged = vec![0; 156];
    forged[..4].copy_from_slice(&[1, 1, 2, 0]);
    let forged = Bytes::from(forged);
    bencher.bench_local(|| two.receive(&forged));
}
