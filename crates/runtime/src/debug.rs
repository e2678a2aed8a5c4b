//! `Debug` of types that show no more than their names: what is in them is of other threads, or a user's.
use crate::{
    backlog::Meter,
    faults::Faults,
    host::TokioHost,
    node::{
        Answers, Broadcaster, Builder, Custom, Deliveries, Events, Group, Indications, Items,
        Members, Node, Requests, Wiring,
    },
    recorder::Recorder,
    tcp::TcpEdge,
    thread::{Protocol, ProtocolThread},
    udp::UdpEdge,
};
use std::fmt;

/// Shows the name alone.
macro_rules! opaque {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
    ($name:ident<$of:ident>) => {
        impl<$of> fmt::Debug for $name<$of> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

opaque!(Answers<T>);
opaque!(Broadcaster<T>);
opaque!(Builder);
opaque!(Custom<I>);
opaque!(Deliveries<T>);
opaque!(Events<T>);
opaque!(Faults);
opaque!(Group<T>);
opaque!(Indications<I>);
opaque!(Items<I>);
opaque!(Members);
opaque!(Meter);
opaque!(Node);
opaque!(Protocol);
opaque!(ProtocolThread);
opaque!(Recorder);
opaque!(TcpEdge);
opaque!(TokioHost);
opaque!(UdpEdge);
opaque!(Requests<R>);
opaque!(Wiring);
