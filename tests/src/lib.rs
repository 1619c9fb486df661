//! Test kit and the suites that drive the whole program.
