//! Impossibility results, as executions that show them: what an algorithm would have to do is done, and a
//! checker says what breaks.
//!
//! | module | what cannot be had |
//! |---|---|
//! | [`lower_bound`] | shared objects that return under each failure pattern of a system that has no generalized quorum system |

pub mod lower_bound;
