//! Two servers, one of which may omit messages: no protocol replicates a state machine, even in lock step.
//!
//! Clients c1 and c2, and servers in two groups of at most f each; with one server a group it is the theorem as
//! it is usually told, n = 2, f = 1. Three worlds:
//!
//! - **A**: c1 asks. The second group is faulty, and omits everything.
//! - **B**: c2 asks. The first group is faulty, and omits everything.
//! - **C**: both ask. Nothing passes between the groups, between c1 and the second one, and between c2 and the
//!   first one. Faulty are the second group and c2 (H1-E2).
//!
//! c1 and the first group see the same in A and C, c2 and the second group the same in B and C. If both are
//! answered in A and B, both are answered in C, each with a log that has its own command only: the logs are no
//! prefixes of each other. So a protocol loses an answer in A, or one in B, or it is unsafe in C; which of
//! these *horns* it is depends on the protocol ([`Protocol`]). Safety is demanded of clients that omit
//! messages, too. An answer holds the whole log (H1-E3).
//!
//! With 2f + 1 servers, and majorities, no horn breaks: [`show`] runs C again with a third server.
//!
//! # Source
//! The post on state machine replication with omission failures and two servers. Its introduction asks for
//! n < f; it must be f < n (H1-E1). Groups of at most f generalise it to n ≤ 2f (H1-E4).
use crate::named;
use quorate_abstractions::link::To;
use quorate_core::{Membership, ProcessId, ProcessSet, process::BadMembership};
use quorate_rounds::{
    algorithm::RoundAlgorithm,
    execution::{Execution, run},
    failures::Pattern,
    grid::Grid,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
};

mod protocols;

use protocols::{Majority, PrimaryBackup, Server, StaticPrimary};

/// So many rounds are run: an answer that takes longer does not count.
const ROUNDS: u64 = 24;

/// A command, by its client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Command(u8);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C{}", self.0)
    }
}

/// The commands in their order.
pub type Log = Vec<Command>;

/// What processes say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Message {
    /// From a client: do this.
    Ask(Command),
    /// From a server: this is the log, and an answer to the clients in it.
    Answer(Log),
    /// From a primary to its backups, and a sign of life.
    Copy(Log),
    /// From a server to the leader of a view.
    Status {
        log: Log,
        accepted: Option<(u64, Command)>,
        asked: BTreeSet<Command>,
    },
    /// From the leader of a view.
    Propose { view: u64, log: Log, next: Command },
    /// To the leader of a view: its proposal is accepted.
    Accepted(u64),
}

/// A protocol that replicates the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// The lowest server that is heard is the primary, and answers after a round, whether backups have
    /// confirmed or not.
    PrimaryBackup,
    /// A command is decided by a majority of the servers, under a leader that changes from view to view.
    Majority,
    /// The first server is the primary for ever.
    StaticPrimary,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 3] = [
        Protocol::PrimaryBackup,
        Protocol::Majority,
        Protocol::StaticPrimary,
    ];

    /// The horns that it breaks where at most half of the servers are correct.
    pub fn horns(self) -> &'static [Horn] {
        match self {
            Protocol::PrimaryBackup => &[Horn::Safety],
            Protocol::Majority => &[Horn::LivenessInA, Horn::LivenessInB],
            Protocol::StaticPrimary => &[Horn::LivenessInB],
        }
    }

    fn start(self, me: ProcessId, layout: Layout) -> Box<dyn Server> {
        match self {
            Protocol::PrimaryBackup => Box::new(PrimaryBackup::new(me, layout)),
            Protocol::Majority => Box::new(Majority::new(me, layout)),
            Protocol::StaticPrimary => Box::new(StaticPrimary::new(me, layout)),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::PrimaryBackup => "primary-backup with timeouts",
            Protocol::Majority => "majorities",
            Protocol::StaticPrimary => "one primary for ever",
        })
    }
}

/// What a protocol loses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Horn {
    /// c1 is correct, and is never answered in A.
    LivenessInA,
    /// c2 is correct, and is never answered in B.
    LivenessInB,
    /// Two answers in C are no prefixes of each other.
    Safety,
}

impl fmt::Display for Horn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Horn::LivenessInA => "liveness in world A",
            Horn::LivenessInB => "liveness in world B",
            Horn::Safety => "safety in world C",
        })
    }
}

/// Who is who: servers are p1 … pn, clients the two after them.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    processes: Membership,
    servers: usize,
}

impl Layout {
    fn new(servers: usize) -> Result<Self, BadMembership> {
        let processes = Membership::of_size(servers + 2)?;
        Ok(Layout { processes, servers })
    }

    /// The processes from this rank to that one.
    fn ranks(&self, ranks: std::ops::RangeInclusive<usize>) -> ProcessSet {
        let processes = self.processes.iter();
        processes.filter(|p| ranks.contains(&p.rank())).collect()
    }

    fn servers(&self) -> ProcessSet {
        self.ranks(1..=self.servers)
    }

    fn clients(&self) -> ProcessSet {
        self.ranks(self.servers + 1..=self.servers + 2)
    }

    /// The first and the second group, of at most half of the servers each; a server between them, if their
    /// number is odd, belongs to neither.
    fn groups(&self) -> [ProcessSet; 2] {
        let half = self.servers / 2;
        let first = self.ranks(1..=half);
        [first, self.ranks(self.servers - half + 1..=self.servers)]
    }

    fn client(&self, number: usize) -> ProcessId {
        self.processes.coordinator((self.servers + number) as u64)
    }

    fn is_client(&self, p: ProcessId) -> bool {
        p.rank() > self.servers
    }
}

/// One of the three.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum World {
    A,
    B,
    C,
}

impl World {
    const ALL: [World; 3] = [World::A, World::B, World::C];

    /// Whether this client asks.
    fn asks(self, client: usize) -> bool {
        match self {
            World::A => client == 1,
            World::B => client == 2,
            World::C => true,
        }
    }

    /// What is omitted, and by whom.
    fn pattern(self, layout: &Layout) -> Pattern {
        let [first, second] = layout.groups();
        let [c1, c2] = [1, 2].map(|number| layout.client(number));
        let all = layout.processes.set();
        let silent = |pattern, faulty, others| block(pattern, faulty, others);
        match self {
            World::A => silent(Pattern::failure_free(), second, all.without(second)),
            World::B => silent(Pattern::failure_free(), first, all.without(first)),
            World::C => {
                let pattern = silent(Pattern::failure_free(), second, first);
                let pattern = silent(pattern, second, [c1].into_iter().collect());
                silent(pattern, [c2].into_iter().collect(), first)
            }
        }
    }
}

/// Nothing passes between these faulty ones and those others, in either direction.
fn block(mut pattern: Pattern, faulty: ProcessSet, others: ProcessSet) -> Pattern {
    for round in 1..=ROUNDS {
        for p in faulty.iter() {
            for q in others.iter() {
                pattern = pattern.omit(p, round, p, q).omit(p, round, q, p);
            }
        }
    }
    pattern
}

/// A client, or a server.
enum Role {
    Client {
        /// What it asks for, until it is answered.
        command: Option<Command>,
        servers: ProcessSet,
    },
    Server(Box<dyn Server>),
}

impl RoundAlgorithm for Role {
    type Message = Message;
    type Output = Log;

    fn send(&mut self, round: u64) -> Vec<(To, Message)> {
        match self {
            Role::Client { command, servers } => {
                let ask = command.map(|command| (To::Some(*servers), Message::Ask(command)));
                ask.into_iter().collect()
            }
            Role::Server(server) => server.send(round),
        }
    }

    fn receive(&mut self, round: u64, received: &[(ProcessId, Message)]) -> Option<Log> {
        match self {
            Role::Client { command, .. } => {
                let answers = received.iter().filter_map(|(_, message)| match message {
                    Message::Answer(log) => Some(log),
                    _ => None,
                });
                let asked = (*command)?;
                let answer = answers
                    .filter(|log| log.contains(&asked))
                    .max_by_key(|log| log.len());
                let answer = answer?.clone();
                *command = None;
                Some(answer)
            }
            Role::Server(server) => {
                server.receive(round, received);
                None
            }
        }
    }

    fn is_halted(&self) -> bool {
        false
    }
}

/// A world that was run.
struct Ran {
    execution: Execution<Message, Log>,
}

impl Ran {
    fn new(protocol: Protocol, world: World, layout: Layout) -> Self {
        let pattern = world.pattern(&layout);
        let execution = run(&layout.processes, &pattern, ROUNDS, |p| {
            if layout.is_client(p) {
                let number = p.rank() - layout.servers;
                let command = world.asks(number).then_some(Command(number as u8));
                let servers = layout.servers();
                Role::Client { command, servers }
            } else {
                Role::Server(protocol.start(p, layout))
            }
        });
        Ran { execution }
    }

    /// What these processes have received of others, without the rounds.
    fn views(&self, of: ProcessSet) -> BTreeMap<ProcessId, Vec<(ProcessId, Message)>> {
        let mut views = BTreeMap::new();
        for t in &self.execution.transmissions {
            if t.arrived && of.contains(t.to) {
                let view: &mut Vec<_> = views.entry(t.to).or_default();
                view.push((t.from, t.message.clone()));
            }
        }
        views
    }

    /// The answer to this client.
    fn answer(&self, client: ProcessId) -> Option<&Log> {
        self.execution.output(client).map(|(_, log)| log)
    }
}

/// A protocol in the three worlds.
pub struct Shown {
    pub protocol: Protocol,
    /// How many servers there are.
    pub servers: usize,
    layout: Layout,
    worlds: BTreeMap<World, Ran>,
}

/// Runs a protocol with so many servers in the three worlds.
///
/// # Errors
/// When there are no servers, or more than a membership holds.
pub fn show(protocol: Protocol, servers: usize) -> Result<Shown, BadMembership> {
    let layout = Layout::new(servers)?;
    let worlds = World::ALL.map(|world| (world, Ran::new(protocol, world, layout)));
    Ok(Shown {
        protocol,
        servers,
        layout,
        worlds: worlds.into(),
    })
}

impl Shown {
    /// Whether the first group and c1 see the same in A and C, and the second one and c2 in B and C. It is so
    /// where the groups are all servers.
    pub fn cannot_tell(&self) -> bool {
        let [first, second] = self.layout.groups();
        let [c1, c2] = [1, 2].map(|number| self.layout.client(number));
        let with = |group: ProcessSet, client| group.union([client].into_iter().collect());
        let same = |one: World, of| self.worlds[&one].views(of) == self.worlds[&World::C].views(of);
        same(World::A, with(first, c1)) && same(World::B, with(second, c2))
    }

    /// The horns that break.
    pub fn broken(&self) -> Vec<Horn> {
        let [c1, c2] = [1, 2].map(|number| self.layout.client(number));
        let mut broken = Vec::new();
        if self.worlds[&World::A].answer(c1).is_none() {
            broken.push(Horn::LivenessInA);
        }
        if self.worlds[&World::B].answer(c2).is_none() {
            broken.push(Horn::LivenessInB);
        }
        let both = &self.worlds[&World::C];
        if let (Some(one), Some(other)) = (both.answer(c1), both.answer(c2))
            && !one.starts_with(other)
            && !other.starts_with(one)
        {
            broken.push(Horn::Safety);
        }
        broken
    }

    /// What is not as the theorem has it; nothing, if exactly the stated horns break, or, with an odd number of
    /// servers and majorities, none.
    pub fn unexpected(&self) -> Option<String> {
        let (broken, is_even) = (self.broken(), self.servers.is_multiple_of(2));
        let expected: &[Horn] = if is_even { self.protocol.horns() } else { &[] };
        if is_even && !self.cannot_tell() {
            return Some(format!(
                "{}: somebody can tell the worlds apart",
                self.protocol
            ));
        }
        (broken != expected).then(|| format!("{}: {broken:?}, not {expected:?}", self.protocol))
    }

    /// The answers in each world, and which horns broke.
    pub fn text(&self) -> String {
        let mut text = format!("{}, {} servers\n", self.protocol, self.servers);
        for (world, ran) in &self.worlds {
            let answers = [1, 2].map(|number| match ran.answer(self.layout.client(number)) {
                Some(log) => format!("c{number} is answered {log:?}"),
                None if world.asks(number) => format!("c{number} is never answered"),
                None => format!("c{number} does not ask"),
            });
            let _ = writeln!(text, "  world {world:?}: {}", answers.join(", "));
        }
        if self.cannot_tell() {
            text.push_str(
                "  c1 and the first group see the same in A and C, c2 and the second group in B and C\n",
            );
        }
        let _ = writeln!(text, "  broken: {}", named(self.broken()));
        text
    }

    /// World C in its first rounds, as a picture.
    pub fn svg(&self) -> String {
        let mut execution = self.worlds[&World::C].execution.clone();
        execution.rounds = execution.rounds.min(SHOWN);
        let title = format!(
            "World C of {} servers, {}: p{} is c1, p{} is c2",
            self.servers,
            self.protocol,
            self.servers + 1,
            self.servers + 2
        );
        Grid::new(&title, &execution).svg()
    }
}

/// A picture shows so many rounds.
const SHOWN: u64 = 6;

#[cfg(test)]
mod tests;
