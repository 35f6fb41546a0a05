//! Owns the workspace's `tests/` and `examples/`; it has no code of its own.
