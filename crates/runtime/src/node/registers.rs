//! The handle of registers: named variables that all processes share.
use super::{
    Builder,
    codec::{Coded, Coding, Raw},
    modules::HEADS,
    needs::wait_for,
    operations::{Begun, Operations, Sharing},
    pending::{Pending, Progress},
    window::Limits,
};
use crate::{
    error::{Error, MemoryError, StartError},
    node::Wiring,
};
use bytes::Bytes;
use quorate_abstractions::{
    pressure::Wait,
    register::{Action, Indication, Refusal, RegisterResponse, Request, Tag},
};
use quorate_core::{Addr, ProcessId};
use quorate_stacks::{needs::NeedsPerfect, registers::Registers as Algorithm};
use std::{fmt, sync::Arc, time::Duration};

/// The operations of a module of registers.
pub(super) type OnRegisters = Operations<Bytes, Action, RegisterResponse>;

/// Reads and writes registers that hold values of type `T`, by name. Clones share the module.
///
/// A register exists as soon as somebody names it, and has no value then. It is never removed: each process
/// holds the last value of each register that was written.
///
/// Operations on different registers are in flight together, up to the builder's [window](Builder::window).
/// On one register this process has one operation in flight: others wait in the register's queue, in the
/// order of the calls. Operations of the same kind that are next to each other in the queue share the next
/// operation: all reads return what it has read, and of several writes the last one's value is written, as
/// if it had overwritten the others at once. Calls that wait in a queue take no room in the window, so that
/// a register with many waiting calls does not keep operations on other registers from theirs.
///
/// A call that is dropped while it waits, in the queue or for room, has not begun, and never will. A call
/// that is dropped while it is in flight goes on, and the register's queue continues when it has returned.
/// If the algorithm needs a majority and there is none, operations wait for it.
pub struct Registers<T> {
    operations: Arc<OnRegisters>,
    limit: usize,
    /// The only process that writes, if there is such a process.
    writer: Option<ProcessId>,
    me: ProcessId,
    codec: Coding<T>,
}

/// The result of a read.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Reading<T> {
    /// The value; `None` if the register was never written.
    pub value: Option<T>,
    /// The identifier of the write that the value is from.
    pub tag: Tag,
    /// The time during which the read was in flight.
    pub lasted: Duration,
}

impl<T> Clone for Registers<T> {
    fn clone(&self) -> Self {
        Registers {
            operations: self.operations.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for Registers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registers").finish_non_exhaustive()
    }
}

impl<T> Registers<T> {
    /// Reads a register: its value, or `None` if it was never written.
    ///
    /// If the registers are atomic, a read that begins after a write has returned gets the written value or
    /// a newer one, and a read that begins after another read has returned gets nothing older than that
    /// read.
    ///
    /// # Errors
    /// [`UndecodableValue`](MemoryError::UndecodableValue) when the value is no `T`.
    ///
    /// As [`Failed`](MemoryError::Failed): [`NotStarted`](Error::NotStarted); [`TooLarge`](Error::TooLarge)
    /// when the name is too long. [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked) when the node has ended
    /// before the read began, [`OutcomeUnknown`](Error::OutcomeUnknown) when it ends while the read is in
    /// flight.
    pub async fn read(&self, register: impl AsRef<[u8]>) -> Result<Option<T>, MemoryError> {
        let (register, size) = self.named(register.as_ref(), 0)?;
        let read = self
            .operations
            .operate(register.clone(), size, Action::Read);
        match read.await? {
            RegisterResponse::Read { value, .. } => decode(self.codec, &register, value),
            outcome => Err(refused(outcome, self.writer)),
        }
    }

    /// Invokes a read, without waiting for it: when this function returns, the read is in flight or has its
    /// place in the register's queue. `then` converts the value that was read into the result of the
    /// returned [`Pending`]. It is called as soon as the value is there, on the thread on which the node's
    /// algorithms run, so that it should be short. If the read fails, or the `Pending` was dropped before,
    /// `then` is dropped without being called.
    ///
    /// # Errors
    /// As [`read`](Registers::read). This function returns the errors that are known at once; awaiting the
    /// [`Pending`] gives the others.
    pub fn read_then<R: Send + 'static>(
        &self,
        register: impl AsRef<[u8]>,
        then: impl FnOnce(Reading<T>) -> R + Send + 'static,
    ) -> Result<Pending<R>, MemoryError>
    where
        T: 'static,
    {
        let (register, size) = self.named(register.as_ref(), 0)?;
        let (name, codec, writer) = (register.clone(), self.codec, self.writer);
        let read = move |outcome, lasted| match outcome {
            RegisterResponse::Read { value, tag } => Ok(then(Reading {
                value: decode(codec, &name, value)?,
                tag,
                lasted,
            })),
            outcome => Err(refused(outcome, writer)),
        };
        self.operations.invoke(register, size, Action::Read, read)
    }

    /// Writes a register.
    ///
    /// # Errors
    /// [`NotWriter`](MemoryError::NotWriter) when another process is the only one that writes;
    /// [`Exhausted`](MemoryError::Exhausted); over a quorum system, [`StoreFull`](MemoryError::StoreFull):
    /// nothing was written.
    ///
    /// As [`Failed`](MemoryError::Failed): [`NotStarted`](Error::NotStarted); [`TooLarge`](Error::TooLarge)
    /// when the name and the value together are too long; [`Unencodable`](Error::Unencodable): nothing was
    /// written. [`Stopped`](Error::Stopped), [`Excluded`](Error::Excluded),
    /// [`ReportedCrashed`](Error::ReportedCrashed), [`Panicked`](Error::Panicked) when the node has ended
    /// before the write began: nothing was written. [`OutcomeUnknown`](Error::OutcomeUnknown) when it ends
    /// while the write is in flight: the write takes effect once, at any time, or never.
    pub async fn write(&self, register: impl AsRef<[u8]>, value: &T) -> Result<(), MemoryError> {
        let (register, size, value) = self.written(register.as_ref(), value)?;
        let write = Action::Write(value);
        match self.operations.operate(register, size, write).await? {
            RegisterResponse::Written { .. } => Ok(()),
            outcome => Err(refused(outcome, self.writer)),
        }
    }

    /// Invokes a write, as [`read_then`](Registers::read_then) invokes a read. `then` is given the time
    /// during which the write was in flight.
    ///
    /// # Errors
    /// As [`write`](Registers::write). This function returns the errors that are known at once; awaiting
    /// the [`Pending`] gives the others.
    pub fn write_then<R: Send + 'static>(
        &self,
        register: impl AsRef<[u8]>,
        value: &T,
        then: impl FnOnce(Duration) -> R + Send + 'static,
    ) -> Result<Pending<R>, MemoryError> {
        let (register, size, value) = self.written(register.as_ref(), value)?;
        let writer = self.writer;
        let written = move |outcome, lasted| match outcome {
            RegisterResponse::Written { .. } => Ok(then(lasted)),
            outcome => Err(refused(outcome, writer)),
        };
        let write = Action::Write(value);
        self.operations.invoke(register, size, write, written)
    }

    /// Counts of this process's operations: waiting, in flight, and returned.
    pub fn progress(&self) -> Progress {
        self.operations.progress()
    }

    /// The register's name, and the length of the name together with a value of this length, in bytes.
    fn named(&self, register: &[u8], length: usize) -> Result<(Bytes, usize), MemoryError> {
        let (size, limit) = (register.len().saturating_add(length), self.limit);
        if size > limit {
            return Err(Error::TooLarge { size, limit }.into());
        }
        Ok((Bytes::copy_from_slice(register), size))
    }

    /// The same for a write, together with the encoded value.
    fn written(&self, register: &[u8], value: &T) -> Result<(Bytes, usize, Bytes), MemoryError> {
        if let Some(writer) = self.writer.filter(|writer| *writer != self.me) {
            return Err(MemoryError::NotWriter { writer });
        }
        let value = (self.codec.encode)(value)?;
        let (register, size) = self.named(register, value.len())?;
        Ok((register, size, value))
    }
}

fn decode<T>(
    codec: Coding<T>,
    register: &[u8],
    value: Option<Bytes>,
) -> Result<Option<T>, MemoryError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let undecodable =
        || MemoryError::UndecodableValue(String::from_utf8_lossy(register).into_owned());
    (codec.decode)(value).map(Some).ok_or_else(undecodable)
}

/// The error for an outcome that does not belong to this kind of action.
fn refused(outcome: RegisterResponse, writer: Option<ProcessId>) -> MemoryError {
    match (outcome, writer) {
        (RegisterResponse::Refused(Refusal::NotWriter), Some(writer)) => {
            MemoryError::NotWriter { writer }
        }
        (RegisterResponse::Refused(Refusal::Exhausted), _) => MemoryError::Exhausted,
        // Some other code has begun an operation that the handle does not know.
        _ => MemoryError::Busy,
    }
}

/// The address at which an algorithm indicates that operations have returned.
fn returns(operations: &Arc<OnRegisters>) -> Addr<Indication> {
    let operations = operations.clone();
    Addr::new(move |indication: Indication| {
        let Indication {
            register,
            operation,
            outcome,
        } = indication;
        operations.returned(&register, operation, outcome);
    })
}

/// From now on operations go to this algorithm.
fn open(operations: &OnRegisters, algorithm: Addr<Request>) {
    operations.open(algorithm.with(|begun: Begun<Bytes, Action>| Request {
        register: begun.object,
        operation: begun.operation,
        action: begun.action,
    }));
}

impl Registers<Bytes> {
    /// Registers of the process `me` without a node, for tests of code that stands on registers. Operations
    /// that begin go to `algorithm`, at most `window` at a time. An operation has returned when the test
    /// sends its indication to the returned address.
    pub fn alone(
        me: ProcessId,
        window: usize,
        algorithm: Addr<Request>,
    ) -> (Self, Addr<Indication>) {
        let limits = Limits {
            messages: window,
            bytes: usize::MAX,
        };
        let operations = Arc::new(Operations::new(limits, Sharing::of_a_kind()));
        let up = returns(&operations);
        open(&operations, algorithm);
        let registers = Registers {
            operations,
            codec: Coding::by::<Raw>(),
            limit: usize::MAX,
            writer: None,
            me,
        };
        (registers, up)
    }
}

/// Registers that are being declared.
pub(super) struct Declared<T> {
    pub limits: Limits,
    /// The longest sum of a name and a value, in bytes.
    pub longest: usize,
    pub writer: Option<ProcessId>,
    pub codec: Coding<T>,
    /// The rule by which operations wait for slow peers.
    pub wait: Wait,
}

/// Registers.
impl Wiring {
    /// Starts registers by their name here. Of those with one writer, `writer` is it.
    ///
    /// # Errors
    /// When they need the perfect failure detector, and there is none.
    pub fn registers(
        &self,
        registers: Algorithm,
        writer: ProcessId,
        up: Addr<Indication>,
    ) -> Result<Addr<Request>, NeedsPerfect> {
        registers.spawn(&self.host, &self.links, self.perfect.as_ref(), writer, up)
    }
}

/// Registers.
impl Builder {
    /// Declares atomic registers with values of type `T`, which every process reads and writes, by name:
    /// their operations are linearizable. They use majorities, and need no leader and no failure detector:
    /// operations return as long as a majority is alive.
    ///
    /// # Errors
    /// When the name is used already.
    pub fn registers<T>(&mut self, name: impl Into<Coded<T>>) -> Result<Registers<T>, StartError> {
        self.registers_of(name.into(), Algorithm::MultiWriterMajority, None)
    }

    /// Like [`registers`](Builder::registers), by this algorithm: see
    /// [`Registers`](quorate_stacks::registers::Registers), which can also be parsed from its name. Some
    /// algorithms have one writer: then `writer` is that process, the same on every process. For algorithms
    /// in which all processes write, `writer` is `None`. Only the algorithms that are called atomic there
    /// are linearizable, and promise that no read returns an older value than a read that returned before
    /// it.
    ///
    /// # Errors
    /// When the algorithm has one writer and none is named, or all processes write and a writer is named;
    /// when the writer is no process of the cluster; when the algorithm needs the perfect failure detector
    /// and the system is not [assumed to be synchronous](Builder::assume_synchronous); or when the name is
    /// used already.
    pub fn registers_with<T>(
        &mut self,
        name: impl Into<Coded<T>>,
        registers: Algorithm,
        writer: Option<ProcessId>,
    ) -> Result<Registers<T>, StartError> {
        match writer {
            None if registers.has_one_writer() => Err(StartError::WantsWriter(registers.name())),
            Some(_) if !registers.has_one_writer() => {
                Err(StartError::ManyWriters(registers.name()))
            }
            Some(me) if me.rank() > self.processes() => {
                let n = self.processes();
                Err(StartError::NotMember { me, n })
            }
            writer => self.registers_of(name.into(), registers, writer),
        }
    }

    fn registers_of<T>(
        &mut self,
        Coded { name, codec }: Coded<T>,
        registers: Algorithm,
        writer: Option<ProcessId>,
    ) -> Result<Registers<T>, StartError> {
        self.check_detector(registers.needs(), registers.name())?;
        let algorithms = match writer {
            // Processes that disagree on the writer must not talk to each other.
            Some(writer) => format!("{}:written-by-{writer}", registers.algorithms()),
            None => registers.algorithms().to_owned(),
        };
        let declared = Declared {
            limits: self.limits,
            longest: self.longest_register(),
            writer,
            codec,
            wait: wait_for(registers.needs()),
        };
        let writer = writer.unwrap_or(self.me);
        let wire = move |wiring: Wiring, up| Ok(wiring.registers(registers, writer, up)?);
        self.wire_registers(
            &name,
            &codec.of(&name, &algorithms),
            declared,
            |_, _| Ok(()),
            wire,
        )
    }

    /// The longest sum of a name and a value in bytes, where a message carries one register.
    pub(super) fn longest_register(&self) -> usize {
        self.link.maximum_message.saturating_sub(HEADS)
    }

    /// Declares registers that `wire` starts. `admit` decides whether an operation may begin.
    pub(super) fn wire_registers<T>(
        &mut self,
        name: &str,
        algorithms: &str,
        declared: Declared<T>,
        admit: impl Fn(&Bytes, &Action) -> Result<(), MemoryError> + Send + Sync + 'static,
        wire: impl FnOnce(Wiring, Addr<Indication>) -> Result<Addr<Request>, StartError>
        + Send
        + 'static,
    ) -> Result<Registers<T>, StartError> {
        let operations = Operations::new(declared.limits, Sharing::of_a_kind());
        let operations = Arc::new(operations.admitting(admit));
        let (told, wait) = (operations.clone(), declared.wait);
        self.fallible_module(name, algorithms, move |wiring| {
            let up = returns(&told);
            wiring.pressure(wait, told.pressure());
            open(&told, wire(wiring, up)?);
            Ok(())
        })?;
        self.handles.agreements.push(operations.clone());
        Ok(Registers {
            operations,
            limit: declared.longest,
            writer: declared.writer,
            me: self.me,
            codec: declared.codec,
        })
    }
}
