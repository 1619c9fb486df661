//! Tests of the NTLM package.
