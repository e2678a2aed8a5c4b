//! Benchmarks against raw sockets.
