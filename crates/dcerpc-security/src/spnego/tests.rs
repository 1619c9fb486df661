//! Tests of SPNEGO.
