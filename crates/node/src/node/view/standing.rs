//! Whether this process takes part, in the words of the replica.
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// Whether this process takes part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has not been admitted yet: too few others have met it.
    Joining,
    /// It has been admitted: it votes and serves.
    Voter,
    /// It was started again, and waits for its seat and for the state of the others.
    Newcomer,
    /// It may neither vote nor serve, which these words explain. Final.
    Excluded(String),
}

impl Standing {
    /// Whether it is known if this process takes part.
    pub fn is_settled(&self) -> bool {
        match self {
            Standing::Joining | Standing::Newcomer => false,
            Standing::Voter | Standing::Excluded(_) => true,
        }
    }

    /// The standing in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Standing::Joining => "joining",
            Standing::Voter => "voter",
            Standing::Newcomer => "newcomer",
            Standing::Excluded(_) => "excluded",
        }
    }

    /// What becomes of a process in this standing that is told that it may not take part.
    pub fn exclude(&self, reason: &str) -> Option<Standing> {
        let history = match self {
            Standing::Joining => "restarted without its memory, or shares its id with another",
            Standing::Newcomer => "was started again, and is not taken in",
            Standing::Voter => "was given up by others",
            Standing::Excluded(_) => return None,
        };
        Some(Standing::Excluded(format!(
            "this replica {history}, and may not vote or serve: {reason}"
        )))
    }
}

/// Waits until a process of this standing may take part. Otherwise why it may not.
pub async fn voter(standing: &watch::Receiver<Standing>, deadline: Instant) -> Result<(), String> {
    let mut standing = standing.clone();
    let _ = timeout_at(deadline, standing.wait_for(Standing::is_settled)).await;
    match &*standing.borrow() {
        Standing::Voter => Ok(()),
        Standing::Excluded(words) => Err(words.clone()),
        Standing::Joining => {
            Err("not admitted yet: too few others have met this replica".to_owned())
        }
        Standing::Newcomer => {
            Err("newcomer: this replica was started again and is catching up".to_owned())
        }
    }
}
