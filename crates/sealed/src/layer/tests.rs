mod addresses;
mod errata;
mod handshakes;
mod hostile;
mod keys;
mod world;

use super::*;
use crate::{
    frame::{INITIATE, RESPOND, RETRY, SEALED},
    keys::{Identity, Secret},
    mutant::{Mutant, Rules},
    settings::{Agreed, Limits},
};
use quorate_abstractions::addressed::{Path, Source};
use quorate_core::Random;
use quorate_sim::testing::p;
use rand::SeedableRng;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

/// The first byte of a datagram of the layer above is the rank that it claims, if it is one.
fn claims(bytes: &[u8]) -> Option<ProcessId> {
    ProcessId::from_rank(usize::from(*bytes.first()?))
}

fn secret(n: usize) -> Secret {
    Secret::new([n as u8; 32])
}

fn agreed() -> Agreed {
    Agreed::new("cluster", 1, "stack", &["a", "b"])
}

fn settings(me: usize, n: usize) -> Settings {
    let others = (1..=n).filter(|rank| *rank != me);
    let identities = others.map(|rank| (p(rank), vec![secret(rank).identity()]));
    Settings::new(secret(me), agreed(), identities.collect(), claims)
}

fn at(port: u16) -> Path {
    Path::Address(SocketAddr::from(([10, 0, 0, 1], port)))
}

/// A datagram on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Flying {
    from: ProcessId,
    to: ProcessId,
    /// Where the sender directs it.
    path: Path,
    bytes: Bytes,
}

impl Flying {
    fn kind(&self) -> u8 {
        self.bytes[0]
    }
}

/// One process, driven by hand.
struct Driven {
    me: ProcessId,
    peers: Peers,
    rng: Random,
    now: Time,
    flying: Vec<Flying>,
    delivered: Vec<(ProcessId, Bytes)>,
    begun: Vec<(ProcessId, Incarnation, Identity)>,
    moved: Vec<Path>,
    ended: Vec<ProcessId>,
    reopened: Vec<ProcessId>,
    counts: BTreeMap<&'static str, u64>,
}

impl Driven {
    fn new(me: usize, start: u64, settings: Settings) -> Driven {
        Driven {
            me: p(me),
            peers: Peers::new(p(me), Incarnation(start), settings),
            rng: Random::seed_from_u64(me as u64),
            now: Time::ZERO,
            flying: Vec::new(),
            delivered: Vec::new(),
            begun: Vec::new(),
            moved: Vec::new(),
            ended: Vec::new(),
            reopened: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Peers, &mut Step<'_>) -> T) -> T {
        let (mut outputs, mut counts) = (Vec::new(), Vec::new());
        let mut step = Step {
            now: self.now,
            rng: &mut self.rng,
            outputs: &mut outputs,
            counts: &mut counts,
        };
        let result = act(&mut self.peers, &mut step);
        for reason in counts {
            *self.counts.entry(reason).or_default() += 1;
        }
        for output in outputs {
            match output {
                Output::Transmit {
                    to,
                    path,
                    bytes,
                    segment,
                } => {
                    for bytes in datagrams(bytes, segment) {
                        let from = self.me;
                        self.flying.push(Flying {
                            from,
                            to,
                            path,
                            bytes,
                        });
                    }
                }
                Output::Deliver { from, bytes } => self.delivered.push((from, bytes)),
                Output::Begun {
                    peer,
                    incarnation,
                    identity,
                } => {
                    self.begun.push((peer, incarnation, identity));
                }
                Output::Moved { path, .. } => self.moved.push(path),
                Output::Ended(p) => self.ended.push(p),
                Output::Reopened(p) => self.reopened.push(p),
                Output::Stranger { .. } => {}
            }
        }
        result
    }

    fn send(&mut self, to: usize, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let segment = bytes.len();
        self.act(|peers, step| peers.send(p(to), bytes, segment, step));
    }

    fn receive(&mut self, path: Path, bytes: &Bytes) -> Vec<Flying> {
        let before = self.flying.len();
        self.act(|peers, step| peers.receive(Source::from(path), bytes, step));
        self.flying.split_off(before)
    }

    fn fire(&mut self, now: Time) {
        self.now = now;
        if self.peers.due().is_some_and(|due| due <= now) {
            self.act(Peers::fire);
        }
    }

    fn counted(&self, reason: &str) -> u64 {
        self.counts.get(reason).copied().unwrap_or(0)
    }

    fn texts(&self) -> Vec<&[u8]> {
        self.delivered.iter().map(|(_, bytes)| &bytes[..]).collect()
    }
}

/// Some processes, and what flies between them.
struct Net {
    all: Vec<Driven>,
    now: Time,
    flying: VecDeque<Flying>,
    /// Every datagram that was ever transmitted.
    seen: Vec<Flying>,
}

impl Net {
    fn new(n: usize) -> Net {
        Net::with(n, |settings| settings)
    }

    fn with(n: usize, change: impl Fn(Settings) -> Settings) -> Net {
        let all = (1..=n).map(|me| Driven::new(me, me as u64, change(settings(me, n))));
        Net {
            all: all.collect(),
            now: Time::ZERO,
            flying: VecDeque::new(),
            seen: Vec::new(),
        }
    }

    fn of(mutant: Mutant, n: usize) -> Net {
        let rules = Rules::of(mutant);
        Net::with(n, |settings| Settings { rules, ..settings })
    }

    fn at(&mut self, rank: usize) -> &mut Driven {
        &mut self.all[rank - 1]
    }

    /// Puts in flight what the processes have transmitted.
    fn collect(&mut self) {
        for driven in &mut self.all {
            for flying in driven.flying.drain(..) {
                self.seen.push(flying.clone());
                self.flying.push_back(flying);
            }
        }
    }

    /// Lets all arrive that flies, and what comes of it, unless it is lost.
    fn settle_losing(&mut self, mut is_lost: impl FnMut(&Flying) -> bool) {
        self.collect();
        while let Some(flying) = self.flying.pop_front() {
            if !is_lost(&flying) {
                let to = self.at(flying.to.rank());
                to.act(|peers, step| peers.receive(Source::Unknown, &flying.bytes, step));
            }
            self.collect();
        }
    }

    fn settle(&mut self) {
        self.settle_losing(|_| false);
    }

    /// Lets time pass, in steps of ten milliseconds.
    fn pass_losing(&mut self, time: Duration, mut is_lost: impl FnMut(&Flying) -> bool) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(10);
            let now = self.now;
            self.all.iter_mut().for_each(|driven| driven.fire(now));
            self.settle_losing(&mut is_lost);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.pass_losing(time, |_| false);
    }

    /// Two processes or more with sessions.
    fn met(mut self) -> Net {
        self.all
            .iter_mut()
            .for_each(|driven| driven.act(Peers::begin));
        self.settle();
        self.pass(Duration::from_secs(1));
        for driven in &self.all {
            let others = (1..=self.all.len()).filter(|rank| p(*rank) != driven.me);
            for rank in others {
                assert!(
                    driven.peers.session(p(rank)).is_some(),
                    "{} and p{rank}",
                    driven.me
                );
            }
        }
        self
    }

    /// Sends a datagram, and gives what flies, without letting it arrive.
    fn sealed(&mut self, from: usize, to: usize, bytes: &[u8]) -> Flying {
        self.at(from).send(to, bytes);
        let flying = self.at(from).flying.pop().expect("it is transmitted");
        assert_eq!(flying.kind(), SEALED);
        flying
    }
}
