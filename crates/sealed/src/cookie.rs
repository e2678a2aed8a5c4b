//! Codes and cookies: what a stranger's datagram costs before any key agreement.
//!
//! The first code of INITIATE shows that its sender knows the receiver's identity: what is sent at random costs
//! one hash. The second one shows that its sender has received a cookie, and has the secret of a listed identity: so
//! nobody else can put a fresh cookie on a handshake that he has recorded. A cookie is bound to the address, the seat
//! and the start, and good for two to four minutes, and for one answer. The receiver stores none of them.
//!
//! The codes of RESPOND and RETRY, too, can be made by the two processes alone: forged ones cost a hash.
use crate::{
    frame::{CODE, INITIATE_BODY, Initiate, SHORT_CODE},
    keys::{Identity, Secret},
};
use quorate_abstractions::addressed::Path;
use quorate_core::{Incarnation, ProcessId, Random, Time};
use rand::Rng;
use std::{net::IpAddr, time::Duration};
use subtle::ConstantTimeEq;
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

const FIRST_CODE: &str = "quorate 2026 first code v1";
const SECOND_CODE: &str = "quorate 2026 second code v2";
const RETRY_CODE: &str = "quorate 2026 retry code v2";
const RESPOND_CODE: &str = "quorate 2026 respond code v1";

/// How long cookies are made with one key.
const TURN: Duration = Duration::from_mins(2);

/// A code, or a cookie.
pub type Code = [u8; CODE];

/// The key of the first code that a process checks; who knows its identity can compute it.
#[derive(Clone)]
pub struct CodeKeys {
    first: [u8; 32],
}

/// The keys that two processes have in common because each knows its own secret and the other's identity.
#[derive(Clone)]
pub struct PairKeys {
    second: Zeroizing<[u8; 32]>,
    retry: Zeroizing<[u8; 32]>,
    respond: Zeroizing<[u8; 32]>,
}

impl PairKeys {
    /// The keys that the process with this secret has in common with the one with this identity.
    pub fn new(secret: &Secret, theirs: &Identity) -> PairKeys {
        let theirs = PublicKey::from(*theirs.link_key());
        PairKeys::of(secret.link_key().diffie_hellman(&theirs).as_bytes())
    }

    /// Keys that everybody has, for a mutant.
    pub fn of_everybody() -> PairKeys {
        PairKeys::of(&[0; 32])
    }

    fn of(shared: &[u8; 32]) -> PairKeys {
        let derive = |domain| Zeroizing::new(blake3::derive_key(domain, shared));
        PairKeys {
            second: derive(SECOND_CODE),
            retry: derive(RETRY_CODE),
            respond: derive(RESPOND_CODE),
        }
    }

    /// The second code of an INITIATE, over all that stands before it.
    pub fn second(&self, cookie: &Code, before: &[u8]) -> Code {
        code(&self.second, &[cookie, before])
    }

    /// The code of a RETRY, which only an answer to this INITIATE can have.
    pub fn retry(&self, cookie: &Code, question: &Code) -> Code {
        code(&self.retry, &[cookie, question])
    }

    /// The code of a RESPOND, over all that stands before it.
    pub fn respond(&self, before: &[u8]) -> [u8; SHORT_CODE] {
        let mut short = [0; SHORT_CODE];
        short.copy_from_slice(&code(&self.respond, &[before])[..SHORT_CODE]);
        short
    }
}

impl CodeKeys {
    /// The keys of the process with this link key.
    pub fn new(link: &[u8; 32]) -> CodeKeys {
        CodeKeys {
            first: blake3::derive_key(FIRST_CODE, link),
        }
    }

    /// The first code of an INITIATE.
    pub fn first(&self, body: &[u8]) -> Code {
        code(&self.first, &[body])
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

/// Makes cookies, and recognises them.
#[derive(Default)]
pub struct Jar {
    /// The present key, and since when; then the one before.
    keys: Option<([u8; 32], Time, [u8; 32])>,
}

impl Jar {
    /// The cookie for this address, seat and start, when so many handshakes of the seat were answered.
    pub fn cookie(
        &mut self,
        now: Time,
        rng: &mut Random,
        path: Path,
        (p, incarnation): (ProcessId, Incarnation),
        answered: u64,
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
        bound(&key, path, p, incarnation, answered)
    }

    /// Whether the second code was made with a cookie for this address, seat and start since the last answer, and by a
    /// process with which one of these keys is in common.
    pub fn admits<'k>(
        &self,
        now: Time,
        path: Path,
        initiate: &Initiate,
        answered: u64,
        pairs: impl Iterator<Item = &'k PairKeys> + Clone,
    ) -> bool {
        let present = self
            .keys
            .filter(|(_, since, _)| now.since(*since) < 2 * TURN);
        let Some((key, _, before)) = present else {
            return false;
        };
        let (covered, found) = initiate.bytes.split_at(INITIATE_BODY + CODE);
        [key, before].iter().any(|key| {
            let cookie = bound(key, path, initiate.from, initiate.incarnation, answered);
            let mut pairs = pairs.clone();
            pairs.any(|pair| same(&pair.second(&cookie, covered), found))
        })
    }
}

fn bound(
    key: &[u8; 32],
    path: Path,
    p: ProcessId,
    incarnation: Incarnation,
    answered: u64,
) -> Code {
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
    let answered = answered.to_le_bytes();
    code(key, &[&[p.rank() as u8], &start, &answered, &address])
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

/// Whether two codes are the same; it takes as long wherever they differ.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
