//! Datagrams of an adversary, for two processes that have a session and for one that has none. He may begin with a genuine
//! datagram and alter it. Nothing is delivered that was not sealed, no answer is longer than its question, and afterwards
//! the two still talk.
#![no_main]
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use quorate_abstractions::addressed::{Path, Source};
use quorate_core::{Incarnation, ProcessId, Random, Time};
use quorate_sealed::{
    Agreed, Secret, Settings,
    peers::Peers,
    step::{Output, Step},
};
use rand::SeedableRng;
use std::net::SocketAddr;

struct End {
    peers: Peers,
    rng: Random,
    now: Time,
    delivered: Vec<Bytes>,
}

fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).expect("ranks begin at 1")
}

fn secret(rank: usize) -> Secret {
    Secret::new([rank as u8; 32])
}

impl End {
    fn new(me: usize) -> End {
        let others = (1..=3).filter(|rank| *rank != me);
        let identities = others.map(|rank| (p(rank), vec![secret(rank).identity()]));
        let agreed = Agreed::new::<&str>("fuzz", 1, "", &[]);
        let settings = Settings::new(secret(me), agreed, identities.collect(), |_| None);
        End {
            peers: Peers::new(p(me), Incarnation(me as u64), settings),
            rng: Random::seed_from_u64(me as u64),
            now: Time::ZERO,
            delivered: Vec::new(),
        }
    }

    /// Acts, and gives what is transmitted.
    fn act(&mut self, act: impl FnOnce(&mut Peers, &mut Step<'_>)) -> Vec<(ProcessId, Bytes)> {
        let (mut outputs, mut counts) = (Vec::new(), Vec::new());
        act(
            &mut self.peers,
            &mut Step {
                now: self.now,
                rng: &mut self.rng,
                outputs: &mut outputs,
                counts: &mut counts,
            },
        );
        let mut sent = Vec::new();
        for output in outputs {
            match output {
                Output::Transmit { to, bytes, .. } => sent.push((to, bytes)),
                Output::Deliver { bytes, .. } => self.delivered.push(bytes),
                _ => {}
            }
        }
        sent
    }
}

/// Lets everything arrive that the two have for each other.
fn settle(one: &mut End, two: &mut End, mut flying: Vec<(ProcessId, Bytes)>) {
    while let Some((to, bytes)) = flying.pop() {
        let end = match to.rank() {
            1 => &mut *one,
            2 => &mut *two,
            _ => continue,
        };
        flying.extend(end.act(|peers, step| peers.receive(Source::Unknown, &bytes, step)));
    }
}

fuzz_target!(|data: &[u8]| {
    let (mut one, mut two) = (End::new(1), End::new(2));
    let mut genuine: Vec<Bytes> = Vec::new();
    let hello = Bytes::from_static(b"hello");
    let flying = one.act(|peers, step| peers.send(p(2), hello.clone(), 5, step));
    genuine.extend(flying.iter().map(|(_, bytes)| bytes.clone()));
    settle(&mut one, &mut two, flying);
    let sealed = one.act(|peers, step| peers.send(p(2), hello.clone(), 5, step));
    genuine.extend(sealed.iter().map(|(_, bytes)| bytes.clone()));
    settle(&mut one, &mut two, sealed);
    assert_eq!(two.delivered.len(), 2);
    let elsewhere = Source::from(Path::Address(SocketAddr::from(([10, 0, 0, 9], 9))));

    let mut rest = data;
    while let [how, length, more @ ..] = rest {
        let (bytes, after) = more.split_at(more.len().min(usize::from(*length)));
        rest = after;
        let datagram = match how % 4 {
            // From scratch.
            0 => Bytes::copy_from_slice(bytes),
            // A genuine one, with some bytes changed, or its end cut off.
            1 | 2 => {
                let mut altered = genuine[usize::from(*how) % genuine.len()].to_vec();
                for change in bytes.chunks_exact(2) {
                    let at = usize::from(change[0]) % altered.len();
                    altered[at] ^= change[1];
                }
                Bytes::from(altered)
            }
            _ => {
                let whole = &genuine[usize::from(*how) % genuine.len()];
                whole.slice(..usize::from(*length) % whole.len())
            }
        };
        let source = if how & 0x80 == 0 {
            Source::Unknown
        } else {
            elsewhere
        };
        let answers = two.act(|peers, step| peers.receive(source, &datagram, step));
        let answered: usize = answers.iter().map(|(_, bytes)| bytes.len()).sum();
        // One that opens may have answers of its own: it is genuine.
        assert!(answered <= datagram.len().max(76), "{answers:?}");
        two.now = Time::from_nanos(two.now.as_nanos() + u64::from(*length) * 1_000_000);
    }
    assert_eq!(two.delivered.len(), 2, "nothing else was sealed");
    one.now = two.now;
    let last = one.act(|peers, step| peers.send(p(2), hello.clone(), 5, step));
    settle(&mut one, &mut two, last);
    assert_eq!(two.delivered.len(), 3, "the two still talk");
});
