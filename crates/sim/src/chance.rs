//! Draws from the world's generator that are the same on every machine. They use no floating-point functions,
//! whose last digit differs between platforms.
use quorate_core::Random;
use rand::Rng;
use std::time::Duration;

/// A number below `bound` (0 if the bound is 0).
pub(crate) fn below(rng: &mut Random, bound: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// True with this probability.
pub(crate) fn happens(rng: &mut Random, probability: f64) -> bool {
    // A run without faults draws nothing, so that a fault elsewhere does not change it.
    probability > 0.0 && ((rng.next_u64() >> 11) as f64) < probability * (1_u64 << 53) as f64
}

/// A duration in `minimum ..= maximum`.
pub(crate) fn between(rng: &mut Random, minimum: Duration, maximum: Duration) -> Duration {
    let width = maximum.saturating_sub(minimum).as_nanos() as u64;
    minimum + Duration::from_nanos(below(rng, width.saturating_add(1)))
}

/// A duration whose chance of lasting longer halves every `half_life`.
pub(crate) fn decaying(rng: &mut Random, half_life: Duration) -> Duration {
    let lives = rng.next_u64().trailing_zeros().min(16);
    half_life * lives + Duration::from_nanos(below(rng, half_life.as_nanos() as u64))
}
