//! Join-semilattices: values that can be joined, in any order, as often as one likes.
use quorate_core::wire::Wire;

/// A join-semilattice. The join is commutative, associative and idempotent; x ≤ y means that joining x
/// to y leaves y as it is. The default value is the least: ⊥.
pub trait Lattice: Clone + Default + PartialEq + Wire {
    /// Makes this value the least upper bound of itself and `other`.
    fn join(&mut self, other: &Self);

    /// Whether this value is at most `other`.
    fn is_at_most(&self, other: &Self) -> bool {
        let mut joined = other.clone();
        joined.join(self);
        joined == *other
    }

    /// What an observation can carry of the value: a digest, or, of small values, the value itself.
    fn digest(&self) -> u64;
}
