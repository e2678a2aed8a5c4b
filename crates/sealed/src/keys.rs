//! Who a process is: one secret, and the public identity that follows from it.
//!
//! The link key (X25519) and the signing key (Ed25519) are derived from the secret, each under a domain string
//! of its own, so that neither says anything about the other. Both have a text form:
//!
//! | text | layout |
//! |---|---|
//! | identity | `quorate-identity-1:` link key `:` signing key `:` checksum |
//! | secret | `quorate-secret-1:` secret `:` checksum |
//!
//! Keys are 64 lower-case hexadecimal digits and checksums 8, which find a slip of the pen, not a forger. There
//! is one text for each identity: nothing else is parsed.
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use std::{fmt, str::FromStr};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const IDENTITY: &str = "quorate-identity-1";
const SECRET: &str = "quorate-secret-1";

const LINK: &str = "quorate 2026 link key v1";
const SIGNING: &str = "quorate 2026 signing key v1";
const EPHEMERAL: &str = "quorate 2026 ephemeral secrets v1";
const IDENTITY_CHECKSUM: &str = "quorate 2026 identity checksum v1";
const SECRET_CHECKSUM: &str = "quorate 2026 secret checksum v1";
const STATEMENT: &str = "quorate 2026 signed statement v1";

/// Why a text is no identity or no secret. It never repeats the text, which may be a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// It does not have the right parts.
    #[error("not `{0}:` and its parts")]
    Format(&'static str),
    /// A part is not of the right length, or not in lower-case hexadecimal digits.
    #[error("the {0} is not in lower-case hexadecimal digits, or not of its length")]
    Digits(&'static str),
    /// The checksum is another.
    #[error("the checksum is wrong: a character was changed or lost")]
    Checksum,
    /// No secret has this public key.
    #[error("the {0} is not a usable key")]
    Weak(&'static str),
}

/// What makes a process this process: 32 random bytes. They are overwritten when dropped, and never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// The secret with these bytes, which must come from the operating system's generator.
    pub fn new(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }

    /// The public identity.
    pub fn identity(&self) -> Identity {
        Identity {
            link: PublicKey::from(&self.link_key()).to_bytes(),
            signing: self.signing_key().verifying_key().to_bytes(),
        }
    }

    /// The content of a file with this secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        let check = checksum::<4>(SECRET_CHECKSUM, &[&self.0]);
        let mut text = Zeroizing::new(String::with_capacity(SECRET.len() + 64 + 8 + 3));
        text.push_str(SECRET);
        text.push(':');
        push_hex(&mut text, &self.0);
        text.push(':');
        push_hex(&mut text, &check);
        text.push('\n');
        text
    }

    /// Reads the content of a file with a secret: one line, with or without its end.
    ///
    /// # Errors
    /// When the text is not exactly what [`Secret::to_text`] gives.
    pub fn parse(text: &str) -> Result<Secret, KeyError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let [secret, check] = parts(text, SECRET)?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex(secret, &mut *bytes, "secret")?;
        let mut found = [0; 4];
        hex(check, &mut found, "checksum")?;
        if found != checksum(SECRET_CHECKSUM, &[&*bytes]) {
            return Err(KeyError::Checksum);
        }
        Ok(Secret(*bytes))
    }

    /// Signs a statement.
    pub fn sign(&self, statement: &Statement<'_>) -> [u8; 64] {
        self.signing_key().sign(&statement.encode()).to_bytes()
    }

    pub(crate) fn link_key(&self) -> StaticSecret {
        StaticSecret::from(*self.derive(LINK))
    }

    fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.derive(SIGNING))
    }

    /// The key under which ephemeral secrets are drawn.
    pub(crate) fn ephemeral_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive(EPHEMERAL)
    }

    fn derive(&self, domain: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(domain, &self.0))
    }
}

/// The public keys of a process. It prints as one line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    link: [u8; 32],
    signing: [u8; 32],
}

impl Identity {
    /// The key of the link's handshake.
    pub const fn link_key(&self) -> &[u8; 32] {
        &self.link
    }

    /// A short name for people to compare, of 16 digits. Programs compare identities.
    pub fn fingerprint(&self) -> String {
        let mut text = String::with_capacity(16);
        let hash = checksum::<8>(IDENTITY_CHECKSUM, &[&self.link, &self.signing]);
        push_hex(&mut text, &hash);
        text
    }

    /// Whether the process with this identity has signed the statement.
    pub fn verifies(&self, statement: &Statement<'_>, signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.signing)
            .is_ok_and(|key| key.verify_strict(&statement.encode(), &signature).is_ok())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(IDENTITY.len() + 2 * 64 + 8 + 3);
        text.push_str(IDENTITY);
        let check = checksum::<4>(IDENTITY_CHECKSUM, &[&self.link, &self.signing]);
        for part in [&self.link[..], &self.signing, &check] {
            text.push(':');
            push_hex(&mut text, part);
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint())
    }
}

impl FromStr for Identity {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Identity, KeyError> {
        let [link_text, signing_text, check] = parts(text, IDENTITY)?;
        let (mut link, mut signing, mut found) = ([0; 32], [0; 32], [0; 4]);
        hex(link_text, &mut link, "link key")?;
        hex(signing_text, &mut signing, "signing key")?;
        hex(check, &mut found, "checksum")?;
        if found != checksum(IDENTITY_CHECKSUM, &[&link, &signing]) {
            return Err(KeyError::Checksum);
        }
        // With a point of small order, anybody could compute what the two would agree on.
        let probe = StaticSecret::from([1; 32]).diffie_hellman(&PublicKey::from(link));
        if !is_reduced(&link, 0) || !probe.was_contributory() {
            return Err(KeyError::Weak("link key"));
        }
        let key = VerifyingKey::from_bytes(&signing);
        if !is_reduced(&signing, 0x80) || !key.is_ok_and(|key| !key.is_weak()) {
            return Err(KeyError::Weak("signing key"));
        }
        Ok(Identity { link, signing })
    }
}

/// What a signature covers. Each part is written with its length, so that no two statements are the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    pub cluster: &'a str,
    /// The module, by its path.
    pub algorithm: &'a str,
    /// The instance, as the algorithm writes it.
    pub instance: &'a [u8],
    /// What the signer does with the bytes: `send`, `echo`, `prepare`, …
    pub role: &'a str,
    /// The bytes as they were received, never written anew.
    pub bytes: &'a [u8],
}

impl Statement<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 128);
        for part in [
            STATEMENT.as_bytes(),
            self.cluster.as_bytes(),
            self.algorithm.as_bytes(),
            self.instance,
            self.role.as_bytes(),
            self.bytes,
        ] {
            push_part(&mut out, part);
        }
        out
    }
}

/// Appends a part with its length.
pub(crate) fn push_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u64).to_le_bytes());
    out.extend_from_slice(part);
}

/// The parts of a text behind its first.
fn parts<'t, const N: usize>(text: &'t str, first: &'static str) -> Result<[&'t str; N], KeyError> {
    let mut parts = text.split(':');
    if parts.next() != Some(first) {
        return Err(KeyError::Format(first));
    }
    let mut found = [""; N];
    for part in &mut found {
        *part = parts.next().ok_or(KeyError::Format(first))?;
    }
    match parts.next() {
        None => Ok(found),
        Some(_) => Err(KeyError::Format(first)),
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

fn hex(text: &str, bytes: &mut [u8], what: &'static str) -> Result<(), KeyError> {
    let digits = text.as_bytes();
    if digits.len() != 2 * bytes.len() {
        return Err(KeyError::Digits(what));
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(KeyError::Digits(what)),
    };
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(())
}

/// Whether a coordinate is below the prime 2²⁵⁵ − 19, so that no other bytes stand for it. These bits of the last
/// byte do not belong to it.
fn is_reduced(bytes: &[u8; 32], besides: u8) -> bool {
    let [first, middle @ .., last] = bytes;
    let last = last & !besides;
    last < 0x7f || last == 0x7f && (*first < 0xed || middle.iter().any(|byte| *byte != 0xff))
}

fn checksum<const N: usize>(domain: &str, parts: &[&[u8]]) -> [u8; N] {
    let mut hasher = blake3::Hasher::new_derive_key(domain);
    for part in parts {
        hasher.update(part);
    }
    let mut short = [0; N];
    hasher.finalize_xof().fill(&mut short);
    short
}

#[cfg(test)]
mod tests;
