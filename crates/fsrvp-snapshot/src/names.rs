//! File names that are made of other names: folders of shares and servers, and the `@GMT-` labels
//! of previous versions.

use fsrvp_idl::{DateTime, FileTime, ShadowCopyId, ShareName};
use std::fmt::Write as _;
use uuid::Uuid;

/// `inner` below `root`; an empty one is the root itself, without a slash at its end.
pub(crate) fn below(root: std::path::PathBuf, inner: &std::path::Path) -> std::path::PathBuf {
    if inner.as_os_str().is_empty() {
        return root;
    }
    root.join(inner)
}

/// Longest file name, in bytes.
const NAME_MAX: usize = 255;

/// The folder of a share: see [`component`]; two spellings of a share have one folder.
#[must_use]
pub fn share_folder(share: &ShareName) -> String {
    component(&share.folded())
}

/// The id of a copy that a name is, in the only spelling that we write.
#[must_use]
pub fn copy_id(name: &str) -> Option<ShadowCopyId> {
    let uuid = Uuid::parse_str(name).ok()?;
    (uuid.as_hyphenated().to_string() == name).then_some(ShadowCopyId(uuid))
}

/// A safe file name for `text`, different for different texts: letters, digits, `-`, `_`, `$` and
/// inner dots stay, every other byte becomes `=XX`. Names past 255 bytes are cut and end with a
/// hash. (`%` would be a substitution in smb.conf, where these names are written by hand.)
#[must_use]
pub fn component(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let plain = character.is_alphanumeric()
            || matches!(character, '-' | '_' | '$')
            || (character == '.' && at > 0);
        if plain {
            name.push(character);
        } else {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                let _ = write!(name, "={byte:02X}");
            }
        }
    }
    if name.is_empty() {
        return "=".into();
    }
    if name.len() > NAME_MAX {
        let hash = format!("=={:016x}", fnv1a(text.as_bytes()));
        let mut end = NAME_MAX.saturating_sub(hash.len());
        while !name.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        name.truncate(end);
        name.push_str(&hash);
    }
    name
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// \[MS-SMB2\] 2.2.32.2, the labels that a previous version of `created` may have, best first, in
/// UTC: `@GMT-YYYY.MM.DD-HH.MM.SS`, then the seconds after it, a day of them. Years past 9999 are
/// not representable and have none.
pub fn gmt_labels(created: FileTime) -> impl Iterator<Item = String> {
    const DAY: u64 = 86_400;
    const END: u64 = 253_402_300_800;
    let first = created.unix_seconds();
    let seconds = first..first.saturating_add(DAY).min(END);
    seconds.map(|seconds| {
        let DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = DateTime::from_unix_seconds(seconds);
        format!("@GMT-{year:04}.{month:02}.{day:02}-{hour:02}.{minute:02}.{second:02}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(unix: u64) -> FileTime {
        FileTime::from_unix(Duration::from_secs(unix))
    }

    #[test]
    fn labels() {
        // Expected values from date(1): `date -u -d @N +@GMT-%Y.%m.%d-%H.%M.%S`.
        for (unix, label) in [
            (0, "@GMT-1970.01.01-00.00.00"),
            (951_782_399, "@GMT-2000.02.28-23.59.59"),
            (951_782_400, "@GMT-2000.02.29-00.00.00"),
            (951_868_800, "@GMT-2000.03.01-00.00.00"),
            (1_709_251_199, "@GMT-2024.02.29-23.59.59"),
            (1_735_689_599, "@GMT-2024.12.31-23.59.59"),
            (4_107_542_400, "@GMT-2100.03.01-00.00.00"),
            (253_402_300_799, "@GMT-9999.12.31-23.59.59"),
        ] {
            assert_eq!(gmt_labels(at(unix)).next().unwrap(), label);
        }
        let second = gmt_labels(at(951_782_399)).nth(1).unwrap();
        assert_eq!(second, "@GMT-2000.02.29-00.00.00");
        assert_eq!(gmt_labels(at(0)).count(), 86_400);
        assert_eq!(gmt_labels(at(253_402_300_799)).count(), 1);
        assert_eq!(gmt_labels(FileTime(u64::MAX)).count(), 0);
    }

    #[test]
    fn folders() {
        for (share, folder) in [
            ("Data", "data"),
            ("hidden$", "hidden$"),
            ("a b%c", "a=20b=25c"),
            ("..", "=2E."),
            ("../../etc", "=2E.=2F..=2Fetc"),
            ("v1.2", "v1.2"),
            ("Übung", "übung"),
            ("a=b", "a=3Db"),
            ("", "="),
        ] {
            assert_eq!(share_folder(&ShareName::new(share)), folder);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_one_safe_component(text in "\\PC{0,300}") {
            let name = component(&text);
            prop_assert!(!name.is_empty() && name.len() <= NAME_MAX);
            prop_assert!(!name.starts_with('.') && !name.contains(['/', '\0']));
        }

        #[test]
        fn different_texts_have_different_names(a in "[ -~]{0,12}", b in "[ -~]{0,12}") {
            prop_assert_eq!(a == b, component(&a) == component(&b));
        }

        #[test]
        fn long_names_differ_in_their_hash(tail in "[a-z]{1,8}", other in "[a-z]{1,8}") {
            let text = |tail: &str| component(&format!("{}{tail}", "x".repeat(300)));
            prop_assert_eq!(tail == other, text(&tail) == text(&other));
        }
    }
}
