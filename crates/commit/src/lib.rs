//! Atomic commit: one algorithm a file, each for many instances, over the interfaces of the layers below.
//!
//! | module | abstraction | over | survives |
//! |---|---|---|---|
