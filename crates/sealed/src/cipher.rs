//! AES-256 in Galois/Counter mode, by ring: what seals datagrams.
//!
//! The keys are expanded once a session, and not for each datagram.
use crate::frame::TAG;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use snow::{Error, types::Cipher};

/// A key of one direction.
pub struct Key(LessSafeKey);

impl Key {
    /// The key with these bytes.
    pub fn new(key: &[u8; 32]) -> Option<Key> {
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some(Key(LessSafeKey::new(key)))
    }

    /// Encrypts the content where it stands, and gives its tag.
    pub fn seal(&self, counter: u64, head: &[u8], content: &mut [u8]) -> Option<[u8; TAG]> {
        let key = &self.0;
        let tag = key.seal_in_place_separate_tag(nonce(counter), Aad::from(head), content);
        tag.ok()?.as_ref().try_into().ok()
    }

    /// Decrypts the content where it stands. `false` if the tag is not that of this content, which then is useless.
    pub fn open(&self, counter: u64, head: &[u8], content: &mut [u8], tag: [u8; TAG]) -> bool {
        let (key, head) = (&self.0, Aad::from(head));
        let opened =
            key.open_in_place_separate_tag(nonce(counter), head, Tag::from(tag), content, 0..);
        opened.is_ok()
    }
}

/// The cipher `AESGCM` of the Noise protocol.
#[derive(Default)]
pub struct AesGcm(Option<Key>);

/// The nonce of a message: the Noise protocol has the counter in big-endian order for this cipher.
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl Cipher for AesGcm {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = Key::new(key);
    }

    /// Returns 0 if there is no key, which the callers take for a failure.
    fn encrypt(&self, counter: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (Some(key), Some((content, rest))) =
            (&self.0, out.split_at_mut_checked(plaintext.len()))
        else {
            return 0;
        };
        content.copy_from_slice(plaintext);
        if let (Some(tag), Some(place)) =
            (key.seal(counter, authtext, content), rest.get_mut(..TAG))
        {
            place.copy_from_slice(&tag);
            plaintext.len() + TAG
        } else {
            content.fill(0);
            0
        }
    }

    fn decrypt(
        &self,
        counter: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let key = self.0.as_ref().ok_or(Error::Decrypt)?;
        let (content, tag) = ciphertext.split_last_chunk::<TAG>().ok_or(Error::Decrypt)?;
        let out = out.get_mut(..content.len()).ok_or(Error::Decrypt)?;
        out.copy_from_slice(content);
        if key.open(counter, authtext, out, *tag) {
            Ok(out.len())
        } else {
            Err(Error::Decrypt)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected bytes were computed by another implementation (OpenSSL), with the nonce that the Noise protocol makes of
    /// this counter.
    #[test]
    fn it_is_the_cipher_of_the_noise_protocol() {
        let mut cipher = AesGcm::default();
        cipher.set(&[7; 32]);
        let mut sealed = [0; 5 + TAG];
        assert_eq!(cipher.encrypt(3, b"head", b"hello", &mut sealed), 21);
        assert_eq!(
            sealed,
            [
                0xe0, 0x96, 0x06, 0x54, 0xf4, 0x59, 0xf5, 0xd2, 0x80, 0x06, 0x15, 0x8d, 0xb6, 0x14,
                0x4d, 0xb4, 0xac, 0xcd, 0x20, 0xc0, 0xa6
            ]
        );
        let mut clear = [0; 5];
        assert_eq!(cipher.decrypt(3, b"head", &sealed, &mut clear), Ok(5));
        assert_eq!(&clear, b"hello");
        assert!(cipher.decrypt(4, b"head", &sealed, &mut clear).is_err());
        assert!(cipher.decrypt(3, b"heat", &sealed, &mut clear).is_err());
        sealed[0] ^= 1;
        assert!(cipher.decrypt(3, b"head", &sealed, &mut clear).is_err());
    }

    #[test]
    fn without_a_key_or_without_room_nothing_is_sealed() {
        let cipher = AesGcm::default();
        assert_eq!(cipher.encrypt(0, b"", b"hello", &mut [0; 21]), 0);
        assert!(cipher.decrypt(0, b"", &[0; 21], &mut [0; 5]).is_err());
        let mut cipher = cipher;
        cipher.set(&[7; 32]);
        let mut short = [0; 20];
        assert_eq!(cipher.encrypt(0, b"", b"hello", &mut short), 0);
        assert_eq!(short, [0; 20]);
        assert!(cipher.decrypt(0, b"", &[0; 15], &mut [0; 5]).is_err());
        assert!(cipher.decrypt(0, b"", &[0; 21], &mut [0; 4]).is_err());
    }
}
