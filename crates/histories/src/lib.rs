//! Histories of operations on shared objects, and whether they are what the objects promise.
