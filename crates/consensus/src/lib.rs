//! Uniform consensus, in many instances.
