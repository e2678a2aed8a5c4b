//! Reliable distributed programming: the ladder of abstractions as working software.
