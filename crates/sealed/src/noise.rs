//! The handshake `Noise_IK_25519_AESGCM_BLAKE2s`, with every random byte given.
use crate::{
    cipher::{AesGcm, Key},
    frame::{CARRIED, FIRST, SECOND, TAG},
    keys::Secret,
};
use snow::{
    Builder, HandshakeState,
    params::{CipherChoice, DHChoice, HashChoice, NoiseParams},
    resolvers::{CryptoResolver, DefaultResolver},
    types::{Cipher, Dh, Hash, Random},
};
use zeroize::Zeroizing;

const PATTERN: &str = "Noise_IK_25519_AESGCM_BLAKE2s";

/// The secret half of a key that one handshake uses.
pub type Ephemeral = Zeroizing<[u8; 32]>;

/// Gives one ephemeral secret, once.
struct Given(Option<Ephemeral>);

impl Random for Given {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        match self.0.take() {
            Some(secret) if out.len() == secret.len() => {
                out.copy_from_slice(&*secret);
                Ok(())
            }
            _ => Err(snow::Error::Rng),
        }
    }
}

struct Resolver(Ephemeral);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Given(Some(self.0.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        (*choice == CipherChoice::AESGCM).then(|| Box::new(AesGcm::default()) as Box<dyn Cipher>)
    }
}

fn builder(ephemeral: Ephemeral) -> Option<Builder<'static>> {
    let pattern: NoiseParams = PATTERN.parse().ok()?;
    Some(Builder::with_resolver(
        pattern,
        Box::new(Resolver(ephemeral)),
    ))
}

/// A handshake that this process has begun.
pub struct Begun(Box<HandshakeState>);

/// A handshake whose first message was read.
pub struct Read(HandshakeState);

/// The keys of a session, one in each direction.
pub struct Keys {
    own: Key,
    theirs: Key,
}

impl Begun {
    /// Begins a handshake with the process that has this link key.
    pub fn new(
        secret: &Secret,
        theirs: &[u8; 32],
        prologue: &[u8],
        ephemeral: Ephemeral,
    ) -> Option<(Begun, [u8; FIRST])> {
        let own = Zeroizing::new(secret.link_key().to_bytes());
        let builder = builder(ephemeral)?.prologue(prologue).ok()?;
        let builder = builder.local_private_key(&*own).ok()?;
        let mut state = builder
            .remote_public_key(theirs)
            .ok()?
            .build_initiator()
            .ok()?;
        let mut message = [0; FIRST];
        let length = state.write_message(&[], &mut message).ok()?;
        (length == FIRST).then(|| (Begun(Box::new(state)), message))
    }

    /// Reads the answer, and gives what it carries. A false answer changes nothing.
    pub fn read(&mut self, message: &[u8; SECOND]) -> Option<[u8; CARRIED]> {
        let mut payload = [0; SECOND];
        let length = self.0.read_message(message, &mut payload).ok()?;
        payload[..length].try_into().ok()
    }

    /// The keys, once the answer was read.
    pub fn keys(self) -> Option<Keys> {
        Keys::of(*self.0)
    }
}

impl Read {
    /// Reads a first message, and gives the sender's link key, of which the sender has the secret, or had it
    /// when this message was made.
    pub fn new(
        secret: &Secret,
        prologue: &[u8],
        ephemeral: Ephemeral,
        message: &[u8; FIRST],
    ) -> Option<(Read, [u8; 32])> {
        let own = Zeroizing::new(secret.link_key().to_bytes());
        let builder = builder(ephemeral)?.prologue(prologue).ok()?;
        let mut state = builder
            .local_private_key(&*own)
            .ok()?
            .build_responder()
            .ok()?;
        let length = state.read_message(message, &mut []).ok()?;
        let theirs = state.get_remote_static()?.try_into().ok()?;
        (length == 0).then_some((Read(state), theirs))
    }

    /// Writes the answer, which carries these bytes.
    pub fn answer(mut self, payload: [u8; CARRIED]) -> Option<([u8; SECOND], Keys)> {
        let mut message = [0; SECOND];
        let length = self.0.write_message(&payload, &mut message).ok()?;
        let keys = Keys::of(self.0)?;
        (length == SECOND).then_some((message, keys))
    }
}

impl Keys {
    /// The keys of a handshake that has ended, at the one who has begun it or at the other.
    fn of(mut state: HandshakeState) -> Option<Keys> {
        let began = state.is_initiator();
        if !state.is_handshake_finished() {
            return None;
        }
        // What the Noise protocol calls Split, without its transport: datagrams are encrypted where they stand.
        let (first, second) = state.dangerously_get_raw_split();
        let (first, second) = (Zeroizing::new(first), Zeroizing::new(second));
        let (own, theirs) = if began {
            (first, second)
        } else {
            (second, first)
        };
        Some(Keys {
            own: Key::new(&own)?,
            theirs: Key::new(&theirs)?,
        })
    }

    /// Encrypts the content where it stands, and gives its tag.
    pub fn seal(&self, counter: u64, content: &mut [u8]) -> Option<[u8; TAG]> {
        self.own.seal(counter, &[], content)
    }

    /// Decrypts the content where it stands. `false` if the peer has not sealed it under this counter.
    pub fn open(&self, counter: u64, content: &mut [u8], tag: [u8; TAG]) -> bool {
        self.theirs.open(counter, &[], content, tag)
    }
}
