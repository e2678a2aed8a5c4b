//! Deterministic state machines over total order.
