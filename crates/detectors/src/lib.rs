//! Failure detectors: eventually perfect, eventual leader.
