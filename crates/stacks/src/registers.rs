//! The registers that a node can be asked for by name: each a whole stack, the same for every host.
use crate::needs::{Needs, NeedsPerfect};
use quorate_abstractions::{
    Subscribe,
    link::Links,
    perfect::Crash,
    register::{Indication, Request},
};
use quorate_core::{Addr, Host, ProcessId};
use quorate_registers::{
    majority_voting, multi_writer, read_impose_write_all, read_impose_write_consult_all,
    read_impose_write_majority, read_one_write_all,
};
use std::{fmt, str::FromStr};

/// Registers: an algorithm, and the stack below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Registers {
    /// Atomic, with many writers, by majorities.
    MultiWriterMajority,
    /// Regular, with one writer: reads are local.
    ReadOneWriteAll,
    /// Regular, with one writer, by majorities.
    MajorityVoting,
    /// Atomic, with one writer: a read imposes the value that it returns on all processes.
    ReadImposeWriteAll,
    /// Atomic, with one writer: a read imposes the value that it returns on a majority.
    ReadImposeWriteMajority,
    /// Atomic, with many writers: reads and writes impose their values on all processes.
    ReadImposeWriteConsultAll,
}

/// The properties of one kind of registers.
struct Entry {
    registers: Registers,
    name: &'static str,
    algorithms: &'static str,
    needs: Needs,
    has_one_writer: bool,
}

const ALL: [Entry; 6] = [
    Entry {
        registers: Registers::MultiWriterMajority,
        name: "multi-writer-majority",
        algorithms: "register:multi-writer-majority",
        needs: Needs::Nothing,
        has_one_writer: false,
    },
    Entry {
        registers: Registers::ReadOneWriteAll,
        name: "read-one-write-all",
        algorithms: "register:read-one-write-all",
        needs: Needs::Perfect,
        has_one_writer: true,
    },
    Entry {
        registers: Registers::MajorityVoting,
        name: "majority-voting",
        algorithms: "register:majority-voting",
        needs: Needs::Nothing,
        has_one_writer: true,
    },
    Entry {
        registers: Registers::ReadImposeWriteAll,
        name: "read-impose-write-all",
        algorithms: "register:read-impose-write-all",
        needs: Needs::Perfect,
        has_one_writer: true,
    },
    Entry {
        registers: Registers::ReadImposeWriteMajority,
        name: "read-impose-write-majority",
        algorithms: "register:read-impose-write-majority",
        needs: Needs::Nothing,
        has_one_writer: true,
    },
    Entry {
        registers: Registers::ReadImposeWriteConsultAll,
        name: "read-impose-write-consult-all",
        algorithms: "register:read-impose-write-consult-all",
        needs: Needs::Perfect,
        has_one_writer: false,
    },
];

/// No registers have the given name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there are no registers `{0}`: choose one of {names}", names = names())]
pub struct UnknownRegisters(String);

fn names() -> String {
    ALL.each_ref().map(|entry| entry.name).join(", ")
}

impl Registers {
    /// All kinds of registers.
    pub fn all() -> impl Iterator<Item = Registers> {
        ALL.iter().map(|entry| entry.registers)
    }

    fn entry(self) -> &'static Entry {
        let mut entries = ALL.iter();
        let found = entries.find(|entry| entry.registers == self);
        found.unwrap_or(&ALL[0])
    }

    /// The name by which settings choose it: the name of its algorithm.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Its algorithms, top down. Two processes can only talk to each other if these are the same.
    pub fn algorithms(self) -> &'static str {
        self.entry().algorithms
    }

    /// The failure detector that it needs.
    pub fn needs(self) -> Needs {
        self.entry().needs
    }

    /// Whether only one process writes.
    pub fn has_one_writer(self) -> bool {
        self.entry().has_one_writer
    }

    /// Starts them, with P if there is one. Of those with one writer, `writer` is it.
    ///
    /// # Errors
    /// When they need P, and `below` has none.
    pub fn spawn<H: Host>(
        self,
        host: &H,
        links: &impl Links,
        perfect: Option<&Subscribe<Crash>>,
        writer: ProcessId,
        up: Addr<Indication>,
    ) -> Result<Addr<Request>, NeedsPerfect> {
        let (at, links) = (host.at("register"), links.at("register"));
        let (lane, status) = (links.lane(), &links.status());
        let perfect = || perfect.ok_or(NeedsPerfect(self.name()));
        Ok(match self {
            Registers::MultiWriterMajority => multi_writer::spawn(&at, lane, status, up),
            Registers::ReadOneWriteAll => {
                read_one_write_all::spawn(&at, lane, status, perfect()?, writer, up)
            }
            Registers::MajorityVoting => majority_voting::spawn(&at, lane, status, writer, up),
            Registers::ReadImposeWriteAll => {
                read_impose_write_all::spawn(&at, lane, status, perfect()?, writer, up)
            }
            Registers::ReadImposeWriteMajority => {
                read_impose_write_majority::spawn(&at, lane, status, writer, up)
            }
            Registers::ReadImposeWriteConsultAll => {
                read_impose_write_consult_all::spawn(&at, lane, status, perfect()?, up)
            }
        })
    }
}

impl FromStr for Registers {
    type Err = UnknownRegisters;

    fn from_str(name: &str) -> Result<Self, UnknownRegisters> {
        let found = ALL.iter().find(|entry| entry.name == name);
        let found = found.map(|entry| entry.registers);
        found.ok_or_else(|| UnknownRegisters(name.to_owned()))
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
