//! One rule of the layer changed, for tests and demonstrations to catch.

/// What is changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// The nonce follows from the datagram of the layer above, so that a retransmission uses it again (M-E1).
    CounterFromAbove,
    /// The window is moved before the tag is checked, so that forged counters close it (M-E2).
    WindowBeforeTag,
    /// There is no window.
    NoWindow,
    /// Ephemeral secrets follow from the host's generator alone, so that a start whose generator begins like that of an
    /// earlier start uses the same keys again (M-E3).
    SecretsFromGenerator,
    /// The seat that a datagram claims says who sent it (M-E4).
    ClaimedSender,
    /// A handshake is answered although its number is not above the last one's.
    OldHandshakes,
    /// The peer's address follows every datagram that opens.
    EveryAddress,
    /// The codes that two processes have in common can be made by everybody, so that a recorded handshake gets a fresh
    /// cookie.
    CodesOfEverybody,
    /// Both ends of handshakes that crossed give up what they have answered, so that each seals for a session that the other
    /// one has forgotten.
    BothGiveUp,
    /// Strangers and members share one budget, and nobody needs a cookie.
    OneBudget,
}

/// The rules in force: those of the layer, or of a mutant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    #[cfg(any(test, feature = "mutants"))]
    changed: Option<Mutant>,
}

impl Rules {
    /// The rules of a mutant.
    #[cfg(any(test, feature = "mutants"))]
    pub const fn of(mutant: Mutant) -> Rules {
        Rules {
            changed: Some(mutant),
        }
    }

    /// Whether they are those of this mutant. In a node they never are.
    #[cfg(any(test, feature = "mutants"))]
    pub(crate) fn are_changed(self, mutant: Mutant) -> bool {
        self.changed == Some(mutant)
    }

    #[cfg(not(any(test, feature = "mutants")))]
    #[allow(clippy::unused_self, reason = "the signature is that of the other")]
    pub(crate) const fn are_changed(self, _: Mutant) -> bool {
        false
    }
}
