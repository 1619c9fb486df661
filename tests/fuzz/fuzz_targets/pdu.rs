#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fsrvp_fuzz::pdu(input));
