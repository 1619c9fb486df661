//! The operator's tool of fsrvpd.
