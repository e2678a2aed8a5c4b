//! What a stack needs to know of crashes.
pub use quorate_abstractions::perfect::NeedsPerfect;

/// What a stack needs to know of crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    Nothing,
    /// ◇P.
    EventuallyPerfect,
    /// Ω.
    Leader,
    /// P, which only a synchronous system supplies.
    Perfect,
}
