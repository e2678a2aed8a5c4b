//! Logs the requests and indications of the modules, at the finest level.
//!
//! Each request and each indication of a module is an event of the level `TRACE` with the target
//! `quorate::modules`. Its span is that of the module, inside that of the node. Once a batch, the tracer
//! checks outside of these spans whether the log's filter wants the events: so a filter can select them by
//! their target, but not by a span.
use crate::recorder::Recorder;
use quorate_core::{Name, Observation, Observe, actor::Probe, observe::Role};
use std::collections::BTreeMap;
use tracing::{Level, Span, trace, trace_span};

/// The target by which the log's filter selects them.
pub(crate) const TARGET: &str = "quorate::modules";

/// Whether the log's filter wants them now.
pub(crate) fn is_wanted() -> bool {
    tracing::enabled!(target: TARGET, Level::TRACE)
}

/// Logs what it observes.
pub(crate) struct Tracer {
    node: Span,
    modules: BTreeMap<Name, Span>,
}

impl Tracer {
    /// Logs in the span of this node.
    pub fn new(node: Span) -> Self {
        Tracer {
            node,
            modules: BTreeMap::new(),
        }
    }

    fn tell(&mut self, module: &Name, observation: &Observation) {
        let direction = match observation.role {
            Role::Request => "request",
            Role::Indication => "indication",
            // Events between the layers, and timers, are left out: the layers log their own requests and
            // indications.
            Role::Internal => return,
        };
        let Observation {
            label,
            instance,
            message: id,
            count,
            peer,
            ..
        } = *observation;
        let node = &self.node;
        let span = self
            .modules
            .entry(module.clone())
            .or_insert_with(|| trace_span!(target: TARGET, parent: node, "module", name = %module));
        span.in_scope(|| {
            let peer = peer.map(tracing::field::display);
            let id = id.map(tracing::field::display);
            trace!(target: TARGET, direction, instance, id, count, peer, "{label}");
        });
    }
}

impl Probe for Tracer {
    fn event(&mut self, actor: &Name, event: &dyn Observe) {
        self.tell(actor, &event.observe());
    }

    fn effect(&mut self, actor: &Name, effect: &dyn Observe) -> bool {
        self.tell(actor, &effect.observe());
        true
    }
}

/// Passes observations to both.
pub(crate) struct Both<'p>(pub &'p mut Recorder, pub &'p mut Tracer);

impl Probe for Both<'_> {
    fn event(&mut self, actor: &Name, event: &dyn Observe) {
        self.0.event(actor, event);
        self.1.event(actor, event);
    }

    fn effect(&mut self, actor: &Name, effect: &dyn Observe) -> bool {
        self.1.effect(actor, effect);
        self.0.effect(actor, effect)
    }
}
