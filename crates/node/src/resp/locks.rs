//! Requests about locks. They take their turn alone: what the client has sent before is done first, and what it
//! sends later waits, as behind a blocking command of Redis.
//!
//! What a client holds and waits for ends with its connection. When the replica stops, it is left as it is.
use super::{
    answer::Answer,
    data::{is, unknown},
    table::wrong_number,
};
use bytes::Bytes;
use quorate_runtime::{
    Error, SubmitError,
    node::{Claim, LockError, Locks},
};
use quorate_services::kv::parse_integer;
use std::{collections::BTreeMap, future::Future, time::Duration};
use tokio::time::timeout;

/// How long a client waits for a lock that another one holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    No,
    For(Duration),
    ForEver,
}

/// A request about a lock, or a value that the lock guards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LockRequest {
    Acquire {
        lock: Bytes,
        owner: Bytes,
        /// How long the client may leave the lock without renewal; `None`: as long as its connection lasts.
        lease: Option<Duration>,
        wait: Wait,
        /// Whether it keeps its place in the queue when it does not wait any longer.
        stay: bool,
    },
    Renew {
        lock: Bytes,
        token: u64,
    },
    Release {
        lock: Bytes,
        token: u64,
    },
    /// Who holds the lock.
    Holder {
        lock: Bytes,
    },
    Get {
        lock: Bytes,
        token: u64,
        key: Bytes,
    },
    /// Sets a value, or removes it.
    Put {
        lock: Bytes,
        token: u64,
        key: Bytes,
        value: Option<Bytes>,
    },
}

/// The request of these words. The name, in small letters, and the number of words have been checked. The error
/// is what the client is told.
pub fn request(name: &'static str, words: Vec<Bytes>) -> Result<LockRequest, Answer> {
    let mut rest = words.into_iter();
    let mut next = || rest.next().ok_or_else(|| wrong_number(name));
    let lock = next()?;
    Ok(match name {
        "lock.acquire" => {
            let owner = next()?;
            return acquire(lock, owner, rest);
        }
        "lock.renew" => LockRequest::Renew {
            lock,
            token: token(&next()?)?,
        },
        "lock.release" => LockRequest::Release {
            lock,
            token: token(&next()?)?,
        },
        "lock.holder" => LockRequest::Holder { lock },
        "lock.get" => LockRequest::Get {
            lock,
            token: token(&next()?)?,
            key: next()?,
        },
        "lock.set" => LockRequest::Put {
            lock,
            token: token(&next()?)?,
            key: next()?,
            value: Some(next()?),
        },
        "lock.del" => LockRequest::Put {
            lock,
            token: token(&next()?)?,
            key: next()?,
            value: None,
        },
        _ => return Err(unknown(name.as_bytes())),
    })
}

fn acquire(
    lock: Bytes,
    owner: Bytes,
    mut options: impl Iterator<Item = Bytes>,
) -> Result<LockRequest, Answer> {
    let (mut lease, mut wait, mut stay) = (None, Wait::No, false);
    while let Some(option) = options.next() {
        let mut milliseconds = || {
            let word = options.next().ok_or_else(syntax)?;
            parse_integer(&word)
                .and_then(|number| u64::try_from(number).ok())
                .ok_or_else(|| Answer::error("ERR milliseconds are an integer from 0"))
        };
        if is(&option, "LEASE") {
            lease = match milliseconds()? {
                0 => return Err(Answer::error("ERR a LEASE is longer than 0 milliseconds")),
                number => Some(Duration::from_millis(number)),
            };
        } else if is(&option, "WAIT") {
            wait = match milliseconds()? {
                0 => Wait::ForEver,
                number => Wait::For(Duration::from_millis(number)),
            };
        } else if is(&option, "STAY") {
            stay = true;
        } else {
            return Err(syntax());
        }
    }
    if stay && wait == Wait::No {
        return Err(Answer::error("ERR STAY needs a WAIT"));
    }
    Ok(LockRequest::Acquire {
        lock,
        owner,
        lease,
        wait,
        stay,
    })
}

fn syntax() -> Answer {
    Answer::error("ERR syntax error")
}

fn token(word: &[u8]) -> Result<u64, Answer> {
    let number = parse_integer(word).and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| Answer::error("ERR a token is an integer from 0"))
}

/// What one client holds and waits for: it ends when this is dropped.
#[derive(Default)]
pub struct Claims(BTreeMap<(Bytes, u64), Claim>);

/// Why a client waits no longer for a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interruption {
    /// It has left: its request ends.
    Gone,
    /// The replica stops: its request stays, because the client may go on at another one.
    Stopping,
}

impl Claims {
    /// Serves a request. Each command that this takes may last as long as `deadline`. Only a wait for a lock is
    /// interrupted.
    pub async fn serve(
        &mut self,
        locks: &Locks,
        request: LockRequest,
        deadline: Duration,
        interruption: impl Future<Output = Interruption>,
    ) -> Answer {
        let served = self.try_serve(locks, request, deadline, interruption).await;
        served.unwrap_or_else(|refused| refused)
    }

    async fn try_serve(
        &mut self,
        locks: &Locks,
        request: LockRequest,
        deadline: Duration,
        interruption: impl Future<Output = Interruption>,
    ) -> Result<Answer, Answer> {
        Ok(match request {
            LockRequest::Acquire {
                lock,
                owner,
                lease,
                wait,
                stay,
            } => {
                let claim = locks.claim(&lock, &owner, lease, wait != Wait::No);
                let Some(mut claim) = in_time(claim, deadline).await? else {
                    return Ok(Answer::Null);
                };
                let token = claim.token();
                let held = tokio::select! {
                    biased;
                    held = waited(&mut claim, wait) => held,
                    interruption = interruption => match interruption {
                        Interruption::Gone => return Ok(Answer::Null),
                        Interruption::Stopping => {
                            claim.leave();
                            return Err(Answer::error("ERR the replica is stopping; not acquired"));
                        }
                    },
                };
                if held == Some(true) || held.is_none() && stay {
                    self.keep(lock, claim);
                }
                match held {
                    Some(true) => number(token),
                    Some(false) | None => Answer::Null,
                }
            }
            LockRequest::Renew { lock, token } => match self.present(&lock, token) {
                Some(claim) => {
                    let renewed = in_time(claim.renew(), deadline).await?;
                    truth(renewed)
                }
                None => match in_time(locks.attach(&lock, token), deadline).await? {
                    Some(claim) => {
                        self.keep(lock, claim);
                        truth(true)
                    }
                    None => truth(false),
                },
            },
            LockRequest::Release { lock, token } => {
                let released = in_time(locks.release(&lock, token), deadline).await?;
                self.0.remove(&(lock, token));
                truth(released)
            }
            LockRequest::Holder { lock } => match in_time(locks.holder(&lock), deadline).await? {
                Some(holder) => Answer::Array(vec![
                    number(holder.token),
                    Answer::Bulk(holder.owner),
                    number(holder.process.rank() as u64),
                    number(holder.waiting as u64),
                ]),
                None => Answer::Null,
            },
            LockRequest::Get { lock, token, key } => {
                let read = in_time(locks.read(&lock, token, &key), deadline).await?;
                read.map_or(Answer::Null, Answer::Bulk)
            }
            LockRequest::Put {
                lock,
                token,
                key,
                value,
            } => {
                let written = locks.write(&lock, token, &key, value.as_deref());
                in_time(written, deadline).await?;
                Answer::Simple("OK")
            }
        })
    }

    /// The claim of this connection, unless another connection has taken the request over, or it has ended.
    fn present(&self, lock: &Bytes, token: u64) -> Option<&Claim> {
        let claim = self.0.get(&(lock.clone(), token));
        claim.filter(|claim| !claim.has_ended())
    }

    /// Leaves all requests as they are: the replica stops, and the clients may go on at another one.
    pub fn leave(&mut self) {
        for (_, claim) in std::mem::take(&mut self.0) {
            claim.leave();
        }
    }

    /// Keeps a claim until its connection ends. Claims that have ended leave nothing.
    fn keep(&mut self, lock: Bytes, claim: Claim) {
        self.0.retain(|_, claim| !claim.has_ended());
        // The words share the buffer in which they came.
        let lock = Bytes::copy_from_slice(&lock);
        self.0.insert((lock, claim.token()), claim);
    }
}

/// Whether the lock is held; `None` if the time is over before that is known.
async fn waited(claim: &mut Claim, wait: Wait) -> Option<bool> {
    match wait {
        Wait::No => Some(claim.is_held()),
        Wait::For(time) => timeout(time, claim.held()).await.ok().map(|it| it.is_ok()),
        Wait::ForEver => Some(claim.held().await.is_ok()),
    }
}

/// What comes within the deadline. The error is what the client is told.
async fn in_time<T, E: Into<LockError>>(
    outcome: impl Future<Output = Result<T, E>>,
    deadline: Duration,
) -> Result<T, Answer> {
    match timeout(deadline, outcome).await {
        Ok(outcome) => outcome.map_err(|error| refused(&error.into())),
        Err(_) => Err(Answer::Error(format!(
            "NOQUORUM no majority answered within {deadline:?}; outcome unknown"
        ))),
    }
}

/// What a client is told whose request was not done.
fn refused(error: &LockError) -> Answer {
    Answer::Error(match error {
        LockError::Fenced { holder: Some(by) } => {
            format!("FENCED the lock is held with token {by}; nothing was done")
        }
        LockError::Fenced { holder: None } => {
            "FENCED nobody holds the lock; nothing was done".to_owned()
        }
        LockError::Failed(
            SubmitError::OutcomeUnknown | SubmitError::NotSubmitted(Error::OutcomeUnknown),
        ) => "ERR the replica is stopping; outcome unknown".to_owned(),
        error => format!("ERR {error}; not executed"),
    })
}

fn truth(it: bool) -> Answer {
    Answer::Integer(i64::from(it))
}

fn number(number: u64) -> Answer {
    Answer::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
