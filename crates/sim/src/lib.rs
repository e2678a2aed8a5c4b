//! The simulated world: ideal objects, adversaries, traces, property checkers, diagrams.
