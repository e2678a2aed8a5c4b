//! Acquires a lock, keeps it, and gives it back, at whichever replica answers.
use super::replicas::{Replicas, Reply};
use anyhow::{Result, bail};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How long one request waits for the lock before it is made again: so it is seen whether the replica answers.
const TURN: Duration = Duration::from_secs(1);

/// How much longer than its own times a replica may take.
const GRACE: Duration = Duration::from_secs(3);

/// The pause after no replica has answered.
const PAUSE: Duration = Duration::from_millis(200);

/// How long giving the lock back may take. If it fails, the end of the connection gives it back.
const RELEASE: Duration = Duration::from_secs(2);

/// A request for a lock.
pub struct Holder<'n> {
    lock: &'n str,
    owner: String,
    ttl: Duration,
    replicas: Replicas,
    /// When the last command was sent that is known to have renewed the request.
    renewed: Instant,
}

/// The end of the wait for a lock.
pub enum Acquired {
    /// The lock is held, with this token.
    With(u64),
    /// The time is over.
    NotInTime(String),
}

impl<'n> Holder<'n> {
    /// A request that was not made yet.
    pub fn new(lock: &'n str, owner: String, ttl: Duration, replicas: Replicas) -> Self {
        Holder {
            lock,
            owner,
            ttl,
            replicas,
            renewed: Instant::now(),
        }
    }

    /// Waits for the lock.
    pub async fn acquire(&mut self, wait: Option<Duration>) -> Result<Acquired> {
        let end = wait.map(|wait| Instant::now() + wait);
        let mut told = false;
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            // Zero would wait for ever.
            let turn = left
                .unwrap_or(TURN)
                .clamp(Duration::from_millis(1), TURN.min(self.ttl));
            let asked = Instant::now();
            let answer = self.ask_for_a_turn(turn).await;
            let why = match answer {
                Ok(Reply::Integer(token)) => {
                    // The lease has begun with the grant, which was later.
                    self.renewed = asked;
                    return Ok(Acquired::With(token));
                }
                Ok(Reply::Nothing) => "it is held by another".to_owned(),
                Ok(Reply::Refused(words)) => bail!("{words}"),
                Ok(Reply::Text(_)) => bail!("that is no replica of Quorate"),
                Err(error) => {
                    let why = format!("{error:#}");
                    if !told {
                        eprintln!("quorate: {why}; trying on");
                        told = true;
                    }
                    let pause = left.unwrap_or(PAUSE).min(PAUSE);
                    sleep(pause).await;
                    why
                }
            };
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(Acquired::NotInTime(why));
            }
        }
    }

    async fn ask_for_a_turn(&mut self, turn: Duration) -> Result<Reply> {
        let lease = self.ttl.as_millis().max(1).to_string();
        let wait = turn.as_millis().max(1).to_string();
        let words = [
            b"LOCK.ACQUIRE".as_slice(),
            self.lock.as_bytes(),
            self.owner.as_bytes(),
            b"LEASE",
            lease.as_bytes(),
            b"WAIT",
            wait.as_bytes(),
            b"STAY",
        ];
        self.replicas.ask(&words, turn + GRACE).await
    }

    /// Renews the lock until it is lost. Returns the reason.
    pub async fn keep(&mut self, token: u64) -> String {
        let token = token.to_string();
        loop {
            sleep_until(self.renewed + self.ttl / 3).await;
            let asked = Instant::now();
            let words = [
                b"LOCK.RENEW".as_slice(),
                self.lock.as_bytes(),
                token.as_bytes(),
            ];
            let limit = (self.ttl / 3).max(PAUSE);
            let lease = self.renewed + self.ttl;
            let Ok(answer) = timeout_at(lease, self.replicas.ask(&words, limit)).await else {
                return "no replica has renewed it in time".to_owned();
            };
            match answer {
                Ok(Reply::Integer(1)) => self.renewed = asked,
                Ok(Reply::Integer(_)) => return "it was taken over".to_owned(),
                Ok(Reply::Refused(words)) => return words,
                Ok(Reply::Text(_) | Reply::Nothing) => return "it was not renewed".to_owned(),
                Err(error) => {
                    if self.renewed.elapsed() >= self.ttl {
                        return format!("no replica has renewed it: {error:#}");
                    }
                    sleep((self.ttl / 20).min(PAUSE)).await;
                }
            }
        }
    }

    /// Gives the lock back; `false` if it is known that it was lost before.
    pub async fn release(mut self, token: u64) -> bool {
        let token = token.to_string();
        let end = Instant::now() + RELEASE;
        let words = [
            b"LOCK.RELEASE".as_slice(),
            self.lock.as_bytes(),
            token.as_bytes(),
        ];
        let mut is_first = true;
        while Instant::now() < end {
            match self.replicas.ask(&words, RELEASE).await {
                // A request before this one may have given it back.
                Ok(reply) => return !is_first || reply != Reply::Integer(0),
                Err(_) => is_first = false,
            }
            sleep(PAUSE).await;
        }
        true
    }
}
