//! Broken twins: algorithms with one rule spoiled, so that a checker can be seen to fire.
//!
//! Nothing but tests and demonstrations may use them.
use quorate_abstractions::{link::Links, uniform};
use quorate_broadcast::majority_ack;
use quorate_core::{Addr, Host};

/// Uniform broadcast that delivers as soon as one process, itself, holds the message: a sender that
/// delivers and crashes with all its copies leaves the others without (URB4).
pub fn uniform_on_one_ack<H: Host>(
    host: &H,
    links: &impl Links,
    up: Addr<uniform::Deliver>,
) -> Addr<uniform::Broadcast> {
    let (host, links) = (host.at("uniform"), links.at("uniform"));
    majority_ack::spawn_broken(&host, 1, links.lane(), up)
}
