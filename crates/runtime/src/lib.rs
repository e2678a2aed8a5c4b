//! TokioHost, the UDP and TCP edges, the Node builder and typed handles.
