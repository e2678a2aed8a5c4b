//! What the layer is given: who is who, what all must agree on, and the limits.
use crate::{
    keys::{Identity, Secret, push_part},
    mutant::Rules,
};
use quorate_core::ProcessId;
use std::{collections::BTreeMap, time::Duration};
use zeroize::Zeroizing;

const CONTEXT: &str = "quorate 2026 link context v1";

/// What two processes must agree on before they talk. It enters the handshake: processes that differ in it never have
/// common keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreed(pub(crate) [u8; 32]);

impl Agreed {
    /// The cluster, the version of the protocol, the stack, and the names of all lanes in order.
    pub fn new<S: AsRef<str>>(cluster: &str, version: u32, stack: &str, lanes: &[S]) -> Agreed {
        let mut bytes = Vec::new();
        push_part(&mut bytes, cluster.as_bytes());
        push_part(&mut bytes, &version.to_le_bytes());
        push_part(&mut bytes, stack.as_bytes());
        for lane in lanes {
            push_part(&mut bytes, lane.as_ref().as_bytes());
        }
        Agreed(blake3::derive_key(CONTEXT, &bytes))
    }

    /// Its first bytes, by which a process can say that another one differs.
    pub(crate) fn tag(&self) -> u32 {
        u32::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }
}

/// The limits of the layer, and its timeouts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// After so many datagrams a session gets new keys.
    pub renew_after_datagrams: u64,
    /// After this time, too.
    pub renew_after: Duration,
    /// How long the previous keys are read after a change.
    pub linger: Duration,
    /// After this time without an answer, a peer is asked for a new session.
    pub silence: Duration,
    /// The first pause before a handshake message is repeated; it doubles each time.
    pub shortest_pause: Duration,
    pub longest_pause: Duration,
    /// How many key agreements a second all those may cause who have not proven an address. Beyond that a cookie is
    /// asked for.
    pub strangers: u32,
    /// How many key agreements a second each member may cause with a cookie, and how many cookies a second go to its listed
    /// address.
    pub each_member: u32,
    /// How many cookies a second go elsewhere.
    pub cookies: u32,
    /// How many transmissions wait for a session, for each peer. If there are more, the oldest is lost.
    pub held: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            renew_after_datagrams: 1 << 32,
            renew_after: Duration::from_hours(1),
            linger: Duration::from_mins(1),
            silence: Duration::from_secs(15),
            shortest_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(5),
            strangers: 200,
            each_member: 20,
            cookies: 1000,
            held: 16,
        }
    }
}

/// Which process a datagram of the layer above claims to be from, if it says so. See
/// `quorate_links::perfect::claimed_sender`.
pub type Claims = fn(&[u8]) -> Option<ProcessId>;

/// What one process is given.
#[derive(Clone, Debug)]
pub struct Settings {
    pub secret: Secret,
    pub agreed: Agreed,
    /// The identities of each other seat: one, or two while keys are replaced.
    pub identities: BTreeMap<ProcessId, Vec<Identity>>,
    /// A datagram that claims another sender than its session's is dropped.
    pub claims: Claims,
    pub limits: Limits,
    /// Randomness of this start alone, from the operating system's generator. Secrecy after the loss of the secret rests
    /// on it, and on the host's generator.
    pub entropy: Zeroizing<[u8; 32]>,
    #[doc(hidden)]
    pub rules: Rules,
}

impl Settings {
    /// The settings with the usual limits, and no entropy besides the host's generator.
    pub fn new(
        secret: Secret,
        agreed: Agreed,
        identities: BTreeMap<ProcessId, Vec<Identity>>,
        claims: Claims,
    ) -> Settings {
        Settings {
            secret,
            agreed,
            identities,
            claims,
            limits: Limits::default(),
            entropy: Zeroizing::default(),
            rules: Rules::default(),
        }
    }
}
