//! Everything that builds, tests, demonstrates and measures the project.

fn main() {}
