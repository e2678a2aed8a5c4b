//! Lattices of 64 bits at most.
use super::Lattice;
use quorate_core::wire::Plain;
use serde::{Deserialize, Serialize};

/// A set of up to 64 things: the join is the union.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Bits(pub u64);

/// Eight one-byte numbers: the join takes the larger of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PackedMaxima(pub [u8; 8]);

/// ⊥, two values that cannot be ordered, and ⊤ above both: the smallest lattice that has values without an
/// order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum FourPoint {
    #[default]
    Bottom,
    /// One of the two values that cannot be ordered.
    Left,
    /// The other value that cannot be ordered.
    Right,
    /// ⊤: the join of the two.
    Top,
}

impl Plain for Bits {}
impl Plain for PackedMaxima {}
impl Plain for FourPoint {}

impl Bits {
    /// The digest of the join of two values with these digests.
    pub fn joined(one: u64, other: u64) -> u64 {
        one | other
    }
}

impl PackedMaxima {
    /// The digest of the join of two values with these digests.
    pub fn joined(one: u64, other: u64) -> u64 {
        let mut joined = PackedMaxima(one.to_le_bytes());
        joined.join(&PackedMaxima(other.to_le_bytes()));
        joined.digest()
    }
}

impl Lattice for Bits {
    fn join(&mut self, other: &Self) {
        self.0 |= other.0;
    }

    fn digest(&self) -> u64 {
        self.0
    }
}

impl Lattice for PackedMaxima {
    fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = theirs.max(*mine);
        }
    }

    fn digest(&self) -> u64 {
        u64::from_le_bytes(self.0)
    }
}

impl Lattice for FourPoint {
    fn join(&mut self, other: &Self) {
        *self = match (*self, *other) {
            (FourPoint::Bottom, one) | (one, FourPoint::Bottom) => one,
            (FourPoint::Left, FourPoint::Left) => FourPoint::Left,
            (FourPoint::Right, FourPoint::Right) => FourPoint::Right,
            (FourPoint::Top, _)
            | (_, FourPoint::Top)
            | (FourPoint::Left, FourPoint::Right)
            | (FourPoint::Right, FourPoint::Left) => FourPoint::Top,
        };
    }

    /// One bit for each of the two values: digests are joined as [`Bits`] are.
    fn digest(&self) -> u64 {
        match self {
            FourPoint::Bottom => 0,
            FourPoint::Left => 1,
            FourPoint::Right => 2,
            FourPoint::Top => 3,
        }
    }
}
