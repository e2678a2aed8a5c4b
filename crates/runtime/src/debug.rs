//! `Debug` of types that show only their names: their contents belong to other threads, or to a user.
use crate::{
    backlog::Meter,
    faults::Faults,
    host::TokioHost,
    node::{Builder, Custom, Indications, Node, Requests, Wiring},
    recorder::Recorder,
    thread::{Protocol, ProtocolThread},
};

/// Shows the name alone: of what a feature brings, its own file says so.
macro_rules! opaque {
    ($name:ident) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
    ($name:ident<$of:ident>) => {
        impl<$of> std::fmt::Debug for $name<$of> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use opaque;

opaque!(Builder);
opaque!(Custom<I>);
opaque!(Faults);
opaque!(Indications<I>);
opaque!(Meter);
opaque!(Node);
opaque!(Protocol);
opaque!(ProtocolThread);
opaque!(Recorder);
opaque!(TokioHost);
opaque!(Requests<R>);
opaque!(Wiring);
