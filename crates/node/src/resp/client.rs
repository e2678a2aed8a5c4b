//! What is known of each client, and the requests about its connection.
use super::{
    access::{Access, wrong_password},
    answer::{Answer, Protocol},
    data::is,
    scan::Limits,
    table::{shown, unknown_subcommand, wrong_number},
};
use crate::doors::users::DEFAULT;
use bytes::Bytes;
use quorate_services::kv::parse_integer;
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// The longest name, in bytes, that a client may give to itself or its library.
const MAXIMUM_NAME: usize = 1024;

const INVALID_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

const NOT_YET: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                       AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                       version at the same time";

/// All clients that are connected. Clones share them.
#[derive(Clone, Default)]
pub struct Clients(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    /// The last number that was given.
    last: u64,
    present: BTreeMap<u64, Facts>,
}

/// What `CLIENT LIST` and `CLIENT INFO` show of a client.
struct Facts {
    /// The client's address, and the address that it has connected to.
    addresses: [String; 2],
    user: String,
    name: Bytes,
    library: Bytes,
    library_version: Bytes,
    protocol: Protocol,
    since: Instant,
    last_read: Instant,
}

impl Clients {
    /// Registers a client that has connected, under the next number: no other client ever has the same.
    pub fn enter(&self, from: impl ToString, to: impl ToString, access: Access) -> Client {
        let now = Instant::now();
        let facts = Facts {
            addresses: [from.to_string(), to.to_string()],
            user: access.name().to_owned(),
            name: Bytes::new(),
            library: Bytes::new(),
            library_version: Bytes::new(),
            protocol: Protocol::Resp2,
            since: now,
            last_read: now,
        };
        let mut registry = self.registry();
        registry.last += 1;
        let id = registry.last;
        registry.present.insert(id, facts);
        drop(registry);
        Client {
            all: self.clone(),
            id,
            protocol: Protocol::Resp2,
            access,
        }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client, while it is connected.
pub struct Client {
    all: Clients,
    id: u64,
    protocol: Protocol,
    /// As whom it is served.
    pub access: Access,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.all.registry().present.remove(&self.id);
    }
}

impl Client {
    /// The version of the protocol that it has chosen.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What a request of it may have.
    pub fn limits(&self) -> &'static Limits {
        if self.access.is_stranger() {
            &Limits::STRANGER
        } else {
            &Limits::CLIENT
        }
    }

    /// Records that something was read from the client.
    pub fn upon_read(&self) {
        self.facts(|facts| facts.last_read = Instant::now());
    }

    /// Changes or reads the facts about the client.
    fn facts<T: Default>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        let mut registry = self.all.registry();
        registry
            .present
            .get_mut(&self.id)
            .map(change)
            .unwrap_or_default()
    }

    fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.facts(|facts| facts.protocol = protocol);
    }

    /// Answers `HELLO` with these arguments. Unless all of them are valid, nothing is changed.
    pub fn hello(&mut self, arguments: &[Bytes]) -> Answer {
        let (version, mut options) = match arguments.split_first() {
            None => (self.protocol, arguments),
            Some((version, options)) => match parse_integer(version) {
                Some(2) => (Protocol::Resp2, options),
                Some(3) => (Protocol::Resp3, options),
                Some(_) => return Answer::error("NOPROTO unsupported protocol version"),
                None => {
                    return Answer::error("ERR Protocol version is not an integer or out of range");
                }
            },
        };
        let (mut user, mut name) = (None, None);
        while let Some((option, rest)) = options.split_first() {
            options = match rest {
                [who, password, rest @ ..] if is(option, "AUTH") => {
                    user = Some((who, password));
                    rest
                }
                [chosen, rest @ ..] if is(option, "SETNAME") => {
                    if !is_name(chosen) {
                        return Answer::error(INVALID_NAME);
                    }
                    name = Some(chosen);
                    rest
                }
                _ => {
                    let option = shown(option);
                    return Answer::Error(format!("ERR Syntax error in HELLO option '{option}'"));
                }
            };
        }
        if let Some((user, password)) = user {
            if let Err(refused) = self.sign_in(user, password) {
                return refused;
            }
        } else if self.access.is_stranger() {
            return Answer::error(NOT_YET);
        }
        if let Some(name) = name {
            self.rename(name);
        }
        self.speak(version);
        self.greeting()
    }

    fn greeting(&self) -> Answer {
        let bulk = Answer::bulk;
        Answer::Map(vec![
            (bulk("server"), bulk("quorate")),
            (bulk("version"), bulk(env!("CARGO_PKG_VERSION"))),
            (bulk("proto"), Answer::Integer(self.protocol.number())),
            (bulk("id"), self.number()),
            (bulk("mode"), bulk("standalone")),
            (bulk("role"), bulk("master")),
            (bulk("modules"), Answer::Array(Vec::new())),
        ])
    }

    fn number(&self) -> Answer {
        Answer::Integer(i64::try_from(self.id).unwrap_or(i64::MAX))
    }

    fn rename(&self, name: &Bytes) {
        let name = Bytes::copy_from_slice(name);
        self.facts(|facts| facts.name = name);
    }

    /// Answers `AUTH` with these arguments. Without users it answers as a Redis does that has no passwords.
    pub fn authenticate(&mut self, arguments: &[Bytes]) -> Answer {
        let signed_in = match arguments {
            [_] if self.access.is_open() => Err(Answer::error(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            )),
            [password] => self.sign_in(DEFAULT.as_bytes(), password),
            [user, password] => self.sign_in(user, password),
            _ => Err(Answer::error("ERR syntax error")),
        };
        signed_in.err().unwrap_or(Answer::Simple("OK"))
    }

    /// The client says that it is this user. The error is what it is told.
    fn sign_in(&mut self, user: &[u8], password: &[u8]) -> Result<(), Answer> {
        if self.access.is_open() {
            let is_known = user == DEFAULT.as_bytes();
            return is_known.then_some(()).ok_or_else(wrong_password);
        }
        self.access.authenticate(user, password)?;
        self.know_user();
        Ok(())
    }

    fn know_user(&self) {
        let user = self.access.name().to_owned();
        self.facts(|facts| facts.user = user);
    }

    /// Answers `ACL` with these arguments.
    pub fn access_control(&self, arguments: &[Bytes]) -> Answer {
        match arguments {
            [what] if is(what, "WHOAMI") => {
                Answer::Bulk(Bytes::copy_from_slice(self.access.name().as_bytes()))
            }
            [what, _, ..] if is(what, "WHOAMI") => wrong_number("acl|whoami"),
            [what, ..] => unknown_subcommand(what, "ACL"),
            [] => wrong_number("acl"),
        }
    }

    /// Answers `RESET`: the client is as if it had just connected, except for its number.
    pub fn reset(&mut self) -> Answer {
        self.rename(&Bytes::new());
        self.access.reset();
        self.know_user();
        self.speak(Protocol::Resp2);
        Answer::Simple("RESET")
    }

    /// Answers `CLIENT` with these arguments.
    pub fn client(&self, arguments: &[Bytes]) -> Answer {
        let Some((what, rest)) = arguments.split_first() else {
            return wrong_number("client");
        };
        match (&what.to_ascii_uppercase()[..], rest) {
            (b"ID", []) => self.number(),
            (b"GETNAME", []) => {
                let name = self.facts(|facts| facts.name.clone());
                if name.is_empty() {
                    Answer::Null
                } else {
                    Answer::Bulk(name)
                }
            }
            (b"SETNAME", [name]) if is_name(name) => {
                self.rename(name);
                Answer::Simple("OK")
            }
            (b"SETNAME", [_]) => Answer::error(INVALID_NAME),
            (b"SETINFO", [what, value]) => self.set_info(what, value),
            (b"INFO", []) => Answer::Text(self.line().into()),
            (b"LIST", []) => Answer::Text(self.all.lines().into()),
            (b"NO-EVICT" | b"NO-TOUCH", [word]) if is(word, "ON") || is(word, "OFF") => {
                Answer::Simple("OK")
            }
            (b"NO-EVICT" | b"NO-TOUCH", [_]) => Answer::error("ERR syntax error"),
            (b"LIST", [..]) => Answer::error("ERR CLIENT LIST takes no filter here"),
            (
                b"ID" | b"GETNAME" | b"SETNAME" | b"SETINFO" | b"INFO" | b"NO-EVICT" | b"NO-TOUCH",
                _,
            ) => wrong_number(&format!("client|{}", shown(what).to_ascii_lowercase())),
            _ => unknown_subcommand(what, "CLIENT"),
        }
    }

    fn set_info(&self, what: &Bytes, value: &Bytes) -> Answer {
        let field: fn(&mut Facts) -> &mut Bytes = if is(what, "LIB-NAME") {
            |facts| &mut facts.library
        } else if is(what, "LIB-VER") {
            |facts| &mut facts.library_version
        } else {
            return Answer::Error(format!("ERR Unrecognized option '{}'", shown(what)));
        };
        if !is_name(value) {
            let what = shown(what);
            return Answer::Error(format!(
                "ERR {what} cannot contain spaces, newlines or special characters."
            ));
        }
        let value = Bytes::copy_from_slice(value);
        self.facts(|facts| *field(facts) = value);
        Answer::Simple("OK")
    }

    fn line(&self) -> String {
        self.facts(|facts| facts.line(self.id))
    }
}

impl Clients {
    fn lines(&self) -> String {
        let registry = self.registry();
        registry
            .present
            .iter()
            .map(|(id, facts)| facts.line(*id))
            .collect()
    }
}

impl Facts {
    fn line(&self, id: u64) -> String {
        let text = String::from_utf8_lossy;
        let mut line = String::new();
        let [from, to] = &self.addresses;
        // Writing to a string in memory does not fail.
        let _ = writeln!(
            line,
            "id={id} addr={from} laddr={to} name={} age={} idle={} flags=N db=0 user={} resp={} \
             lib-name={} lib-ver={}",
            text(&self.name),
            self.since.elapsed().as_secs(),
            self.last_read.elapsed().as_secs(),
            self.user,
            self.protocol.number(),
            text(&self.library),
            text(&self.library_version),
        );
        line
    }
}

/// Whether the name has only characters that may stand in a line of words.
fn is_name(name: &[u8]) -> bool {
    name.len() <= MAXIMUM_NAME && name.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests;
