//! Impossibility results, as executions that show them: an algorithm is run in the impossible setting, and a
//! checker says which property breaks.
//!
//! | module | what cannot be had |
//! |---|---|
//! | [`lower_bound`] | shared objects that return under each failure pattern of a system that has no generalized quorum system |

pub mod lower_bound;
