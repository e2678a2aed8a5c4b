//! Whether this process takes part: its role.
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// Whether this process takes part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// It has not been admitted yet: too few others have met it.
    Joining,
    /// It has been admitted: it votes and serves.
    Voter,
    /// It was started again, and waits for its seat and for the state of the others.
    Newcomer,
    /// It may neither vote nor serve, for this reason. Final.
    Excluded(String),
}

impl Role {
    /// Whether it is decided if this process takes part.
    pub fn is_settled(&self) -> bool {
        match self {
            Role::Joining | Role::Newcomer => false,
            Role::Voter | Role::Excluded(_) => true,
        }
    }

    /// The role in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Role::Joining => "joining",
            Role::Voter => "voter",
            Role::Newcomer => "newcomer",
            Role::Excluded(_) => "excluded",
        }
    }

    /// The role of a process after it was told that it may not take part; `None` if the role stays.
    pub fn exclude(&self, reason: &str) -> Option<Role> {
        let history = match self {
            Role::Joining => "restarted without its memory, or shares its id with another",
            Role::Newcomer => "was started again, and is not taken in",
            Role::Voter => "was given up by others",
            Role::Excluded(_) => return None,
        };
        Some(Role::Excluded(format!(
            "this replica {history}, and may not vote or serve: {reason}"
        )))
    }
}

/// Waits until a process of this role may take part. The error says why it may not.
pub async fn voter(role: &watch::Receiver<Role>, deadline: Instant) -> Result<(), String> {
    let mut role = role.clone();
    let _ = timeout_at(deadline, role.wait_for(Role::is_settled)).await;
    match &*role.borrow() {
        Role::Voter => Ok(()),
        Role::Excluded(words) => Err(words.clone()),
        Role::Joining => Err("not admitted yet: too few others have met this replica".to_owned()),
        Role::Newcomer => {
            Err("newcomer: this replica was started again and is catching up".to_owned())
        }
    }
}
