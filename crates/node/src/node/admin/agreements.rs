//! Agreement that an operator asks for: one-shot consensus.
use super::Admin;
use crate::node::replica::Refusal;
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use quorate_services::once::{MAXIMUM_VALUE, Outcome};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The longest that anybody may wait.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// `POST /propose`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    instance: u64,
    value: String,
    /// How long to wait for the decision; by default as long as clients of the store do.
    timeout_ms: Option<u64>,
}

fn answer(code: StatusCode, words: impl Into<String>) -> Response {
    (code, words.into() + "\n").into_response()
}

/// Proposes, and answers with what was decided, whoever proposed it.
pub async fn propose(
    State(admin): State<Admin>,
    proposal: Result<Json<Proposal>, JsonRejection>,
) -> Response {
    let Proposal {
        instance,
        value,
        timeout_ms,
    } = match proposal {
        Ok(Json(proposal)) => proposal,
        Err(rejection) => return answer(rejection.status(), rejection.body_text()),
    };
    if instance == 0 {
        let words = "`instance` is 0, but instances count from 1";
        return answer(StatusCode::BAD_REQUEST, words);
    }
    if value.len() > MAXIMUM_VALUE {
        let words = format!(
            "`value` has {} bytes, but at most {MAXIMUM_VALUE} are agreed on",
            value.len()
        );
        return answer(StatusCode::BAD_REQUEST, words);
    }
    let wait = timeout_ms.map_or(admin.deadline, Duration::from_millis);
    let wait = wait.min(LONGEST_WAIT);
    let deadline = Instant::now() + wait;
    let proposed = admin
        .replica
        .propose(instance, value.as_bytes(), deadline)
        .await;
    let unavailable = |words: String| answer(StatusCode::SERVICE_UNAVAILABLE, words);
    let decision = match proposed {
        Ok(decision) => decision,
        Err(Refusal::NotVoter(words)) => return unavailable(words + "; not proposed"),
        Err(Refusal::NoQuorum) => {
            return unavailable(format!(
                "no majority answered what came before within {wait:?}; not proposed"
            ));
        }
    };
    match timeout_at(deadline, decision).await {
        Ok(Ok(outcome)) => told(instance, outcome),
        Ok(Err(_)) => unavailable("the replica is stopping; the decision is unknown".into()),
        Err(_) => unavailable(format!(
            "no majority answered within {wait:?}; the proposal may still be decided"
        )),
    }
}

fn told(instance: u64, outcome: Outcome) -> Response {
    let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
    match outcome {
        Outcome::Decided(value) => {
            Json(json!({ "instance": instance, "decided": text(&value) })).into_response()
        }
        Outcome::Forgotten { up_to } => answer(
            StatusCode::GONE,
            format!("what was decided up to instance {up_to} is not remembered any more"),
        ),
        Outcome::Refused => answer(StatusCode::BAD_REQUEST, "this cannot be proposed"),
    }
}
