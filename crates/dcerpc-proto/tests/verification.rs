//! The verification trailer: a real client's, and what is wrong with others.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use dcerpc_proto::pdu::DecodeError;
use dcerpc_proto::verification::{VerificationError, VerificationFacts};
use dcerpc_proto::{ByteOrder, SyntaxId};
use proptest::prelude::*;
use uuid::uuid;

/// rpcclient and smbtorture of Samba 4.17 append this to each protected request of FSRVP: bitmask
/// (header signing), then pcontext with END.
const REAL: &str = "8ae3137102f436710100040001000000\
    024028003c65e0a844278943a61d7373df8b2292\
    01000000045d888aeb1cc9119fe808002b10486002000000";

const FSRVP: SyntaxId = SyntaxId::new(uuid!("a8e0653c-2744-4389-a61d-7373df8b2292"), 1, 0);

/// [MS-RPCE 2.2.2.13.3], written by hand: PTYPE 0, little-endian, call 7, context 1, opnum 10.
const HEADER2: &str = "034010000000000010000000070000000100 0a00";

fn facts() -> VerificationFacts {
    VerificationFacts {
        client_header_signing: true,
        interface: FSRVP,
        transfer: SyntaxId::NDR20,
        data_representation: [0x10, 0, 0, 0],
        byte_order: ByteOrder::Little,
        call_id: 7,
        context_id: 1,
        opnum: 10,
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// The signature and then `commands`.
fn trailer(commands: &str) -> Vec<u8> {
    unhex(&format!("8ae3137102f43671{commands}"))
}

#[test]
fn a_real_one_is_accepted_wherever_it_begins() {
    let real = unhex(REAL);
    for padding in 0..9 {
        let rest = [vec![0; padding], real.clone(), vec![0; 4]].concat();
        assert_eq!(facts().check(&rest), Ok(()), "{padding}");
    }
    // Big-endian requests carry it in little-endian all the same.
    let big = VerificationFacts {
        byte_order: ByteOrder::Big,
        data_representation: [0; 4],
        ..facts()
    };
    assert_eq!(big.check(&real), Ok(()));
}

#[test]
fn padding_is_no_trailer() {
    for rest in [&[][..], &[0; 3], &[0; 64], &unhex(REAL)[1..], &[0x8A; 40]] {
        assert_eq!(facts().check(rest), Ok(()));
    }
}

#[test]
fn contradictions_are_refused() {
    let real = unhex(REAL);
    let mismatch = |facts: VerificationFacts, rest: &[u8]| match facts.check(rest) {
        Err(VerificationError::Mismatch(what)) => what,
        other => unreachable!("{other:?}"),
    };
    let without = VerificationFacts {
        client_header_signing: false,
        ..facts()
    };
    assert_eq!(mismatch(without, &real), "header signing");
    let other = VerificationFacts {
        interface: SyntaxId::MGMT,
        ..facts()
    };
    assert_eq!(mismatch(other, &real), "interface");
    let other = VerificationFacts {
        transfer: SyntaxId::NDR64,
        ..facts()
    };
    assert_eq!(mismatch(other, &real), "transfer syntax");

    let header2 = trailer(HEADER2);
    assert_eq!(facts().check(&header2), Ok(()));
    let other = VerificationFacts {
        data_representation: [0; 4],
        ..facts()
    };
    assert_eq!(mismatch(other, &header2), "drep");
    assert_eq!(
        mismatch(
            VerificationFacts {
                call_id: 8,
                ..facts()
            },
            &header2
        ),
        "call_id"
    );
    assert_eq!(
        mismatch(
            VerificationFacts {
                context_id: 2,
                ..facts()
            },
            &header2
        ),
        "p_cont_id"
    );
    assert_eq!(
        mismatch(
            VerificationFacts {
                opnum: 3,
                ..facts()
            },
            &header2
        ),
        "opnum"
    );
    let mut response = header2;
    response[12] = 2;
    assert_eq!(mismatch(facts(), &response), "PTYPE");
}

#[test]
fn unknown_commands_pass_unless_they_must_be_processed() {
    assert_eq!(facts().check(&trailer("0740 0400 00000000")), Ok(()));
    assert_eq!(facts().check(&trailer("0740 0000")), Ok(()));
    let must = facts().check(&trailer("07c0 0400 00000000"));
    assert_eq!(must, Err(VerificationError::UnknownCommand(0xC007)));
    // Known ones may carry the bit.
    assert_eq!(facts().check(&trailer("01c0 0400 01000000")), Ok(()));
    // Bits of the mask that are not defined are ignored, header signing need not be claimed.
    assert_eq!(facts().check(&trailer("0140 0400 feffffff")), Ok(()));
}

#[test]
fn what_does_not_decode_is_refused() {
    for (commands, field) in [
        ("", "command"),
        ("01", "command"),
        ("0140", "command.length"),
        ("0140 0400 0100", "command.value"),
        ("0140 0200 0100", "rpc_sec_vt_bitmask.bits"),
        ("0100 0400 01000000", "command"),
        ("0240 0400 01000000", "rpc_sec_vt_pcontext.InterfaceId"),
        ("0340 0400 00000000", "rpc_sec_vt_header2.drep"),
        ("0140 ffff 01000000", "command.value"),
    ] {
        let error = facts().check(&trailer(commands)).unwrap_err();
        let VerificationError::Malformed(DecodeError::Truncated { field: found, .. }) = error
        else {
            unreachable!("{commands}: {error:?}")
        };
        assert_eq!(found, field, "{commands}");
    }
    let long = facts()
        .check(&trailer("0140 0800 01000000 00000000"))
        .unwrap_err();
    assert!(matches!(
        long,
        VerificationError::Malformed(DecodeError::Invalid { .. })
    ));
}

proptest! {
    #[test]
    fn random_trailers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = facts().check(&[&trailer("")[..], &bytes].concat());
    }
}
