//! Agreement that an operator asks for: one-shot consensus and atomic commit.
use super::Admin;
use crate::{
    node::{Store, modules::Agreed, replica::Refusal},
    settings::Stack,
};
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::FutureExt;
use quorate_abstractions::atomic_commit::{self, Vote};
use quorate_runtime::{
    Error, ProposeError,
    node::{Proposer, Voter},
};
use quorate_services::once::{MAXIMUM_VALUE, ProposalResult};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The longest wait that a request may ask for.
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

/// The modules that agree, apart from total order.
#[derive(Clone)]
pub struct Agreements {
    /// The consensus; `None`: total order decides.
    pub consensus: Option<Agreed>,
    /// The atomic commit.
    pub commit: Voter,
    /// The names of the algorithms behind them.
    pub stack: Stack,
}

/// `POST /commit`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ballot {
    instance: u64,
    vote: Word,
    /// How long to wait for the outcome; by default as long as clients of the store do.
    timeout_ms: Option<u64>,
}

/// A vote.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Yes,
    No,
}

/// Why there is no decision.
pub(super) struct Failure(pub StatusCode, pub String);

impl Failure {
    pub fn bad(words: impl Into<String>) -> Self {
        Failure(StatusCode::BAD_REQUEST, words.into())
    }

    pub fn unavailable(words: impl Into<String>) -> Self {
        Failure(StatusCode::SERVICE_UNAVAILABLE, words.into())
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Failure(rejection.status(), rejection.body_text())
    }
}

/// The answer when a module of the node fails.
pub(super) fn failed(error: &Error, module: &str, done: &str) -> Failure {
    match error {
        Error::StartedAgain => Failure(
            StatusCode::CONFLICT,
            format!(
                "this replica was started again: it counts in total order, but `{module}` has no place for \
                 it; not {done}"
            ),
        ),
        Error::TooLarge { .. } => Failure::bad(format!("{error}; not {done}")),
        Error::OutcomeUnknown => Failure::unavailable(error.to_string()),
        error => Failure::unavailable(format!("{error}; not {done}")),
    }
}

/// The answer when a request to an instance fails.
fn failed_in_instance(error: &ProposeError, module: &str, done: &str) -> Failure {
    match error {
        ProposeError::InstanceOver { .. } => Failure(StatusCode::GONE, error.to_string()),
        ProposeError::InstanceTooFar { .. } => Failure::bad(format!("{error}; not {done}")),
        ProposeError::Failed(error) => failed(error, module, done),
        error => Failure::unavailable(format!("{error}; not {done}")),
    }
}

fn answer(instance: u64, decided: Result<String, Failure>) -> Response {
    match decided {
        Ok(decided) => Json(json!({ "instance": instance, "decided": decided })).into_response(),
        Err(Failure(code, words)) => (code, words + "\n").into_response(),
    }
}

/// Proposes, and answers with what was decided, whoever proposed it.
pub async fn propose(
    State(admin): State<Admin>,
    proposal: Result<Json<Proposal>, JsonRejection>,
) -> Response {
    match proposal {
        Ok(Json(proposal)) => {
            let instance = proposal.instance;
            answer(instance, admin.propose(proposal).await)
        }
        Err(rejection) => answer(0, Err(rejection.into())),
    }
}

/// Votes, and answers with the outcome.
pub async fn commit(
    State(admin): State<Admin>,
    ballot: Result<Json<Ballot>, JsonRejection>,
) -> Response {
    match ballot {
        Ok(Json(ballot)) => {
            let instance = ballot.instance;
            answer(instance, admin.commit(ballot).await)
        }
        Err(rejection) => answer(0, Err(rejection.into())),
    }
}

impl Admin {
    pub(super) fn wait(&self, timeout_ms: Option<u64>) -> Duration {
        let wait = timeout_ms.map_or(self.deadline, Duration::from_millis);
        wait.min(LONGEST_WAIT)
    }

    async fn propose(&self, proposal: Proposal) -> Result<String, Failure> {
        let instance = counted(proposal.instance)?;
        let (value, wait) = (proposal.value, self.wait(proposal.timeout_ms));
        if value.len() > MAXIMUM_VALUE {
            let length = value.len();
            return Err(Failure::bad(format!(
                "`value` has {length} bytes, but at most {MAXIMUM_VALUE} are agreed on"
            )));
        }
        match &self.agreements.consensus {
            None => self.propose_in_order(instance, &value, wait).await,
            Some(consensus) => self.propose_to(consensus, instance, &value, wait).await,
        }
    }

    /// Proposes in the total order, whose first proposal is decided.
    async fn propose_in_order(
        &self,
        instance: u64,
        value: &str,
        wait: Duration,
    ) -> Result<String, Failure> {
        let Store::Ordered(replica) = &self.store else {
            return Err(Failure(
                StatusCode::CONFLICT,
                "`by-total-order` needs total order: this cluster is consistency = \"register\"; choose \
                 another `consensus`"
                    .into(),
            ));
        };
        let deadline = Instant::now() + wait;
        let proposed = replica.propose(instance, value.as_bytes(), deadline).await;
        let decision = proposed.map_err(|refusal| refused(refusal, "proposed", wait))?;
        let Ok(decided) = timeout_at(deadline, decision).await else {
            return Err(Failure::unavailable(format!(
                "no majority answered within {wait:?}; the proposal may still be decided"
            )));
        };
        match decided {
            Ok(ProposalResult::Decided(value)) => Ok(text(&value)),
            Ok(ProposalResult::Forgotten { up_to }) => Err(Failure(
                StatusCode::GONE,
                format!("what was decided up to instance {up_to} is not remembered any more"),
            )),
            Ok(ProposalResult::Refused) => Err(Failure::bad("this cannot be proposed")),
            Err(_) => Err(Failure::unavailable("the outcome cannot be known here")),
        }
    }

    async fn propose_to(
        &self,
        consensus: &Agreed,
        instance: u64,
        value: &str,
        wait: Duration,
    ) -> Result<String, Failure> {
        let chosen = self.agreements.stack.consensus;
        let deadline = Instant::now() + wait;
        self.check_first(chosen.name(), "proposed", wait, deadline)
            .await?;
        let decided = match (consensus, value) {
            (Agreed::Texts(proposer), value) => {
                let value = value.to_owned();
                decision(proposer, instance, &value, deadline).await
            }
            (Agreed::Bits(proposer), "0" | "1") => {
                let bit = value == "1";
                let decided = decision(proposer, instance, &bit, deadline).await;
                decided.map(|decided| decided.map(|bit| u8::from(bit).to_string()))
            }
            (Agreed::Bits(_), _) => {
                let name = chosen.name();
                return Err(Failure::bad(format!(
                    "`{name}` agrees on 0 or 1 and on nothing else"
                )));
            }
        };
        match decided {
            Ok(decided) => {
                decided.map_err(|error| failed_in_instance(&error, chosen.name(), "proposed"))
            }
            Err(Late::NotBegun) => Err(no_room(wait, "proposed")),
            Err(Late::Begun) => Err(Failure::unavailable(format!(
                "no decision within {wait:?}: have all replicas proposed in this instance? The \
                 proposal stands"
            ))),
        }
    }

    async fn commit(&self, ballot: Ballot) -> Result<String, Failure> {
        let instance = counted(ballot.instance)?;
        let wait = self.wait(ballot.timeout_ms);
        let deadline = Instant::now() + wait;
        let name = self.agreements.stack.commit.name();
        self.check_first(name, "voted", wait, deadline).await?;
        let vote = match ballot.vote {
            Word::Yes => Vote::Yes,
            Word::No => Vote::No,
        };
        let voter = &self.agreements.commit;
        let voted = async {
            match voter.vote(instance, vote).await {
                Err(ProposeError::RequestedTwice { .. }) => voter.outcome(instance).await,
                outcome => outcome,
            }
        };
        let (has_begun, outcome) = (|| voter.has_voted(instance), voter.outcome(instance));
        match in_time(voted, deadline, has_begun, outcome).await {
            Ok(Ok(atomic_commit::Outcome::Commit)) => Ok("commit".into()),
            Ok(Ok(atomic_commit::Outcome::Abort)) => Ok("abort".into()),
            Ok(Err(error)) => Err(failed_in_instance(&error, name, "voted")),
            Err(Late::NotBegun) => Err(no_room(wait, "voted")),
            Err(Late::Begun) => Err(Failure::unavailable(format!(
                "no outcome within {wait:?}: votes are missing, or a replica that `{name}` waits for \
                 is gone. The vote stands"
            ))),
        }
    }

    /// Only the first incarnation of a seat has a place in modules beside total order.
    pub(super) async fn check_first(
        &self,
        module: &str,
        done: &str,
        wait: Duration,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let voter = self.view.voter(deadline).await;
        voter.map_err(|words| refused(Refusal::NotVoter(words), done, wait))?;
        if self.view.came_later() {
            return Err(Failure(
                StatusCode::CONFLICT,
                format!(
                    "this replica was started again: it counts in total order, but `{module}` has no \
                     place for it; not {done}"
                ),
            ));
        }
        Ok(())
    }
}

/// The answer when a request never began, because too many instances are open or the peers have no room.
fn no_room(wait: Duration, done: &str) -> Failure {
    Failure::unavailable(format!(
        "no room within {wait:?}: too many instances are undecided already; not {done}"
    ))
}

/// How a request stands when its deadline has passed.
enum Late {
    /// The request was not made to the module, and will not be.
    NotBegun,
    /// The request was made, and stands.
    Begun,
}

/// Waits for a request until the deadline. After that it returns the decision if there already is one, or
/// else whether the request was made.
async fn in_time<D>(
    request: impl Future<Output = Result<D, ProposeError>>,
    deadline: Instant,
    has_begun: impl FnOnce() -> bool,
    decision: impl Future<Output = Result<D, ProposeError>>,
) -> Result<Result<D, ProposeError>, Late> {
    if let Ok(decided) = timeout_at(deadline, request).await {
        return Ok(decided);
    }
    if has_begun() {
        return Err(Late::Begun);
    }
    match decision.now_or_never() {
        Some(Ok(decided)) => Ok(Ok(decided)),
        Some(Err(_)) | None => Err(Late::NotBegun),
    }
}

/// Proposes the value in an instance, unless this process has proposed there already. Returns the decision.
async fn decision<T>(
    proposer: &Proposer<T>,
    instance: u64,
    value: &T,
    deadline: Instant,
) -> Result<Result<T, ProposeError>, Late>
where
    T: Serialize + DeserializeOwned,
{
    let proposed = async {
        match proposer.propose(instance, value).await {
            Err(ProposeError::RequestedTwice { .. }) => proposer.decision(instance).await,
            decided => decided,
        }
    };
    let has_begun = || proposer.has_proposed(instance);
    in_time(proposed, deadline, has_begun, proposer.decision(instance)).await
}

/// Refuses instance 0: instances are numbered from 1.
fn counted(instance: u64) -> Result<u64, Failure> {
    if instance == 0 {
        let words = "`instance` is 0, but instances count from 1";
        return Err(Failure::bad(words));
    }
    Ok(instance)
}

fn text(value: &Bytes) -> String {
    String::from_utf8_lossy(value).into_owned()
}

pub(super) fn refused(refusal: Refusal, done: &str, wait: Duration) -> Failure {
    Failure::unavailable(match refusal {
        Refusal::NotVoter(words) => format!("{words}; not {done}"),
        Refusal::NoQuorum => {
            format!("no majority answered what came before within {wait:?}; not {done}")
        }
    })
}
