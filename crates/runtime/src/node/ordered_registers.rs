//! Registers in the order of the group. Each write has a place in the order, so that a register can be
//! compared and set in one step, and a watcher of a register sees its values in their order.
//!
//! They stand on a replicated machine. The version of a value is the place of its write in the order, the same at
//! every process: values are told apart by that, never by their content.
mod command;
mod versioned;
mod watched;

pub use versioned::Versioned;

use super::{
    Builder, Chunk, Items, Machine, Replicated, SubmitError, Unreadable, View,
    codec::{Coded, Coding},
};
use crate::error::{Error, MemoryError, StartError};
use bytes::Bytes;
use command::{Command, Wire};
use quorate_core::ProcessId;
use std::{collections::BTreeMap, fmt, sync::Arc};
use tokio::sync::watch;
use versioned::Held;
use watched::{Ended, Watched};

/// The longest sum of a name and a value, in bytes. The state is transferred in chunks that each have whole
/// entries.
const LONGEST: usize = 512 << 10;

/// What became of a comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compared<T> {
    /// The register had the expected version, and was set or cleared. This is the place of that in the
    /// order: after a set it is the new version.
    Set(u64),
    /// The register had another version, and was not changed. It holds this.
    Differs(Versioned<T>),
}

/// The reason why a comparison has no known result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The register had another version, and was not changed. Its value is not of the expected type: some
    /// process writes another type.
    #[error("the value of register `{0}` is undecodable: another process writes another type")]
    UndecodableValue(String),
    /// The comparison was not submitted, or its outcome is unknown.
    #[error(transparent)]
    Failed(#[from] SubmitError),
}

enum Reply {
    Done(u64),
    Differs(Held),
}

/// All registers.
#[derive(Default)]
struct Registers {
    held: BTreeMap<Vec<u8>, (u64, Bytes)>,
    watched: Arc<Watched>,
}

impl Registers {
    fn held(&self, register: &[u8]) -> Held {
        match self.held.get(register) {
            Some((version, value)) => Held {
                value: Some(value.clone()),
                version: *version,
            },
            None => Held::nothing(),
        }
    }

    fn write(&mut self, register: &[u8], version: u64, value: &[u8]) {
        // A slice would keep the whole message in memory that it arrived in.
        let value = Bytes::copy_from_slice(value);
        let now = Held {
            value: Some(value.clone()),
            version,
        };
        self.watched.tell(register, &now);
        self.held.insert(register.to_vec(), (version, value));
    }

    fn clear(&mut self, register: &[u8]) {
        if self.held.remove(register).is_some() {
            self.watched.tell(register, &Held::nothing());
        }
    }
}

impl Machine for Registers {
    type Command = Command;
    type Reply = Reply;

    fn apply(&mut self, position: u64, _: ProcessId, command: Command) -> Reply {
        let Command {
            register,
            expected,
            value,
        } = command;
        if let Some(expected) = expected {
            let held = self.held(&register);
            if held.version != expected {
                return Reply::Differs(held);
            }
        }
        match value {
            Some(value) => self.write(&register, position, &value),
            None => self.clear(&register),
        }
        Reply::Done(position)
    }

    fn snapshot(&self) -> View {
        let all = self.held.clone().into_iter();
        Items::view(all.map(|(register, (version, value))| (register, version, value.to_vec())))
    }

    fn restore(&mut self, chunk: Chunk) -> Result<(), Unreadable> {
        for (register, version, value) in chunk.items::<(Vec<u8>, u64, Vec<u8>)>()? {
            self.held.insert(register, (version, value.into()));
        }
        Ok(())
    }

    fn take_over(&mut self, before: Self) {
        self.watched = before.watched;
        self.watched.tell_all(|register| self.held(register));
    }
}

/// Registers with values of type `T`, by name, in the order of the group. Clones do the same.
///
/// [`Registers`](super::Registers) need no leader. These registers stand on a total order, which a leader
/// makes: so each value has a version, and a register can be compared and set in one step, and watched. A
/// register exists as soon as somebody names it, and has no value then.
pub struct OrderedRegisters<T> {
    machine: Replicated<Registers>,
    watched: Arc<Watched>,
    codec: Coding<T>,
}

impl<T> Clone for OrderedRegisters<T> {
    fn clone(&self) -> Self {
        OrderedRegisters {
            machine: self.machine.clone(),
            watched: self.watched.clone(),
            codec: self.codec,
        }
    }
}

impl<T> fmt::Debug for OrderedRegisters<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderedRegisters").finish_non_exhaustive()
    }
}

impl<T> OrderedRegisters<T> {
    /// Reads a register. The read sees every write that had returned, to anybody, before this call. It
    /// costs as much as a write.
    ///
    /// # Errors
    /// [`UndecodableValue`](MemoryError::UndecodableValue) when the value is no `T`; otherwise when the
    /// node has not started, has stopped, or this process may not take part.
    pub async fn read(&self, register: impl AsRef<[u8]>) -> Result<Versioned<T>, MemoryError> {
        let name = register.as_ref().to_vec();
        let held = self.machine.query(move |all| all.held(&name)).await?;
        decode(self.codec, register.as_ref(), held).map_err(MemoryError::UndecodableValue)
    }

    /// Reads the local copy of a register, without asking other processes. Others may have written since. A
    /// process that was started again knows no register before it has the state.
    ///
    /// # Errors
    /// [`UndecodableValue`](MemoryError::UndecodableValue) when the value is no `T`.
    pub fn peek(&self, register: impl AsRef<[u8]>) -> Result<Versioned<T>, MemoryError> {
        let held = self.machine.peek(|all| all.held(register.as_ref()));
        decode(self.codec, register.as_ref(), held).map_err(MemoryError::UndecodableValue)
    }

    /// Writes a register, whatever it holds. Returns the version of the new value.
    ///
    /// # Errors
    /// See [`SubmitError`]: it says whether the register may have been written.
    /// [`TooLarge`](Error::TooLarge) when the name and the value have more than 512 KiB together, or more
    /// than a message may have; [`Unencodable`](Error::Unencodable).
    pub async fn write(&self, register: impl AsRef<[u8]>, value: &T) -> Result<u64, SubmitError> {
        let command = self.command(register.as_ref(), None, Some(value))?;
        done(self.machine.submit(command).await?)
    }

    /// Clears a register, whatever it holds: it is as if it had never been written. Returns the place of
    /// the change in the order.
    ///
    /// # Errors
    /// See [`SubmitError`]: it says whether the register may have been cleared.
    /// [`TooLarge`](Error::TooLarge) when the name is too long.
    pub async fn clear(&self, register: impl AsRef<[u8]>) -> Result<u64, SubmitError> {
        let command = self.command(register.as_ref(), None, None)?;
        done(self.machine.submit(command).await?)
    }

    /// Clears a register if it has the expected version. So a process clears a value that it has set
    /// itself, unless somebody else has set the register since.
    ///
    /// # Errors
    /// As [`compare_and_set`](OrderedRegisters::compare_and_set).
    pub async fn compare_and_clear(
        &self,
        register: impl AsRef<[u8]>,
        expected: u64,
    ) -> Result<Compared<T>, CompareError> {
        self.compare(register.as_ref(), expected, None).await
    }

    /// Writes a register if it has the expected version, which comes from a read, a write or a watch. Of
    /// all callers that expect the same version, one succeeds. Version zero is expected if there is no
    /// value. Then one caller succeeds until the register is cleared; after that zero is expected again,
    /// and does not show that there was a value in between.
    ///
    /// ```no_run
    /// # use quorate_runtime::{node::Compared, node::OrderedRegisters};
    /// # async fn add(counts: OrderedRegisters<u64>) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut now = counts.read("visits").await?;
    /// loop {
    ///     let next = now.value.unwrap_or(0) + 1;
    ///     match counts.compare_and_set("visits", now.version, &next).await? {
    ///         Compared::Set(_) => return Ok(()),
    ///         Compared::Differs(other) => now = other,
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`UndecodableValue`](CompareError::UndecodableValue) when the version differs and the present value
    /// is no `T`: nothing was changed. The others are those of [`write`](OrderedRegisters::write). If the
    /// outcome is unknown, a read shows whether the version is still the expected one; this is no proof if
    /// the expected version was zero.
    pub async fn compare_and_set(
        &self,
        register: impl AsRef<[u8]>,
        expected: u64,
        value: &T,
    ) -> Result<Compared<T>, CompareError> {
        let value = Some(value);
        self.compare(register.as_ref(), expected, value).await
    }

    async fn compare(
        &self,
        name: &[u8],
        expected: u64,
        value: Option<&T>,
    ) -> Result<Compared<T>, CompareError> {
        let command = self.command(name, Some(expected), value);
        let command = command.map_err(SubmitError::NotSubmitted)?;
        match self.machine.submit(command).await? {
            Reply::Done(version) => Ok(Compared::Set(version)),
            // Nothing was changed, even if the present value cannot be decoded.
            Reply::Differs(held) => match decode(self.codec, name, held) {
                Ok(held) => Ok(Compared::Differs(held)),
                Err(of) => Err(CompareError::UndecodableValue(of)),
            },
        }
    }

    /// Watches the local copy of a register: first its present value, then its value after changes. A slow
    /// watcher misses values in between, but never the last one. A process that was started again knows no
    /// register before it has the state; the arrival of the state then counts as a change.
    pub fn watch(&self, register: impl AsRef<[u8]>) -> RegisterWatch<T> {
        let name = register.as_ref();
        // The machine's lock is held: nothing is written between the look and the start of the watch.
        let mut told = self
            .machine
            .peek(|all| self.watched.watch(name, all.held(name)));
        told.mark_changed();
        RegisterWatch {
            register: name.to_vec(),
            told,
            ended: self.watched.ended(),
            codec: self.codec,
        }
    }

    fn command(
        &self,
        register: &[u8],
        expected: Option<u64>,
        value: Option<&T>,
    ) -> Result<Command, Error> {
        let value = value.map(|value| (self.codec.encode)(value)).transpose()?;
        let size = register.len() + value.as_ref().map_or(0, Bytes::len);
        if size > LONGEST {
            return Err(Error::TooLarge {
                size,
                limit: LONGEST,
            });
        }
        Ok(Command {
            register: Bytes::copy_from_slice(register),
            expected,
            value,
        })
    }
}

/// The version from the reply to a command that compares nothing.
fn done(reply: Reply) -> Result<u64, SubmitError> {
    match reply {
        Reply::Done(version) => Ok(version),
        Reply::Differs(_) => Err(SubmitError::OutcomeUnknown),
    }
}

/// Decodes the content of a register. The error is the register's name, if its value is not of the type
/// `T`.
fn decode<T>(codec: Coding<T>, register: &[u8], held: Held) -> Result<Versioned<T>, String> {
    let name = || String::from_utf8_lossy(register).into_owned();
    let decode = |value| (codec.decode)(value).ok_or_else(name);
    Ok(Versioned {
        value: held.value.map(decode).transpose()?,
        version: held.version,
    })
}

/// A watch on one register.
pub struct RegisterWatch<T> {
    register: Vec<u8>,
    told: watch::Receiver<Held>,
    ended: Ended,
    codec: Coding<T>,
}

impl<T> fmt::Debug for RegisterWatch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let register = String::from_utf8_lossy(&self.register);
        f.debug_struct("RegisterWatch")
            .field("register", &register)
            .finish_non_exhaustive()
    }
}

impl<T> RegisterWatch<T> {
    /// The first call returns the present content of the register. Later calls wait until the content has
    /// changed since the last call; writing an equal value counts as a change.
    ///
    /// Cancel safe: a caller that stops waiting misses nothing.
    ///
    /// # Errors
    /// [`UndecodableValue`](MemoryError::UndecodableValue) when the value is no `T`: the next call waits
    /// for the next change. When the node has stopped or this process may not take part: this error is
    /// final.
    pub async fn changed(&mut self) -> Result<Versioned<T>, MemoryError> {
        if self.told.changed().await.is_err() {
            return Err(self.ended.get().cloned().unwrap_or(Error::Stopped).into());
        }
        let held = self.told.borrow_and_update().clone();
        decode(self.codec, &self.register, held).map_err(MemoryError::UndecodableValue)
    }
}

impl Builder {
    /// Declares registers in the order that they share with the node's [replicated
    /// machines](Builder::replicated): they can be compared and set in one step, and watched. They behave
    /// at restarts like those machines.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn ordered_registers<T>(
        &mut self,
        name: impl Into<Coded<T>>,
    ) -> Result<OrderedRegisters<T>, StartError> {
        self.ordered_registers_of(name.into())
    }

    fn ordered_registers_of<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
    ) -> Result<OrderedRegisters<T>, StartError> {
        let registers = Registers::default();
        let watched = registers.watched.clone();
        let algorithms = codec.of(&name, "registers replicated");
        let coded = Coded::by::<Wire>(name);
        let machine = self.replicated_with(coded, &algorithms, registers, |_| {})?;
        self.handles.machines.push(watched.clone());
        Ok(OrderedRegisters {
            machine,
            watched,
            codec,
        })
    }
}
