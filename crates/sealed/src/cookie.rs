//! Codes and cookies: what a stranger's datagram costs before any key agreement.
//!
//! The first code of INITIATE shows that its sender knows the receiver's identity: what is sent at random costs
//! one hash. The second one shows that its sender has received a cookie, which is bound to the address, the seat
//! and the start, and good for two to four minutes. The receiver stores none of them.
use crate::{
    edge::Path,
    frame::{CODE, INITIATE_BODY, Initiate},
};
use quorate_core::{Incarnation, ProcessId, Random, Time};
use rand::Rng;
use std::{net::IpAddr, time::Duration};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const FIRST_CODE: &str = "quorate 2026 first code v1";
const SECOND_CODE: &str = "quorate 2026 second code v1";
const RETRY_CODE: &str = "quorate 2026 retry code v1";

/// How long cookies are made with one key.
const TURN: Duration = Duration::from_mins(2);

/// A code, or a cookie.
pub type Code = [u8; CODE];

/// The keys of the codes that a process checks; who knows its identity can compute them.
#[derive(Clone)]
pub struct CodeKeys {
    first: [u8; 32],
    retry: [u8; 32],
}

impl CodeKeys {
    /// The keys of the process with this link key.
    pub fn new(link: &[u8; 32]) -> CodeKeys {
        CodeKeys {
            first: blake3::derive_key(FIRST_CODE, link),
            retry: blake3::derive_key(RETRY_CODE, link),
        }
    }

    /// The first code of an INITIATE.
    pub fn first(&self, body: &[u8]) -> Code {
        code(&self.first, &[body])
    }

    /// The code of a RETRY, which only an answer to this INITIATE can have.
    pub fn retry(&self, cookie: &Code, question: &Code) -> Code {
        code(&self.retry, &[cookie, question])
    }

    /// Whether its sender knows the identity.
    pub fn admit(&self, initiate: &Initiate) -> bool {
        let (body, codes) = initiate.bytes.split_at(INITIATE_BODY);
        same(&self.first(body), &codes[..CODE])
    }
}

/// The first code that stands in an INITIATE.
pub fn first_of(initiate: &Initiate) -> Code {
    let mut code = [0; CODE];
    code.copy_from_slice(&initiate.bytes[INITIATE_BODY..][..CODE]);
    code
}

/// The second code of an INITIATE, over all that stands before it.
pub fn second(cookie: &Code, before: &[u8]) -> Code {
    let key = Zeroizing::new(blake3::derive_key(SECOND_CODE, cookie));
    code(&key, &[before])
}

/// Makes cookies, and recognises them.
#[derive(Default)]
pub struct Jar {
    /// The present key, and since when; then the one before.
    keys: Option<([u8; 32], Time, [u8; 32])>,
}

impl Jar {
    /// The cookie for this address, seat and start.
    pub fn cookie(
        &mut self,
        now: Time,
        rng: &mut Random,
        path: Path,
        (p, incarnation): (ProcessId, Incarnation),
    ) -> Code {
        let mut draw = || {
            let mut key = [0; 32];
            rng.fill_bytes(&mut key);
            key
        };
        let (key, since, before) = match self.keys {
            Some((key, since, before)) if now.since(since) < TURN => (key, since, before),
            Some((key, since, _)) if now.since(since) < 2 * TURN => (draw(), now, key),
            Some(_) | None => (draw(), now, draw()),
        };
        self.keys = Some((key, since, before));
        bound(&key, path, p, incarnation)
    }

    /// Whether the second code was made with a cookie for this address, seat and start.
    pub fn admits(&self, now: Time, path: Path, initiate: &Initiate) -> bool {
        let present = self
            .keys
            .filter(|(_, since, _)| now.since(*since) < 2 * TURN);
        let Some((key, _, before)) = present else {
            return false;
        };
        let (covered, found) = initiate.bytes.split_at(INITIATE_BODY + CODE);
        [key, before].iter().any(|key| {
            let cookie = bound(key, path, initiate.from, initiate.incarnation);
            same(&second(&cookie, covered), found)
        })
    }
}

fn bound(key: &[u8; 32], path: Path, p: ProcessId, incarnation: Incarnation) -> Code {
    let address = match path {
        Path::Listed => Vec::new(),
        Path::Address(address) => {
            let mut bytes = match address.ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            bytes.extend_from_slice(&address.port().to_le_bytes());
            bytes
        }
    };
    let start = incarnation.0.to_le_bytes();
    code(key, &[&[p.rank() as u8], &start, &address])
}

fn code(key: &[u8; 32], parts: &[&[u8]]) -> Code {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(part);
    }
    let mut short = [0; CODE];
    hasher.finalize_xof().fill(&mut short);
    short
}

fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
