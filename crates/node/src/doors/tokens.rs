//! The door for operators: bearer tokens, or client certificates.
use super::{Refused, users::Digest};
use crate::secret_file;
use anyhow::{Context, Result, ensure};
use std::{fmt, path::Path, sync::Arc};
use tokio::sync::watch;

/// The shortest token.
const SHORTEST: usize = 16;

/// The tokens that open the admin port. They are kept as their digests.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tokens(Vec<Digest>);

impl Tokens {
    /// Reads a file with a token a line: several, while they are replaced.
    ///
    /// # Errors
    /// When others can use the file, it has no token, or one is short.
    pub fn read(path: &Path) -> Result<Self> {
        let tokens = secret_file::read_lines(path)?;
        for token in &tokens {
            ensure!(
                token.len() >= SHORTEST,
                "{}: a token has at least {SHORTEST} characters: `quorate keys token` makes one",
                path.display()
            );
        }
        let digests = tokens.iter().map(|token| Digest::of(token.as_bytes()));
        Ok(Tokens(digests.collect()))
    }

    /// Whether this is one of them.
    pub fn has(&self, token: &[u8]) -> bool {
        Digest::of(token).is_among(&self.0)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

/// What opens the admin port, as it is now.
pub struct AdminDoor {
    tokens: watch::Sender<Arc<Option<Tokens>>>,
    /// Whether a client certificate opens it, too.
    certificates: bool,
    /// Wrong tokens.
    pub refused: Refused,
}

impl AdminDoor {
    /// A door that these tokens open, and certificates, if they do.
    pub fn new(tokens: Option<Tokens>, certificates: bool) -> Arc<Self> {
        Arc::new(AdminDoor {
            tokens: watch::Sender::new(Arc::new(tokens)),
            certificates,
            refused: Refused::default(),
        })
    }

    /// Whether everybody may come in.
    pub fn is_open(&self) -> bool {
        !self.certificates && self.tokens.borrow().is_none()
    }

    /// Whether this token opens it.
    pub fn opens(&self, token: &[u8]) -> bool {
        let tokens = self.tokens.borrow().clone();
        tokens
            .as_ref()
            .as_ref()
            .is_some_and(|tokens| tokens.has(token))
    }

    /// From now on these tokens open it.
    pub fn replace(&self, tokens: Option<Tokens>) {
        self.tokens.send_replace(Arc::new(tokens));
    }
}

/// The token of an `Authorization` header.
pub fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

/// Reads the one token, or password, that a client sends.
///
/// # Errors
/// When others can use the file, or it has no secret. Of several the first counts.
pub fn first_of(path: &Path) -> Result<zeroize::Zeroizing<String>> {
    let secrets = secret_file::read_lines(path)?;
    secrets
        .into_iter()
        .next()
        .with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        secret_file::create(&path, content.as_bytes(), "x").unwrap();
        (folder, path)
    }

    #[test]
    fn each_token_of_the_file_opens_until_it_is_taken_away() {
        let (_folder, path) = file("0123456789abcdef\nfedcba9876543210\n");
        let tokens = Tokens::read(&path).unwrap();
        let door = AdminDoor::new(Some(tokens.clone()), false);
        assert!(!door.is_open());
        for (token, opens) in [
            (&b"0123456789abcdef"[..], true),
            (b"fedcba9876543210", true),
            (b"0123456789abcde", false),
            (b"0123456789abcdef\n", false),
            (b"", false),
        ] {
            assert_eq!(door.opens(token), opens);
        }
        let shown = format!("{tokens:?}");
        assert_eq!(shown, "Tokens(2)");
        let (_folder, other) = file("another-token-of-length");
        door.replace(Some(Tokens::read(&other).unwrap()));
        assert!(!door.opens(b"0123456789abcdef") && door.opens(b"another-token-of-length"));
        door.replace(None);
        assert!(door.is_open() && !door.opens(b"another-token-of-length"));
    }

    #[test]
    fn without_tokens_certificates_alone_open() {
        let door = AdminDoor::new(None, true);
        assert!(!door.is_open() && !door.opens(b"") && !door.opens(b"x"));
        assert!(AdminDoor::new(None, false).is_open());
    }

    #[test]
    fn a_short_token_is_refused_and_not_repeated() {
        let (_folder, path) = file("0123456789abcdef\nhunter2\n");
        let words = format!("{:#}", Tokens::read(&path).unwrap_err());
        assert!(
            words.contains("at least 16") && !words.contains("hunter2"),
            "{words}"
        );
    }

    #[test]
    fn bearers_are_told_from_other_schemes() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer abc "), Some(&b"abc"[..]));
        for other in [&b"Basic abc"[..], b"Bearer", b"", b"abc", b"Bearerabc"] {
            assert_eq!(bearer(other), None);
        }
    }
}
