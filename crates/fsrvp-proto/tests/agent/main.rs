//! The agent under virtual time, rule by rule of its protocol notes.

mod methods;
mod support;
