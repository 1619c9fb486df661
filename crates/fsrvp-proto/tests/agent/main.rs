//! The agent under virtual time: what its insides promise beyond the protocol. The statements of
//! the specification have a suite of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod debts;
mod deletion;
mod hung_store;
mod keeping;
mod methods;
mod orders;
mod recovery;
mod restoring;
mod retention;
mod shutdown;
mod storing;
mod support;
mod table;
mod undo;
