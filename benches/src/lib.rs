//! Benchmarks, side by side with the named peer.
