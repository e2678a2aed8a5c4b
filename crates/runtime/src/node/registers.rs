//! The handle of registers: named variables that all processes share.
use super::{
    Builder,
    modules::{HEADS, wait_for},
    operations::{Begun, Operations},
    store::Store,
};
use crate::error::Error;
use bytes::Bytes;
use quorate_abstractions::register::{Action, Indication, Outcome, Refusal, Request};
use quorate_catalogue::registers::Registers as Algorithm;
use quorate_core::{Addr, ProcessId, wire::decode_value};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, marker::PhantomData, sync::Arc};

/// Reads and writes registers that hold values of type `T`, by name. Clones share the module.
///
/// A register is there as soon as it is named, without a value, and is never removed: each process
/// holds the last value of each register that was written.
///
/// Operations on different registers are under way together, up to the builder's
/// [window](Builder::window). On one register this process has one at a time: another is refused, as
/// [`Busy`](Error::Busy). A call that is dropped while it waits for the outcome goes on, and its register
/// is busy until it has returned; what is dropped while it waits for room in the window has not begun.
/// Where the algorithm needs a majority, and there is none, operations wait for it.
pub struct Registers<T> {
    operations: Arc<Operations<Bytes, Action, Outcome>>,
    limit: usize,
    /// Who alone writes, if there is such a process.
    writer: Option<ProcessId>,
    me: ProcessId,
    /// Where messages carry all registers: how much there is of them.
    store: Option<Arc<Store>>,
    values: PhantomData<fn(T) -> T>,
}

impl<T> Clone for Registers<T> {
    fn clone(&self) -> Self {
        Registers {
            operations: self.operations.clone(),
            store: self.store.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for Registers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registers").finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Registers<T> {
    /// Reads a register: its value, or `None` if it was never written.
    ///
    /// Of atomic registers, whoever reads after a write has returned gets what was written or something
    /// newer, and whoever reads after a read has returned nothing older than that one.
    ///
    /// # Errors
    /// [`Busy`](Error::Busy) while an operation of this process on the register is under way;
    /// [`NotStarted`](Error::NotStarted); [`TooLarge`](Error::TooLarge), of the name.
    /// [`UndecodableValue`](Error::UndecodableValue) when the value is no `T`.
    /// [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked) when the node has ended
    /// before, [`OutcomeUnknown`](Error::OutcomeUnknown) when it ends while this waits.
    pub async fn read(&self, register: &str) -> Result<Option<T>, Error> {
        match self.operate(register, Action::Read).await? {
            Outcome::Read { value, .. } => {
                let value = value.map(|value| decode_value(&value)).transpose();
                value.map_err(|_| Error::UndecodableValue(register.to_owned()))
            }
            outcome => Err(self.refused(outcome)),
        }
    }

    /// Writes a register.
    ///
    /// # Errors
    /// [`Busy`](Error::Busy) while an operation of this process on the register is under way;
    /// [`NotWriter`](Error::NotWriter) when another process alone writes;
    /// [`Exhausted`](Error::Exhausted); [`NotStarted`](Error::NotStarted); [`TooLarge`](Error::TooLarge), of
    /// the name and the value together; [`StoreFull`](Error::StoreFull), over a quorum system; [`Unencodable`](Error::Unencodable): nothing was written.
    /// [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked) when the node has ended
    /// before: nothing was written. [`OutcomeUnknown`](Error::OutcomeUnknown) when it ends while this waits:
    /// the write takes effect once, at any time, or never.
    pub async fn write(&self, register: &str, value: &T) -> Result<(), Error> {
        if let Some(writer) = self.writer.filter(|writer| *writer != self.me) {
            return Err(Error::NotWriter { writer });
        }
        let value = super::handles::encode_readable(value)?;
        match self.operate(register, Action::Write(value)).await? {
            Outcome::Written { .. } => Ok(()),
            outcome => Err(self.refused(outcome)),
        }
    }

    async fn operate(&self, register: &str, action: Action) -> Result<Outcome, Error> {
        let length = match &action {
            Action::Read => 0,
            Action::Write(value) => value.len(),
        };
        let (size, limit) = (register.len().saturating_add(length), self.limit);
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let register = Bytes::copy_from_slice(register.as_bytes());
        let store = match &action {
            Action::Read => None,
            Action::Write(_) => self.store.as_ref(),
        };
        let name = register.clone();
        let action = move || match store {
            Some(store) => store.begin(&name, length).map(|()| action),
            None => Ok(action),
        };
        self.operations.operate(register, size, action).await
    }

    /// What an outcome that is not the one of this action comes to.
    fn refused(&self, outcome: Outcome) -> Error {
        match (outcome, self.writer) {
            (Outcome::Refused(Refusal::NotWriter), Some(writer)) => Error::NotWriter { writer },
            (Outcome::Refused(Refusal::Exhausted), _) => Error::Exhausted,
            // An operation has begun that the handle knows nothing of.
            _ => Error::Busy,
        }
    }
}

impl<T> Registers<T> {
    /// Registers of many writers, of which messages carry all.
    pub(super) fn over(
        operations: Arc<Operations<Bytes, Action, Outcome>>,
        limit: usize,
        me: ProcessId,
        store: Arc<Store>,
    ) -> Self {
        Registers {
            operations,
            limit,
            writer: None,
            me,
            store: Some(store),
            values: PhantomData,
        }
    }
}

/// Registers.
impl Builder {
    /// Declares atomic registers which every process reads and writes, by name, and which hold values of
    /// type `T`: their operations are linearizable. By majorities, without a leader or a detector:
    /// operations return as long as a majority lives.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn registers<T>(&mut self, name: &str) -> Result<Registers<T>, Error>
    where
        T: Serialize + DeserializeOwned,
    {
        self.registers_of(name, Algorithm::MultiWriterMajority, None)
    }

    /// As [`registers`](Builder::registers), by the name of the algorithm: see
    /// [`Registers`](quorate_catalogue::registers::Registers). Some have one writer, the same on every
    /// process, which is `writer`; of those that all processes write it is `None`. Only what is
    /// called atomic there is linearizable, and promises that no read returns something older than one
    /// that returned before it.
    ///
    /// # Errors
    /// When there are no such registers, when they have one writer and none is named, or one is named and
    /// they have many, when it is no process of the cluster, when they need the perfect failure detector
    /// and the system is not [assumed to be synchronous](Builder::assume_synchronous), or when the name is
    /// used already.
    pub fn registers_with<T>(
        &mut self,
        name: &str,
        algorithm: &str,
        writer: Option<ProcessId>,
    ) -> Result<Registers<T>, Error>
    where
        T: Serialize + DeserializeOwned,
    {
        let registers = Algorithm::find(algorithm)?;
        match writer {
            None if registers.has_one_writer() => Err(Error::WantsWriter(registers.name())),
            Some(_) if !registers.has_one_writer() => Err(Error::ManyWriters(registers.name())),
            Some(me) if me.rank() > self.processes() => {
                let n = self.processes();
                Err(Error::NotMember { me, n })
            }
            writer => self.registers_of(name, registers, writer),
        }
    }

    fn registers_of<T>(
        &mut self,
        name: &str,
        registers: Algorithm,
        writer: Option<ProcessId>,
    ) -> Result<Registers<T>, Error> {
        self.check_detector(registers.needs(), registers.name())?;
        let operations = Arc::new(Operations::new(self.limits));
        let told = operations.clone();
        let algorithms = match writer {
            // Processes that disagree on the writer must not talk to each other.
            Some(writer) => format!("{}:written-by-{writer}", registers.algorithms()),
            None => registers.algorithms().to_owned(),
        };
        let me = self.me;
        self.fallible_module(name, &algorithms, move |wiring| {
            let returned = told.clone();
            let up = Addr::new(move |indication: Indication| {
                let Indication {
                    register,
                    operation,
                    outcome,
                } = indication;
                returned.returned(&register, operation, outcome);
            });
            wiring.pressure(wait_for(registers.needs()), told.pressure());
            let door = wiring.registers(registers, writer.unwrap_or(me), up)?;
            told.open(door.with(|begun: Begun<Bytes, Action>| Request {
                register: begun.object,
                operation: begun.operation,
                action: begun.action,
            }));
            Ok(())
        })?;
        self.handles.agreements.push(operations.clone());
        Ok(Registers {
            operations,
            limit: self.link.maximum_message.saturating_sub(HEADS),
            writer,
            me,
            store: None,
            values: PhantomData,
        })
    }
}
