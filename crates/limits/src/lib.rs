//! Impossibility results, as executions that show them: an algorithm is run in the impossible setting, and a
//! checker says which property breaks.
//!
//! | module | what cannot be had |
//! |---|---|
//! | [`critical_section`] | a critical section that is safe and live where a client may be faulty |
//! | [`flp`] | a deterministic protocol that decides in every asynchronous run, where one process may crash |
//! | [`lower_bound`] | shared objects that return under each failure pattern of a system that has no generalized quorum system |
//! | [`rounds`] | consensus in f rounds, where f processes may crash |
//! | [`two_components`] | shared objects that return at two processes, where paths lead from one to the other and not back |
//! | [`two_servers`] | a replicated state machine where half of the servers may omit messages |
//! | [`undecided`] | the deployed consensus by a rotating coordinator, decided under every fair schedule |

mod chart;
pub mod critical_section;
pub mod flp;
pub mod lower_bound;
pub mod rounds;
pub mod two_components;
pub mod two_servers;
pub mod undecided;

use std::fmt::Display;

/// What is broken, in words.
fn named(broken: impl IntoIterator<Item: Display>) -> String {
    let broken = broken.into_iter().map(|horn| horn.to_string());
    let broken: Vec<_> = broken.collect();
    if broken.is_empty() {
        return "nothing".to_owned();
    }
    broken.join(", ")
}
