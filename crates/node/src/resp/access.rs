//! Who a client is, and what it may do: it begins as a stranger where there are users, and shows a password.
//!
//! A stranger is served `AUTH`, `HELLO`, `RESET` and `QUIT` only, one request at a time, and has [a while](PATIENCE) to
//! show a password. Each wrong password is answered later than the one before. A session ends when its user is removed,
//! or the password that it has shown; other changes count from the next request on.
use super::{answer::Answer, table::Needs};
use crate::doors::{
    hall::Place,
    users::{ClientDoor, DEFAULT, Entered, Rights, Users},
};
use std::{
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;

/// How long a client may take to show a password.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How much later than a right one the first wrong password is answered. Each further one is answered twice as late,
const PENALTY: Duration = Duration::from_millis(250);

/// up to this limit.
const LONGEST_PENALTY: Duration = Duration::from_secs(4);

/// How many characters of a user's name the log shows.
const SHOWN: usize = 64;

/// What a client is told that comes when there is no room.
pub const NO_ROOM: &str = "ERR max number of clients reached";

/// Who a client is.
#[derive(Clone, Debug)]
enum Who {
    /// Nobody asks: there are no users.
    Anybody,
    /// That is not known yet.
    Stranger,
    /// Somebody who has shown a password, and what he may do.
    User(Entered, Rights),
    /// Somebody whose session is over.
    Dismissed,
}

impl Who {
    fn at_first(users: &Users) -> Who {
        if users.is_empty() {
            Who::Anybody
        } else {
            Who::Stranger
        }
    }

    /// Who this is when these are the users.
    fn now(self, users: &Users) -> Who {
        match self {
            Who::Anybody if users.is_empty() => Who::Anybody,
            Who::Stranger if !users.is_empty() => Who::Stranger,
            Who::User(entered, _) => match users.still(&entered) {
                Some(rights) => Who::User(entered, rights),
                None => Who::Dismissed,
            },
            Who::Anybody | Who::Stranger | Who::Dismissed => Who::Dismissed,
        }
    }
}

/// The access that one client has.
pub struct Access {
    door: Arc<ClientDoor>,
    users: watch::Receiver<Arc<Users>>,
    place: Place,
    who: Who,
    /// Until when a stranger may show a password.
    until: Instant,
    /// How many wrong passwords it has shown.
    wrong: u32,
    penalty: Option<Duration>,
    /// The client's address.
    from: String,
}

impl Access {
    /// Of a client at this address, which has this place. `None` if it need not show anything, and there is no room.
    pub fn new(door: &Arc<ClientDoor>, mut place: Place, from: impl ToString) -> Option<Self> {
        let mut users = door.users();
        let who = Who::at_first(&users.borrow_and_update());
        if matches!(who, Who::Anybody) && !place.admit() {
            return None;
        }
        Some(Access {
            door: door.clone(),
            users,
            place,
            who,
            until: Instant::now() + PATIENCE,
            wrong: 0,
            penalty: None,
            from: from.to_string(),
        })
    }

    /// Of a client that nobody asks.
    #[cfg(test)]
    pub fn open() -> Self {
        let hall = crate::doors::hall::Hall::new(1, 1);
        let door = ClientDoor::new(Users::default());
        Access::new(&door, hall.enter(), "test").unwrap()
    }

    /// Whether there is nobody to be asked for.
    pub fn is_open(&self) -> bool {
        matches!(self.who, Who::Anybody)
    }

    /// Whether the client has not yet shown who it is.
    pub fn is_stranger(&self) -> bool {
        matches!(self.who, Who::Stranger)
    }

    /// The name of the user.
    pub fn name(&self) -> &str {
        match &self.who {
            Who::User(entered, _) => &entered.name,
            Who::Anybody | Who::Stranger | Who::Dismissed => DEFAULT,
        }
    }

    /// Takes up changes of the users. Returns whether the session goes on.
    pub fn is_welcome(&mut self) -> bool {
        // The sender is in the door.
        if self.users.has_changed().unwrap_or(false) {
            let users = self.users.borrow_and_update().clone();
            self.who = self.who.clone().now(&users);
        }
        !matches!(self.who, Who::Dismissed)
    }

    /// Whether the client may run a command that needs this. The error is what it is told.
    pub fn may(&self, needs: Needs, command: &str) -> Result<(), Answer> {
        match (&self.who, needs) {
            (_, Needs::Nothing) | (Who::Anybody, _) | (Who::User(..), Needs::AnyUser) => Ok(()),
            (Who::User(_, rights), Needs::Rights(needed)) if rights.cover(needed) => Ok(()),
            (Who::User(..), Needs::Rights(_)) => Err(Answer::Error(format!(
                "NOPERM this user has no permissions to run the '{command}' command"
            ))),
            (Who::Stranger | Who::Dismissed, Needs::AnyUser | Needs::Rights(_)) => {
                Err(Answer::error("NOAUTH Authentication required."))
            }
        }
    }

    /// The client says that it is this user. The error is what it is told.
    pub fn authenticate(&mut self, name: &[u8], password: &[u8]) -> Result<(), Answer> {
        let users = self.users.borrow().clone();
        if let Some((entered, rights)) = users.enter(name, password) {
            self.who = Who::User(entered, rights);
            if !self.place.admit() {
                self.who = Who::Dismissed;
                return Err(Answer::error(NO_ROOM));
            }
            return Ok(());
        }
        let penalty = PENALTY.saturating_mul(2_u32.saturating_pow(self.wrong));
        self.wrong = self.wrong.saturating_add(1);
        self.penalty = Some(penalty.min(LONGEST_PENALTY));
        if let Some(times) = self.door.refused.upon_refusal(Instant::now()) {
            let name: String = String::from_utf8_lossy(name).chars().take(SHOWN).collect();
            let (name, from) = (name.escape_debug(), &self.from);
            warn!(%from, times, "wrong user or password, the user is `{name}`; said once a second");
        }
        Err(wrong_password())
    }

    /// The client is as if it had just connected.
    pub fn reset(&mut self) {
        self.who = Who::at_first(&self.users.borrow_and_update());
        self.until = Instant::now() + PATIENCE;
    }

    /// How long the client has to wait for its next reply, because it has shown a wrong password.
    pub fn take_penalty(&mut self) -> Option<Duration> {
        self.penalty.take()
    }

    /// Whether there is such a wait.
    pub fn has_penalty(&self) -> bool {
        self.penalty.is_some()
    }

    /// Waits until the session is over: the user was removed, or a stranger has taken too long.
    pub fn dismissal(&self) -> impl Future<Output = ()> + use<> {
        let (mut users, who, until) = (self.users.clone(), self.who.clone(), self.until);
        async move {
            let is_stranger = matches!(who, Who::Stranger);
            let changed = async {
                loop {
                    if users.changed().await.is_err() {
                        // The node stops.
                        pending::<()>().await;
                    }
                    let users = users.borrow_and_update();
                    if matches!(who.clone().now(&users), Who::Dismissed) {
                        return;
                    }
                }
            };
            let late = async {
                if !is_stranger {
                    pending::<()>().await;
                }
                sleep_until(until).await;
            };
            tokio::select! {
                () = changed => {}
                () = late => {}
            }
        }
    }
}

/// The answer to a wrong password.
pub fn wrong_password() -> Answer {
    Answer::error("WRONGPASS invalid username-password pair or user is disabled.")
}

#[cfg(test)]
mod tests;
