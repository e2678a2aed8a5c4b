//! Where a peer is. A datagram that opens may come from elsewhere than before: because the peer has moved, or because
//! somebody has taken the original and sends it on.
use crate::frame::OVERHEAD;
use quorate_abstractions::addressed::Path;
use quorate_core::Time;

/// How often a new address is challenged.
const CHALLENGES: u32 = 4;
/// A new address gets at most so many times the bytes that came from it, challenges included.
const CREDIT: usize = 3;
/// The length of a challenge, and eight bytes.
const CHALLENGE: usize = OVERHEAD + 8;

/// An address that has not proven yet that the peer is there.
struct Candidate {
    path: Path,
    challenge: u64,
    tries: u32,
    due: Time,
    credit: usize,
}

/// The addresses of a peer.
#[derive(Default)]
pub struct Addresses {
    home: Path,
    candidate: Option<Candidate>,
}

impl Addresses {
    /// The address that counts.
    pub fn home(&self) -> Path {
        self.home
    }

    /// The new address, if datagrams of this length may go there too, and a challenge after them.
    pub fn beside(&mut self, length: usize) -> Option<Path> {
        let candidate = self
            .candidate
            .as_mut()
            .filter(|c| c.credit >= length + CHALLENGE)?;
        candidate.credit -= length;
        Some(candidate.path)
    }

    /// A datagram with the highest counter so far came from this address. Returns whether the address is new.
    pub fn heard_from(&mut self, path: Path, length: usize, challenge: u64, due: Time) -> bool {
        if path == self.home {
            return false;
        }
        match &mut self.candidate {
            Some(candidate) if candidate.path == path => {
                candidate.credit = candidate.credit.saturating_add(CREDIT * length);
                false
            }
            Some(_) | None => {
                self.candidate = Some(Candidate {
                    path,
                    challenge,
                    tries: 0,
                    due,
                    credit: CREDIT * length,
                });
                true
            }
        }
    }

    /// The challenge that is due, and where it goes. A candidate that does not answer is forgotten.
    pub fn challenge(&mut self, now: Time, next: Time) -> Option<(Path, u64)> {
        let candidate = self.candidate.as_mut().filter(|c| c.due <= now)?;
        if candidate.tries == CHALLENGES {
            self.candidate = None;
            return None;
        }
        candidate.tries += 1;
        candidate.due = next;
        candidate.credit = candidate.credit.checked_sub(CHALLENGE)?;
        Some((candidate.path, candidate.challenge))
    }

    /// When the next challenge is due.
    pub fn due(&self) -> Option<Time> {
        self.candidate.as_ref().map(|candidate| candidate.due)
    }

    /// An answer came from this address. Returns whether the peer has moved there.
    pub fn answered(&mut self, path: Path, answer: u64) -> bool {
        let is_right = |c: &Candidate| c.path == path && c.challenge == answer;
        if !self.candidate.as_ref().is_some_and(is_right) {
            return false;
        }
        self.go_to(path);
        true
    }

    /// The peer is there, and nowhere else.
    pub fn go_to(&mut self, path: Path) {
        self.home = path;
        self.candidate = None;
    }
}
