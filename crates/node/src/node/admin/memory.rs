//! Shared memory that an operator asks for: registers, a snapshot, lattice agreement.
use super::{
    Admin,
    agreements::{Failure, refused},
};
use crate::node::{
    registers::{NotDone, Unreturned},
    unwritten::Held,
};
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use quorate_abstractions::{lattice::Union, lattice_agreement, register, snapshot};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

/// The longest value of a segment, and of the elements of a proposal together.
const MAXIMUM: usize = 4096;

/// The most bytes of all that is joined: each proposal carries all of it. What others join at the same time is
/// not known here, and not counted.
const MAXIMUM_JOINED: usize = 32 * 1024;

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
pub struct Snapshot {
    /// What this process's segment is to be before.
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

type Asked<T> = Result<Json<T>, JsonRejection>;

fn answer(done: Result<Value, Failure>) -> Response {
    match done {
        Ok(value) => Json(value).into_response(),
        Err(Failure(code, words)) => (code, words + "\n").into_response(),
    }
}

/// Reads a register.
pub async fn read(State(admin): State<Admin>, asked: Asked<Read>) -> Response {
    answer(match asked {
        Ok(Json(asked)) => admin.read(asked).await,
        Err(rejection) => Err(rejection.into()),
    })
}

/// Writes a register.
pub async fn write(State(admin): State<Admin>, asked: Asked<Write>) -> Response {
    answer(match asked {
        Ok(Json(asked)) => admin.write(asked).await,
        Err(rejection) => Err(rejection.into()),
    })
}

/// Updates this process's segment, if asked to, and scans all.
pub async fn snapshot(State(admin): State<Admin>, asked: Asked<Snapshot>) -> Response {
    answer(match asked {
        Ok(Json(asked)) => admin.snapshot(asked).await,
        Err(rejection) => Err(rejection.into()),
    })
}

/// Proposes elements; answers with those that are decided.
pub async fn join(State(admin): State<Admin>, asked: Asked<Join>) -> Response {
    answer(match asked {
        Ok(Json(asked)) => admin.join(asked).await,
        Err(rejection) => Err(rejection.into()),
    })
}

impl Admin {
    async fn read(&self, asked: Read) -> Result<Value, Failure> {
        let wait = self.wait(asked.timeout_ms);
        let outcome = self
            .operate(asked.register, register::Action::Read, "read", wait)
            .await?;
        match outcome {
            register::Outcome::Read { tag, value } => Ok(json!({
                "value": value.map(|value| text(&value)),
                "timestamp": tag.timestamp,
                "writer": tag.writer.map(quorate_core::ProcessId::rank),
            })),
            register::Outcome::Written { .. } => Err(unexpected()),
            register::Outcome::Refused(refusal) => Err(conflict(&refusal, "read")),
        }
    }

    async fn write(&self, asked: Write) -> Result<Value, Failure> {
        let wait = self.wait(asked.timeout_ms);
        let action = register::Action::Write(asked.value.into());
        match self
            .operate(asked.register, action, "written", wait)
            .await?
        {
            // Without the tag: those who share an operation do not share that.
            register::Outcome::Written { .. } => Ok(json!({ "written": true })),
            register::Outcome::Read { .. } => Err(unexpected()),
            register::Outcome::Refused(refusal) => Err(conflict(&refusal, "written")),
        }
    }

    async fn operate(
        &self,
        register: String,
        action: register::Action,
        done: &str,
        wait: Duration,
    ) -> Result<register::Outcome, Failure> {
        let deadline = Instant::now() + wait;
        self.check_first("registers", done, wait, deadline).await?;
        let place =
            self.memory
                .registers
                .submit(register.into(), action, deadline, Held::uncounted());
        let mut place = place.await.map_err(|not_done| match not_done {
            NotDone::Refused(refusal) => refused(refusal, done, wait),
            NotDone::TooMuch(words) => Failure::bad(words),
        })?;
        place.outcome(deadline).await.map_err(|unreturned| {
            Failure::unavailable(match unreturned {
                Unreturned::NotBegun => format!(
                    "an earlier operation on the register has not returned within {wait:?}; not {done}"
                ),
                Unreturned::UnderWay => no_quorum(wait),
            })
        })
    }

    async fn snapshot(&self, asked: Snapshot) -> Result<Value, Failure> {
        let wait = self.wait(asked.timeout_ms);
        let deadline = Instant::now() + wait;
        self.check_first("snapshot", "scanned", wait, deadline)
            .await?;
        let turns = &self.memory.snapshot;
        let updates = asked.update.is_some();
        if let Some(value) = asked.update {
            check_length(value.len())?;
            let update = turns.ask(snapshot::Action::Update(value.into()));
            match outcome(update, "updated", wait, deadline).await? {
                snapshot::Outcome::Updated => {}
                snapshot::Outcome::Scanned(_) => return Err(unexpected()),
                snapshot::Outcome::Refused(refusal) => return Err(conflict(&refusal, "updated")),
            }
        }
        let scanned = self.scan(wait, deadline).await;
        scanned.map_err(|Failure(code, words)| {
            let done = if updates {
                "the segment is updated, but not scanned: "
            } else {
                ""
            };
            Failure(code, format!("{done}{words}"))
        })
    }

    async fn scan(&self, wait: Duration, deadline: Instant) -> Result<Value, Failure> {
        let scan = self.memory.snapshot.ask(snapshot::Action::Scan);
        match outcome(scan, "scanned", wait, deadline).await? {
            snapshot::Outcome::Scanned(view) => {
                let segments = view.iter().map(|segment| {
                    let written = segment.sequence > 0;
                    json!({
                        "sequence": segment.sequence,
                        "value": written.then(|| text(&segment.value)),
                    })
                });
                Ok(json!({ "segments": segments.collect::<Vec<_>>() }))
            }
            snapshot::Outcome::Updated => Err(unexpected()),
            snapshot::Outcome::Refused(refusal) => Err(conflict(&refusal, "scanned")),
        }
    }

    async fn join(&self, asked: Join) -> Result<Value, Failure> {
        let wait = self.wait(asked.timeout_ms);
        let deadline = Instant::now() + wait;
        let module = "lattice agreement";
        self.check_first(module, "joined", wait, deadline).await?;
        check_length(asked.elements.iter().map(String::len).sum())?;
        let turns = &self.memory.joined;
        let elements = Union(asked.elements.into_iter().collect());
        let known = turns.ask(Union::default());
        let known = decided(outcome(known, "joined", wait, deadline).await?)?;
        let all = known.0.union(&elements.0).map(|element| element.len() + 8);
        if all.sum::<usize>() > MAXIMUM_JOINED {
            return Err(Failure::bad(format!(
                "the set would have more than {MAXIMUM_JOINED} bytes, and never gets smaller"
            )));
        }
        let proposed = turns.ask(elements);
        let decided = decided(outcome(proposed, "joined", wait, deadline).await?)?;
        Ok(json!({ "elements": decided.0 }))
    }
}

fn decided(outcome: lattice_agreement::Outcome<Union<String>>) -> Result<Union<String>, Failure> {
    match outcome {
        lattice_agreement::Outcome::Decided(value) => Ok(value),
        lattice_agreement::Outcome::Refused(refusal) => Err(conflict(&refusal, "joined")),
    }
}

async fn outcome<O>(
    asked: Result<oneshot::Receiver<O>, crate::node::turns::TooMany>,
    done: &str,
    wait: Duration,
    deadline: Instant,
) -> Result<O, Failure> {
    let outcome =
        asked.map_err(|too_many| Failure::unavailable(format!("{too_many}; not {done}")))?;
    match timeout_at(deadline, outcome).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_)) | Err(_) => Err(Failure::unavailable(no_quorum(wait))),
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

/// The module refuses, and nothing was done.
fn conflict(refusal: &impl std::fmt::Display, done: &str) -> Failure {
    Failure(StatusCode::CONFLICT, format!("{refusal}; not {done}"))
}

/// A module has answered something else than it was asked.
fn unexpected() -> Failure {
    let words = "the answer is to another question; outcome unknown";
    Failure(StatusCode::INTERNAL_SERVER_ERROR, words.into())
}

fn text(value: &Bytes) -> String {
    String::from_utf8_lossy(value).into_owned()
}
