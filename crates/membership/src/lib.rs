//! Group membership and view synchrony: one algorithm a file, over the interfaces of the layers below.
//!
//! | module | abstraction | over | survives |
//! |---|---|---|---|
