//! Shared memory that an operator asks for: registers, a snapshot, lattice agreement.
use super::{
    Admin,
    agreements::{Failure, failed, refused},
};
use crate::node::{
    registers::{Action, Done, NotDone, Registers, Unreturned},
    unwritten::Held,
};
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use quorate_abstractions::lattice::Union;
use quorate_runtime::{
    MemoryError,
    node::{LatticeProposer, Segments},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, error::Elapsed, timeout_at};

/// The most bytes of a segment's value, and of all elements of one proposal together.
const MAXIMUM: usize = 4096;

/// The most bytes of all joined elements: each proposal carries all of them. Elements that others join at the
/// same time are not known here, and not counted.
const MAXIMUM_JOINED: usize = 32 * 1024;

/// The shared memory of the replicas.
#[derive(Clone)]
pub struct Memory {
    pub registers: Registers,
    pub snapshot: Segments<String>,
    /// The lattice agreement.
    pub joined: LatticeProposer<Union<String>>,
}

/// `POST /registers/read`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    register: String,
    timeout_ms: Option<u64>,
}

/// `POST /registers/write`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    register: String,
    value: String,
    timeout_ms: Option<u64>,
}

/// `POST /registers/snapshot`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRequest {
    /// The value to give to this process's segment before the scan.
    update: Option<String>,
    timeout_ms: Option<u64>,
}

/// `POST /registers/join`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    elements: Vec<String>,
    timeout_ms: Option<u64>,
}

type Body<T> = Result<Json<T>, JsonRejection>;

fn answer(done: Result<Value, Failure>) -> Response {
    match done {
        Ok(value) => Json(value).into_response(),
        Err(Failure(code, words)) => (code, words + "\n").into_response(),
    }
}

/// Reads a register.
pub async fn read(State(admin): State<Admin>, asked: Body<Read>) -> Response {
    answer(match asked {
        Ok(Json(asked)) => admin.read(asked).await,
        Err(rejection) => Err(rejection.into()),
    })
}

/// Writes a register.
pub async fn write(State(admin): State<Admin>, asked: Body<Write>) -> Response {
    answer(match asked {
        Ok(Json(asked)) => admin.write(asked).await,
        Err(rejection) => Err(rejection.into()),
    })
}

/// Updates this process's segment, if asked to, and scans all.
pub async fn snapshot(State(admin): State<Admin>, asked: Body<ScanRequest>) -> Response {
    answer(match asked {
        Ok(Json(asked)) => admin.snapshot(asked).await,
        Err(rejection) => Err(rejection.into()),
    })
}

/// Proposes elements; answers with those that are decided.
pub async fn join(State(admin): State<Admin>, asked: Body<Join>) -> Response {
    answer(match asked {
        Ok(Json(asked)) => admin.join(asked).await,
        Err(rejection) => Err(rejection.into()),
    })
}

impl Admin {
    async fn read(&self, asked: Read) -> Result<Value, Failure> {
        let wait = self.wait(asked.timeout_ms);
        let outcome = self
            .operate(asked.register, Action::Read, "read", wait)
            .await?;
        match outcome {
            Done::Read { tag, value } => Ok(json!({
                "value": value.map(|value| text(&value)),
                "timestamp": tag.timestamp,
                "writer": tag.writer.map(quorate_core::ProcessId::rank),
            })),
            Done::Written => Err(unexpected()),
        }
    }

    async fn write(&self, asked: Write) -> Result<Value, Failure> {
        let wait = self.wait(asked.timeout_ms);
        let action = Action::Write(asked.value.into());
        match self
            .operate(asked.register, action, "written", wait)
            .await?
        {
            // The tag is left out: callers that share an operation do not share the tag.
            Done::Written => Ok(json!({ "written": true })),
            Done::Read { .. } => Err(unexpected()),
        }
    }

    async fn operate(
        &self,
        register: String,
        action: Action,
        done: &str,
        wait: Duration,
    ) -> Result<Done, Failure> {
        let deadline = Instant::now() + wait;
        self.check_first("registers", done, wait, deadline).await?;
        let registers = &self.memory.registers;
        let place = registers.submit(register.into(), action, deadline, Held::uncounted());
        let mut place = place.await.map_err(|not_done| match not_done {
            NotDone::Refused(refusal) => refused(refusal, done, wait),
            NotDone::TooMuch(words) => Failure::bad(words),
            NotDone::Failed(error) => failed_on_memory(&error, "registers", done),
        })?;
        place.outcome(deadline).await.map_err(|unreturned| {
            Failure::unavailable(match unreturned {
                Unreturned::NotBegun => {
                    format!("earlier operations have not returned within {wait:?}; not {done}")
                }
                Unreturned::InFlight => no_quorum(wait),
                Unreturned::Failed(error) => return failed_on_memory(&error, "registers", done),
            })
        })
    }

    async fn snapshot(&self, asked: ScanRequest) -> Result<Value, Failure> {
        const MODULE: &str = "snapshot";
        let wait = self.wait(asked.timeout_ms);
        let deadline = Instant::now() + wait;
        self.check_first(MODULE, "scanned", wait, deadline).await?;
        let segments = &self.memory.snapshot;
        let updates = asked.update.is_some();
        if let Some(value) = asked.update {
            check_length(value.len())?;
            let updated = timeout_at(deadline, segments.update(&value)).await;
            outcome(updated, MODULE, "updated", wait)?;
        }
        let scanned = timeout_at(deadline, segments.scan_numbered()).await;
        let scanned =
            outcome(scanned, MODULE, "scanned", wait).map_err(|Failure(code, words)| {
                let done = if updates {
                    "the segment is updated, but not scanned: "
                } else {
                    ""
                };
                Failure(code, format!("{done}{words}"))
            })?;
        let segments = scanned
            .iter()
            .map(|(sequence, value)| json!({ "sequence": sequence, "value": value }));
        Ok(json!({ "segments": segments.collect::<Vec<_>>() }))
    }

    async fn join(&self, asked: Join) -> Result<Value, Failure> {
        const MODULE: &str = "lattice agreement";
        let wait = self.wait(asked.timeout_ms);
        let deadline = Instant::now() + wait;
        self.check_first(MODULE, "joined", wait, deadline).await?;
        check_length(asked.elements.iter().map(String::len).sum())?;
        let proposer = &self.memory.joined;
        let elements = Union(asked.elements.into_iter().collect());
        let known = timeout_at(deadline, proposer.propose(&Union::default())).await;
        let known = outcome(known, MODULE, "joined", wait)?;
        let all = known.0.union(&elements.0).map(|element| element.len() + 8);
        if all.sum::<usize>() > MAXIMUM_JOINED {
            return Err(Failure::bad(format!(
                "the set would have more than {MAXIMUM_JOINED} bytes, and never gets smaller"
            )));
        }
        let decided = timeout_at(deadline, proposer.propose(&elements)).await;
        let decided = outcome(decided, MODULE, "joined", wait)?;
        Ok(json!({ "elements": decided.0 }))
    }
}

fn outcome<O>(
    returned: Result<Result<O, MemoryError>, Elapsed>,
    module: &str,
    done: &str,
    wait: Duration,
) -> Result<O, Failure> {
    let returned = returned.map_err(|_| Failure::unavailable(no_quorum(wait)))?;
    returned.map_err(|error| failed_on_memory(&error, module, done))
}

/// The answer when an operation on the shared memory fails.
fn failed_on_memory(error: &MemoryError, module: &str, done: &str) -> Failure {
    match error {
        MemoryError::StoreFull { .. } => Failure::bad(format!("{error}; not {done}")),
        MemoryError::Busy | MemoryError::Exhausted | MemoryError::NotWriter { .. } => {
            Failure(StatusCode::CONFLICT, format!("{error}; not {done}"))
        }
        MemoryError::Failed(error) => failed(error, module, done),
        error => Failure::unavailable(format!("{error}; not {done}")),
    }
}

fn no_quorum(wait: Duration) -> String {
    format!("no quorum answered within {wait:?}; outcome unknown")
}

fn check_length(length: usize) -> Result<(), Failure> {
    if length > MAXIMUM {
        return Err(Failure::bad(format!(
            "that is {length} bytes, but at most {MAXIMUM} are taken"
        )));
    }
    Ok(())
}

/// The answer when a module has returned the result of another kind of operation.
fn unexpected() -> Failure {
    let words = "the answer is to another question; outcome unknown";
    Failure(StatusCode::INTERNAL_SERVER_ERROR, words.into())
}

fn text(value: &Bytes) -> String {
    String::from_utf8_lossy(value).into_owned()
}
