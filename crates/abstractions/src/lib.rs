//! The interfaces of the abstractions: requests, indications, properties. No algorithm.
//!
//! A module here contains what layers above may know of the layers below. Each module names the properties of
//! its abstraction by their textbook tags; the algorithms that implement it are in the crates above.
//!
//! | module | abstraction | properties |
//! |---|---|---|
//! | [`fair_loss`] | datagrams that may be lost, duplicated, reordered | FLL1–3 |
//! | [`addressed`] | …whose edge tells where they come from | |
//! | [`link`] | perfect point-to-point links, in lanes | PL1–3 |
//! | [`pressure`] | how much more a module may send | PR1–2 |
//! | [`heartbeat`] | a sign of life to everybody, outside the windows of the links | |
//! | [`perfect`] | the failure detector P | PFD1–2 |
//! | [`eventually_perfect`] | the failure detector ◇P | EPFD1–2 |
//! | [`leader`] | the eventual leader Ω | ELD1–2 |
//! | [`best_effort`] | best-effort broadcast | BEB1–3 |
//! | [`reliable`] | regular reliable broadcast | RB1–4 |
//! | [`uniform`] | uniform reliable broadcast | URB1–4 |
//! | [`first_in_first_out`] | first-in first-out broadcast | FRB1–5 |
//! | [`causal`] | causal-order broadcast | CRB1–5 |
//! | [`regular_consensus`] | regular consensus, many instances | C1–4 |
//! | [`consensus`] | uniform consensus, many instances | UC1–4 |
//! | [`regular_total_order`] | regular total-order broadcast | TOB1–5 |
//! | [`total_order`] | uniform total-order broadcast | TOB1–5 |
//! | [`reconfigurable`] | …among processes that are replaced when they come back without memory | TOB1–5 |
//! | [`terminating`] | terminating reliable broadcast | TRB1–4 |
//! | [`atomic_commit`] | non-blocking atomic commit, many instances | NBAC1–5 |
//! | [`group_membership`] | group membership | GMP1–4 |
//! | [`view_synchrony`] | view-synchronous broadcast | VS1–9 |
//! | [`register`] | registers, regular and atomic, many by name | ONRR1–2, ONAR1–3, NNAR1–2 |
//! | [`flooding`] | messages over any path of channels that may fail in one direction | FLD1–3 |
//! | [`quorum_access`] | a replicated state behind quorums | QAF1–3 |
//! | [`view_synchronizer`] | views that processes are in together | VS-ORD, VS-OVL |
//! | [`snapshot`] | single-writer atomic snapshot | SN1–2 |
//! | [`pair`] | two of the processes as a system of their own | |
//! | [`lattice`], [`lattice_agreement`] | agreement on values that can be joined | LA1–4 |

pub mod addressed;
pub mod atomic_commit;
pub mod best_effort;
pub mod causal;
pub mod consensus;
pub mod eventually_perfect;
pub mod fair_loss;
pub mod first_in_first_out;
pub mod flooding;
pub mod group_membership;
pub mod heartbeat;
pub mod lanes;
pub mod lattice;
pub mod lattice_agreement;
pub mod leader;
pub mod link;
mod numbered;
pub mod pair;
pub mod perfect;
pub mod pressure;
pub mod quorum_access;
pub mod reconfigurable;
pub mod register;
pub mod regular_consensus;
pub mod regular_total_order;
pub mod reliable;
pub mod snapshot;
pub mod terminating;
pub mod total_order;
pub mod uniform;
pub mod view_synchronizer;
pub mod view_synchrony;

use quorate_core::Addr;

/// The port of a shared module. Send it the address for its indications; that address first gets the current
/// state, then every change.
pub type Subscribe<Indication> = Addr<Addr<Indication>>;
