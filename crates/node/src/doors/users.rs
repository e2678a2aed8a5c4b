//! Users, their passwords and their rights.
//!
//! A password is kept as its SHA-256 only, as Redis does it. So a password should be long and random: one that a person
//! has thought of can be guessed by whoever has got the digest.
use super::Refused;
use sha2::Digest as _;
use std::{collections::BTreeMap, fmt, ops::BitOr, sync::Arc};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::watch;

/// What a user may do: any combination of reading, writing, and what concerns all of the store or other clients.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    /// Reads keys.
    pub const READ: Rights = Rights(1);
    /// Changes keys and holds locks.
    pub const WRITE: Rights = Rights(2);
    /// Empties the store, and sees the other clients.
    pub const ADMIN: Rights = Rights(4);
    /// All of it.
    #[cfg(test)]
    pub const ALL: Rights = Rights(7);
    /// The rights, by their names in the settings.
    pub const NAMES: [(&str, Rights); 3] = [
        ("read", Rights::READ),
        ("write", Rights::WRITE),
        ("admin", Rights::ADMIN),
    ];

    /// These and those.
    pub const fn and(self, those: Rights) -> Rights {
        Rights(self.0 | those.0)
    }

    /// Whether all of `needed` are among them.
    pub const fn cover(self, needed: Rights) -> bool {
        self.0 & needed.0 == needed.0
    }

    /// The right of this name.
    pub fn named(name: &str) -> Option<Rights> {
        let known = Rights::NAMES.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, right)| right)
    }
}

impl BitOr for Rights {
    type Output = Rights;
    fn bitor(self, those: Rights) -> Rights {
        self.and(those)
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Rights::NAMES
            .into_iter()
            .filter(|(_, right)| self.cover(*right));
        f.debug_set().entries(held.map(|(name, _)| name)).finish()
    }
}

/// The SHA-256 of a secret.
#[derive(Clone)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of `secret`.
    pub fn of(secret: &[u8]) -> Self {
        Digest(sha2::Sha256::digest(secret).into())
    }

    /// The digest of these 64 hexadecimal digits.
    pub fn from_hexadecimal(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, place) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[place..place + 2], 16).ok()?;
        }
        Some(Digest(digest))
    }

    /// The digits.
    pub fn to_hexadecimal(&self) -> String {
        let mut text = String::new();
        append_hexadecimal(&self.0, &mut text);
        text
    }

    /// Whether it is one of these. That takes as long for each, and whether one was found early does not show.
    pub fn is_among(&self, known: &[Digest]) -> bool {
        let found = known
            .iter()
            .fold(Choice::from(0), |found, one| found | self.0.ct_eq(&one.0));
        found.into()
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// Appends two hexadecimal digits a byte.
pub fn append_hexadecimal(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
}

/// One user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// What he may do.
    pub rights: Rights,
    /// Any of these passwords is his: several, while they are replaced.
    pub passwords: Vec<Digest>,
}

/// All users. Without any, everybody may do everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Users(BTreeMap<String, User>);

/// The user that `AUTH PASSWORD` means, as in Redis.
pub const DEFAULT: &str = "default";

/// Somebody who has shown a password.
#[derive(Clone, Debug)]
pub struct Entered {
    /// His name.
    pub name: Arc<str>,
    /// The password that he has shown.
    password: Digest,
}

impl Users {
    /// Those of these names.
    pub fn new(users: BTreeMap<String, User>) -> Self {
        Users(users)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The user whose name and password these are, and his rights.
    pub fn enter(&self, name: &[u8], password: &[u8]) -> Option<(Entered, Rights)> {
        let password = Digest::of(password);
        let name = std::str::from_utf8(name).ok();
        let Some((name, user)) = name.and_then(|name| self.0.get_key_value(name)) else {
            // A name that nobody has takes as long as one that somebody has.
            let nobody = [Digest([0; 32])];
            let _ = std::hint::black_box(password.is_among(&nobody));
            return None;
        };
        let entered = Entered {
            name: name.as_str().into(),
            password,
        };
        let is_his = entered.password.is_among(&user.passwords);
        is_his.then_some((entered, user.rights))
    }

    /// What somebody may do who came in earlier; `None` if his password is not valid any more.
    pub fn still(&self, entered: &Entered) -> Option<Rights> {
        let user = self.0.get(&*entered.name)?;
        let is_valid = entered.password.is_among(&user.passwords);
        is_valid.then_some(user.rights)
    }
}

/// The door for clients: the users as they are now, and how many attempts were refused. It is shared by all connections.
pub struct ClientDoor {
    users: watch::Sender<Arc<Users>>,
    /// Wrong passwords.
    pub refused: Refused,
}

impl ClientDoor {
    /// A door for these users.
    pub fn new(users: Users) -> Arc<Self> {
        Arc::new(ClientDoor {
            users: watch::Sender::new(Arc::new(users)),
            refused: Refused::default(),
        })
    }

    /// The users, now and as they change.
    pub fn users(&self) -> watch::Receiver<Arc<Users>> {
        self.users.subscribe()
    }

    /// Whether everybody may come in.
    pub fn is_open(&self) -> bool {
        self.users.borrow().is_empty()
    }

    /// From now on these are the users. Open sessions follow.
    pub fn replace(&self, users: Users) {
        self.users.send_replace(Arc::new(users));
    }
}

#[cfg(test)]
mod tests;
