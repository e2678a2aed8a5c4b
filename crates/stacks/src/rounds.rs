//! Algorithms in synchronous rounds, over the round synchroniser: consensus by `FloodSet`, and terminating
//! broadcast that stops early.
use quorate_abstractions::link::Links;
use quorate_core::{Addr, Host, ProcessId};
use quorate_rounds::{
    problem::{Broadcasts, Consensus},
    synchroniser::{self, Begin, RoundBounds, Told},
};
use std::{collections::BTreeMap, time::Duration};

pub use quorate_rounds::synchroniser::BadBounds;

/// How many processes may fail, and what follows: the number and the length of the rounds. It must be the same
/// at every process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rounds {
    f: usize,
    length: Duration,
}

impl Rounds {
    /// Rounds of `n` processes of which at most `f` fail, in a system with these bounds.
    ///
    /// # Errors
    /// When as many may fail as there are, or clocks drift too fast for f + 1 rounds.
    pub fn new(f: usize, n: usize, bounds: RoundBounds) -> Result<Self, BadBounds> {
        if f >= n {
            return Err(BadBounds::TooManyFailures { f, n });
        }
        let length = bounds.length(f as u64 + 1)?;
        Ok(Rounds { f, length })
    }

    /// The most rounds of an instance: f + 1.
    pub fn most(self) -> u64 {
        self.f as u64 + 1
    }

    /// The length of a round.
    pub fn length(self) -> Duration {
        self.length
    }

    /// The algorithms of consensus, top down. Two processes can only talk to each other if these are the same.
    pub fn consensus_algorithms(self) -> String {
        format!("consensus:flood-set {}", self.algorithm())
    }

    /// The algorithms of terminating broadcast, top down.
    pub fn terminating_algorithms(self) -> String {
        format!("terminating:early-stopping {}", self.algorithm())
    }

    fn algorithm(self) -> String {
        let Rounds { f, length } = self;
        format!("rounds:synchroniser,f={f},length={}ns", length.as_nanos())
    }

    /// Starts consensus by `FloodSet`.
    pub fn consensus<H: Host>(
        self,
        host: &H,
        links: &impl Links,
        up: Addr<Told<Consensus>>,
    ) -> Addr<Begin<Consensus>> {
        let (host, links) = (host.at("flood-set"), links.at("flood-set"));
        let problem = Consensus::new(self.f, host.processes());
        synchroniser::spawn(&host, problem, self.length, links.lane(), up)
    }

    /// Starts terminating broadcast that stops early: for each source, rounds of its own. `up` gets what is told of
    /// a source.
    pub fn terminating<H: Host>(
        self,
        host: &H,
        links: &impl Links,
        up: impl Fn(ProcessId) -> Addr<Told<Broadcasts>>,
    ) -> BTreeMap<ProcessId, Addr<Begin<Broadcasts>>> {
        let (host, links) = (host.at("early-stopping"), links.at("early-stopping"));
        let of = |source: ProcessId| {
            let at = source.to_string();
            let (host, links) = (host.at(&at), links.at(&at));
            let problem = Broadcasts::new(self.f, host.processes(), host.me(), source);
            let (lane, up) = (links.lane(), up(source));
            let port = synchroniser::spawn(&host, problem, self.length, lane, up);
            (source, port)
        };
        host.processes().iter().map(of).collect()
    }
}
