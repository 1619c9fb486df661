//! The stored format: old records must be read for ever, damaged and newer ones refused.

use crate::support::*;
use fsrvp_idl::Context;
use fsrvp_proto::{SetStatus, Table, TableError};
use std::os::unix::ffi::OsStrExt;

const SET: &str = r#"{"version":1,"record":{"id":"11111111-2222-4333-8444-555555555555","status":"exposed",
"context":4194313,"copies":[{"id":"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee","backend":"btrfs","volume":"uuid:5",
"created":133000000000000000,"mappings":[{"share_name_unc":"\\\\FILES\\Data\\","share":"Data",
"shadow_copy_share_name":"Data@{aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee}","path":"/srv/data","inner":""}]}],
"account":"LAB\\backup","started":133000000000000000,"changed":133000000010000000}}"#;
const SET_KEY: &str = "set/11111111-2222-4333-8444-555555555555";

fn load(records: &[(&str, &str)]) -> Result<Table, TableError> {
    let records = records.iter();
    Table::load(records.map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())))
}

#[test]
fn records_of_version_1_are_read() {
    let table = load(&[
        ("context", r#"{"version":1,"record":{"current":9,"address":"192.0.2.1","retry_count":2}}"#),
        ("boot", r#"{"version":1,"record":"7d0ec3a9"}"#),
        (SET_KEY, SET),
        (
            "debt/000000000000000f",
            r#"{"version":1,"record":{"artefact":{"share":"x@{y}"},"copy":null,"set":null,"since":1}}"#,
        ),
        (
            "debt/0000000000000010",
            r#"{"version":1,"record":{"artefact":{"copy":{"copy":"aaaaaaaa-bbbb-4ccc-8ddd-000000000001",
            "backend":"btrfs","volume":"v"}},"copy":null,"set":null,"since":1}}"#,
        ),
    ])
    .unwrap();
    assert_eq!(table.context().current, Some(Context::try_from(9).unwrap()));
    assert_eq!(
        (table.context().retry_count, table.boot_id()),
        (2, Some("7d0ec3a9"))
    );
    let set = table.sets().next().unwrap();
    assert_eq!((set.status, set.copies.len()), (SetStatus::Exposed, 1));
    assert_eq!(set.copies[0].mappings[0].share_name_unc, r"\\FILES\Data\");
    let numbers: Vec<_> = table.debts().map(|(number, _)| number).collect();
    assert_eq!(numbers, [15, 16]);
}

#[test]
fn what_cannot_be_read_is_named_and_nothing_is_guessed() {
    let newer = SET.replace(r#""version":1"#, r#""version":2,"more":[]"#);
    let error = load(&[(SET_KEY, &newer)]).unwrap_err();
    assert!(
        matches!(&error, TableError::Newer { key, found: 2 } if key == SET_KEY),
        "{error}"
    );
    for damaged in [
        "",
        "{",
        "null",
        r#"{"version":1}"#,
        r#"{"version":1,"record":7}"#,
    ] {
        for key in ["context", "boot", SET_KEY, "debt/0000000000000000"] {
            if (key, damaged) == ("boot", r#"{"version":1,"record":7}"#) {
                continue;
            }
            let error = load(&[(key, damaged)]).unwrap_err();
            assert!(
                matches!(&error, TableError::Damaged { key: k, .. } if k == key),
                "{error}"
            );
            assert!(error.to_string().contains(key));
        }
    }
    let other = "set/11111111-2222-4333-8444-000000000000";
    let error = load(&[(other, SET)]).unwrap_err();
    assert!(matches!(error, TableError::Inconsistent { .. }));
    let twice = SET.replace(
        "11111111-2222-4333-8444-555555555555",
        "11111111-2222-4333-8444-000000000000",
    );
    let error = load(&[(SET_KEY, SET), (other, &twice)]).unwrap_err();
    assert!(matches!(error, TableError::Inconsistent { .. }));
    let creating = SET.replace("exposed", "creation_in_progress");
    assert!(matches!(
        load(&[(SET_KEY, &creating)]),
        Err(TableError::Inconsistent { .. })
    ));
    for key in ["", "sets/x", "debt/", "debt/zz"] {
        let error = load(&[(key, SET)]).unwrap_err();
        assert!(matches!(error, TableError::UnknownKey { .. }), "{key}");
    }
}

#[test]
fn a_path_that_is_no_text_survives() {
    let mut world = World::new();
    world.odd_paths = true;
    let (set, _) = world.walk(0, &["a"], SetStatus::Added);
    let path = &world.stored().set(set).unwrap().copies[0].mappings[0]
        .path
        .clone();
    assert_eq!(path.as_os_str().as_bytes(), b"/srv/\xFF\xFE");
}
