//! The authenticated link.
use super::{
    BOOK, clause,
    links::{datagrams, perfect_links},
    liveness, safety,
};
use crate::{
    algorithm::{Algorithm, Bound, Detector, Models, Mutant, Simulation, Substrate, Timing},
    gaps::Gap,
    handles::builder,
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_abstractions::{addressed::over, fair_loss};
use quorate_core::{Addr, Host, ProcessId};
use quorate_links::perfect::claimed_sender;
use quorate_sealed::{
    Agreed, Secret, Settings, layer,
    mutant::{Mutant as Rule, Rules},
    settings::Claims,
};
use quorate_sim::properties::{self, Channel};
use std::time::Duration;

/// Under which the mutants are shown.
const TAMPERED: Faults = Faults {
    tampering: 0.7,
    ..Faults::NONE
};

pub(super) static ALL: &[Algorithm] = &[Algorithm {
    name: "sealed",
    gap: Gap::Unaffected("it is a layer beneath the streams"),
    handle: builder("sealed"),
    aliases: &["authenticated-link"],
    title: "sealed datagrams",
    abstraction: "authenticated perfect link",
    file: "crates/sealed/src/layer.rs",
    source: BOOK,
    timing: Timing::Asynchronous,
    models: Models::OMISSION,
    bound: Bound::Any,
    detector: Detector::None,
    over: &["fair-loss link"],
    properties: &[
        liveness(
            "AL1",
            "reliable delivery: a message between correct processes is delivered, whatever others send",
        )
        .of(&[clause(
            "what a correct process sends to a correct one is delivered",
            "does not deliver",
        )]),
        safety("AL2", "no duplication, even of what others repeat").of(&[clause(
            "a message is delivered as often as it was sent, at most",
            "times",
        )]),
        safety(
            "AL3",
            "authenticity: what a correct process delivers from a correct one was sent by it",
        )
        .of(&[clause(
            "what is delivered from a process was sent by it",
            "sent 0 times",
        )]),
    ],
    cost: None,
    reads: None,
    rate: "2 datagrams a pair, once, then those of the perfect link, each 30 bytes longer",
    memory: "three sessions a peer, and 16 transmissions that wait for one",
    grows: false,
    rejoins: false,
    simulation: Simulation {
        substrate: Substrate::FairLoss,
        module: "link",
        done: "Deliver",
        wire: |wiring| wire_links(wiring, Rules::default()),
        check: |_| properties::authenticated_links(&Channel::Module("link".to_owned())),
    },
    mutants: &[
        Mutant {
            name: "window-before-tag",
            aliases: &[],
            change: "the window of counters moves before the tag is checked, and silent sessions are kept",
            breaks: "AL1",
            under: TAMPERED,
            wire: |wiring| wire_links(wiring, Rules::of(Rule::WindowBeforeTag)),
        },
        Mutant {
            name: "no-window",
            aliases: &[],
            change: "no datagram is refused as repeated, and the layer above does not look",
            breaks: "AL2",
            under: TAMPERED,
            wire: |wiring| {
                let layer = |up: Addr<fair_loss::Indication>| {
                    sealed(wiring, Rules::of(Rule::NoWindow), first_byte, up)
                };
                datagrams(wiring, "link", layer, 1)
            },
        },
        Mutant {
            name: "unsealed",
            aliases: &[],
            change: "datagrams are not sealed",
            breaks: "AL3",
            under: TAMPERED,
            wire: |wiring| datagrams(wiring, "link", wiring.fair_loss(), 1),
        },
    ],
}];

/// Bare datagrams claim their sender in their first byte.
fn first_byte(datagram: &[u8]) -> Option<ProcessId> {
    ProcessId::from_rank(usize::from(*datagram.first()?))
}

/// The layer over the simulated network, where everybody can compute everybody's secret.
fn sealed(
    wiring: &Wiring<'_>,
    rules: Rules,
    claims: Claims,
    up: Addr<fair_loss::Indication>,
) -> Addr<fair_loss::Transmit> {
    let host = wiring.host();
    let secret = |p: ProcessId| Secret::new([p.rank() as u8; 32]);
    let others = host.processes().iter().filter(|p| *p != host.me());
    let identities = others.map(|p| (p, vec![secret(p).identity()])).collect();
    let agreed = Agreed::new("laboratory", 1, "sealed", &["messages"]);
    let mut settings = Settings::new(secret(host.me()), agreed, identities, claims);
    settings.rules = rules;
    if rules == Rules::of(Rule::WindowBeforeTag) {
        settings.limits.silence = Duration::from_hours(1000);
    }
    layer::spawn(&host.at("sealed"), settings, over(wiring.fair_loss()), up).0
}

/// Perfect links over the layer.
fn wire_links(wiring: &Wiring<'_>, rules: Rules) -> RequestPort {
    perfect_links(wiring, |up: Addr<fair_loss::Indication>| {
        sealed(wiring, rules, claimed_sender, up)
    })
}
