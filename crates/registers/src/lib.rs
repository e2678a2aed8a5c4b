//! Registers, atomic snapshot and lattice agreement: one algorithm a file, over the interfaces of the
//! layers below.
