//! Broadcasts: best-effort, reliable, uniform, total order.
