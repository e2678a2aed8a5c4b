//! Commands that a register can serve: those that read or write one key.
use super::answer::Answer;
use crate::node::{
    registers::{Action, Done, NotDone, QueuedOperation, Registers, Unreturned},
    replica::Refusal,
    unwritten::Held,
};
use bytes::Bytes;
use quorate_runtime::{Error, MemoryError};
use quorate_services::kv::{Command, Reply};
use tokio::time::Instant;

/// What the reply tells of a value that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Value,
    Length,
    Existence,
}

/// A command, as an operation on a register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Single {
    register: Bytes,
    action: Action,
    wanted: Wanted,
}

impl Single {
    /// The operation of a command. The error is what the client is told if registers cannot serve the
    /// command.
    pub fn from_command(command: Command) -> Result<Self, Answer> {
        let read = |register, wanted| Single {
            register,
            action: Action::Read,
            wanted,
        };
        let name = match command {
            Command::Get(key) => return Ok(read(key, Wanted::Value)),
            Command::StrLen(key) => return Ok(read(key, Wanted::Length)),
            Command::Exists(mut keys) => match keys.pop() {
                Some(key) if keys.is_empty() => return Ok(read(key, Wanted::Existence)),
                Some(_) | None => "EXISTS of several keys",
            },
            Command::Set(register, value) => {
                return Ok(Single {
                    register,
                    action: Action::Write(value),
                    wanted: Wanted::Value,
                });
            }
            Command::Del(_) => "DEL",
            Command::IncrBy(..) => "INCRBY",
            Command::Append(..) => "APPEND",
            Command::MSet(_) => "MSET",
            Command::MGet(_) => "MGET",
            Command::DbSize => "DBSIZE",
            Command::FlushAll => "FLUSHALL",
            Command::SetIf { .. } => "SET with NX, XX or GET",
            Command::GetDel(_) => "GETDEL",
            Command::MSetNx(_) => "MSETNX",
        };
        Err(Answer::Error(format!(
            "ERR {name} needs total order: this cluster is consistency = \"register\""
        )))
    }

    /// The length in bytes of the name and the value together.
    pub fn len(&self) -> usize {
        let value = match &self.action {
            Action::Read => 0,
            Action::Write(value) => value.len(),
        };
        self.register.len() + value
    }

    /// The length in bytes of the value that the operation will return, as far as that is known.
    pub fn awaited(&self, registers: &Registers) -> usize {
        match &self.action {
            Action::Read => registers.length(&self.register),
            Action::Write(_) => 0,
        }
    }

    /// Puts the operation in its register's queue. The value that it returns is counted in `held`.
    pub async fn submit(
        self,
        registers: &Registers,
        deadline: Instant,
        held: Held,
    ) -> Result<Placed, NotDone> {
        let place = registers
            .submit(self.register, self.action, deadline, held)
            .await?;
        let wanted = self.wanted;
        Ok(Placed {
            place,
            wanted,
            deadline,
        })
    }
}

/// An operation that is in its register's queue or in flight.
pub struct Placed {
    place: QueuedOperation,
    wanted: Wanted,
    deadline: Instant,
}

impl Placed {
    /// The reply, if it is here.
    pub fn try_reply(&mut self) -> Option<Result<Reply, Unreturned>> {
        let done = self.place.try_outcome()?;
        let done = done.map_err(Unreturned::Failed);
        Some(done.map(|done| reply(self.wanted, done)))
    }

    /// Waits for the reply until the deadline.
    pub async fn reply(&mut self) -> Result<Reply, Unreturned> {
        let done = self.place.outcome(self.deadline).await?;
        Ok(reply(self.wanted, done))
    }
}

fn reply(wanted: Wanted, done: Done) -> Reply {
    match done {
        Done::Written => Reply::Ok,
        Done::Read { value, .. } => match wanted {
            Wanted::Value => value.map_or(Reply::Nil, Reply::Value),
            Wanted::Length => Reply::Integer(
                value.map_or(0, |value| i64::try_from(value.len()).unwrap_or(i64::MAX)),
            ),
            Wanted::Existence => Reply::Integer(i64::from(value.is_some())),
        },
    }
}

/// What a client is told of an operation that was not done.
pub fn not_done(not_done: NotDone, deadline: &str) -> Answer {
    Answer::Error(match not_done {
        NotDone::TooMuch(words) => format!("ERR {words}; not executed"),
        NotDone::Refused(Refusal::NotVoter(reason)) => format!("NOTVOTER {reason}; not executed"),
        NotDone::Refused(Refusal::NoQuorum) => format!(
            "NOQUORUM no quorum answered earlier operations within {deadline}; not executed"
        ),
        NotDone::Failed(error) => failed(&error),
    })
}

/// What a client is told of an operation that has not returned.
pub fn unreturned(unreturned: Unreturned, deadline: &str) -> Answer {
    Answer::Error(match unreturned {
        Unreturned::NotBegun => {
            format!("NOQUORUM earlier operations have not returned within {deadline}; not executed")
        }
        Unreturned::InFlight => {
            format!("NOQUORUM no quorum answered within {deadline}; outcome unknown")
        }
        Unreturned::Failed(error) => failed(&error),
    })
}

/// What a client is told of an operation that the node has refused or given up.
fn failed(error: &MemoryError) -> String {
    match error {
        MemoryError::Failed(Error::OutcomeUnknown) => {
            "ERR the replica is stopping; outcome unknown".to_owned()
        }
        error => format!("ERR {error}; not executed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::access::Access;
    use crate::resp::client::Clients;
    use crate::resp::request::{self, Request};
    use crate::resp::scan::Scanner;

    fn command(line: &str) -> Command {
        let mut buffer = format!("{line}\r\n").as_bytes().into();
        let mut client = Clients::default().enter("c", "s", Access::open());
        match request::take(&mut buffer, &mut Scanner::default(), &mut client) {
            Ok(Some(Request::Command(command))) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn single_reads_and_writes_are_operations_and_nothing_else_is() {
        for line in ["GET k", "SET k v", "STRLEN k", "EXISTS k"] {
            assert!(Single::from_command(command(line)).is_ok(), "{line}");
        }
        for line in [
            "MGET k l",
            "MGET k",
            "MSET k v",
            "EXISTS k l",
            "DEL k",
            "INCR k",
            "DECRBY k 2",
            "APPEND k v",
            "DBSIZE",
            "FLUSHALL",
            "SET k v NX",
            "SETNX k v",
            "GETSET k v",
            "GETDEL k",
            "MSETNX k v",
        ] {
            let Err(Answer::Error(words)) = Single::from_command(command(line)) else {
                panic!("{line} is served");
            };
            assert!(words.contains("needs total order"), "{words}");
        }
    }

    #[test]
    fn what_is_read_is_told_as_it_was_asked_for() {
        let read = |wanted, value: Option<&'static str>| {
            let tag = quorate_abstractions::register::Tag::INITIAL;
            let value = value.map(Bytes::from);
            reply(wanted, Done::Read { tag, value })
        };
        assert_eq!(read(Wanted::Value, Some("abc")), Reply::Value("abc".into()));
        assert_eq!(read(Wanted::Value, None), Reply::Nil);
        assert_eq!(read(Wanted::Length, Some("abc")), Reply::Integer(3));
        assert_eq!(read(Wanted::Length, None), Reply::Integer(0));
        assert_eq!(read(Wanted::Existence, Some("")), Reply::Integer(1));
        assert_eq!(read(Wanted::Existence, None), Reply::Integer(0));
    }
}
