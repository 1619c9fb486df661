//! Share names and UNC paths, as text: nothing here resolves or opens anything.

use crate::ids::ShadowCopyId;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Longest UNC path that is looked at, in characters; longer ones are malformed.
pub const MAX_UNC_CHARACTERS: usize = 1_024;

/// \[MS-FSCC 2.1.6\] Longest share name, in characters.
pub const MAX_SHARE_CHARACTERS: usize = 80;

/// \[MS-FSCC 2.1.6\] What no share name may hold, besides control characters and the backslash that
/// ends it.
const NOT_IN_SHARE: &[char] = &[
    '"', '*', '+', ',', '/', ':', ';', '<', '=', '>', '?', '[', ']', '|',
];

/// What no host may hold. Colons, brackets and `@` stay: an address or a WebDAV form is a host like
/// any other, ours or foreign.
const NOT_IN_HOST: &[char] = &['"', '*', '/', '<', '>', '?', '|'];

/// The name of a share. Compared without case, shown as it was given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShareName(String);

/// The exposed share would have a longer name than a share may have; FSRVP_E_NOT_SUPPORTED on the
/// wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the exposed share's name would have {0} characters, more than 80")]
pub struct ExposedNameTooLong(pub usize);

impl ShareName {
    /// Wraps a name without any check; wire names come through [`UncPath::parse`].
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in lower case, under which two spellings are the same share: two names are equal
    /// exactly when their folded texts are.
    #[must_use]
    pub fn folded(&self) -> String {
        self.fold().collect()
    }

    /// Whether the name ends in `$`, by which Windows and Samba leave a share out of lists.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.0.ends_with('$')
    }

    /// \[3.1.4.6\] The name under which a copy of this share is exposed: `share@{guid}`, and
    /// `share$@{guid}$` for a hidden share. The text promises the latter only for names with a
    /// trailing backslash; we do it always. The GUID is in lower case.
    #[must_use]
    pub fn exposed(&self, copy: ShadowCopyId) -> String {
        let hidden = if self.is_hidden() { "$" } else { "" };
        format!("{}@{{{copy}}}{hidden}", self.0)
    }

    /// Whether the name leaves room for what [`ShareName::exposed`] appends, whatever the copy.
    ///
    /// # Errors
    /// [`ExposedNameTooLong`] if the exposed name would pass [`MAX_SHARE_CHARACTERS`].
    pub fn check_exposable(&self) -> Result<(), ExposedNameTooLong> {
        // SMB counts UTF-16 units, of which a character has one or two.
        let length = self.exposed(ShadowCopyId::NULL).encode_utf16().count();
        if length > MAX_SHARE_CHARACTERS {
            return Err(ExposedNameTooLong(length));
        }
        Ok(())
    }

    fn fold(&self) -> impl Iterator<Item = char> + '_ {
        self.0.chars().flat_map(char::to_lowercase)
    }
}

impl PartialEq for ShareName {
    fn eq(&self, other: &Self) -> bool {
        self.fold().eq(other.fold())
    }
}

impl Eq for ShareName {}

impl PartialOrd for ShareName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShareName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.fold().cmp(other.fold())
    }
}

impl Hash for ShareName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fold().for_each(|c| c.hash(state));
        // As for `str`: a name and its prefix differ inside a tuple too.
        state.write_u8(0xFF);
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// `\\host\share`, with or without one trailing backslash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncPath {
    /// The host as text; never resolved.
    pub host: String,
    /// The share.
    pub share: ShareName,
}

/// Why a text is no UNC path of a share; every variant is E_INVALIDARG on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The empty name counts as NULL.
    #[error("the share name is empty")]
    Empty,
    /// Over [`MAX_UNC_CHARACTERS`].
    #[error("the share name has {0} characters, more than 1024")]
    TooLong(usize),
    /// Not `\\host\share`.
    #[error("the name is not of the form \\\\host\\share")]
    Malformed,
    /// Something follows the share.
    #[error("the name has components after the share")]
    Trailing,
    /// A character that no host or share may have.
    #[error("the name holds the character {0:?}, which no UNC name may have")]
    Character(char),
}

impl UncPath {
    /// Parses `\\host\share` or `\\host\share\`.
    ///
    /// # Errors
    /// [`NameError`]: empty, too long, a character that no name may have, components after the
    /// share, or anything else that is not of that form; `\\?\…` and `\\.\…` are not.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let length = text.chars().count();
        if length > MAX_UNC_CHARACTERS {
            return Err(NameError::TooLong(length));
        }
        let path = text.strip_prefix(r"\\").ok_or(NameError::Malformed)?;
        let (host, path) = path.split_once('\\').ok_or(NameError::Malformed)?;
        let (share, after) = path.split_once('\\').unwrap_or((path, ""));
        for name in [host, share] {
            if matches!(name, "" | "." | ".." | "?") {
                return Err(NameError::Malformed);
            }
        }
        check_characters(host, NOT_IN_HOST)?;
        check_characters(share, NOT_IN_SHARE)?;
        if !after.is_empty() {
            return Err(NameError::Trailing);
        }
        Ok(Self {
            host: host.to_owned(),
            share: ShareName::new(share),
        })
    }
}

impl fmt::Display for UncPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r"\\{}\{}", self.host, self.share)
    }
}

fn check_characters(name: &str, forbidden: &[char]) -> Result<(), NameError> {
    match name
        .chars()
        .find(|c| c.is_control() || forbidden.contains(c))
    {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};
    use uuid::uuid;

    #[test]
    fn host_and_share_are_cut_out_with_or_without_a_trailing_backslash() {
        for (text, host, share) in [
            (r"\\server\share", "server", "share"),
            (r"\\server\share\", "server", "share"),
            (r"\\127.0.0.1\hid$\", "127.0.0.1", "hid$"),
            (r"\\--1.ipv6-literal.net\a b", "--1.ipv6-literal.net", "a b"),
            (r"\\[::1]\s", "[::1]", "s"),
            (r"\\Host.Example.\Größe", "Host.Example.", "Größe"),
            (r"\\attacker@80\dav", "attacker@80", "dav"),
            (
                r"\\h\share@{0f9b911c-4b7c-4cbd-84c1-9cd53212680c}",
                "h",
                "share@{0f9b911c-4b7c-4cbd-84c1-9cd53212680c}",
            ),
        ] {
            let path = UncPath::parse(text).unwrap();
            assert_eq!((path.host.as_str(), path.share.as_str()), (host, share));
            assert_eq!(UncPath::parse(&path.to_string()), Ok(path));
        }
    }

    #[test]
    fn everything_else_is_refused_for_its_reason() {
        for (text, error) in [
            ("", NameError::Empty),
            ("share", NameError::Malformed),
            (r"\server\share", NameError::Malformed),
            (r"\\", NameError::Malformed),
            (r"\\server", NameError::Malformed),
            (r"\\server\", NameError::Malformed),
            (r"\\server\\", NameError::Malformed),
            (r"\\\share", NameError::Malformed),
            (r"\\\server\share", NameError::Malformed),
            (r"\\server\\share", NameError::Malformed),
            ("//server/share", NameError::Malformed),
            (r"\\?\UNC\server\share", NameError::Malformed),
            (r"\\.\pipe\name", NameError::Malformed),
            (r"\\server\..", NameError::Malformed),
            (r"\\server\.\", NameError::Malformed),
            (r"C:\share", NameError::Malformed),
            (r"\\server/share", NameError::Malformed),
            (r"\\server\share/", NameError::Character('/')),
            (r"\\a/b\share", NameError::Character('/')),
            (r"\\server\sha:re", NameError::Character(':')),
            (r"\\server\sh*re", NameError::Character('*')),
            ("\\\\server\\sh\tare", NameError::Character('\t')),
            ("\\\\ser\u{7f}ver\\share", NameError::Character('\u{7f}')),
            ("\\\\server\\sh\u{85}are", NameError::Character('\u{85}')),
            (r"\\server\share\\", NameError::Trailing),
            (r"\\server\share\dir", NameError::Trailing),
            (r"\\server\share\dir\", NameError::Trailing),
        ] {
            assert_eq!(UncPath::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_longest_name_has_1024_characters_whatever_their_size() {
        let name = |length: usize| format!(r"\\h\{}", "ö".repeat(length - 4));
        assert!(UncPath::parse(&name(1_024)).is_ok());
        assert_eq!(UncPath::parse(&name(1_025)), Err(NameError::TooLong(1_025)));
    }

    /// \[7\] <9> names both forms.
    #[test]
    fn exposed_names_carry_the_copy_and_stay_hidden() {
        let copy = ShadowCopyId(uuid!("8E2C19BE-E7D1-425B-9978-816CF6D2388D"));
        let exposed = |name| ShareName::new(name).exposed(copy);
        assert_eq!(
            exposed("plain"),
            "plain@{8e2c19be-e7d1-425b-9978-816cf6d2388d}"
        );
        assert_eq!(
            exposed("hid$"),
            "hid$@{8e2c19be-e7d1-425b-9978-816cf6d2388d}$"
        );
    }

    /// 80 characters without the at sign, the braces and the 36 characters of a GUID leave 41.
    #[test]
    fn exposed_names_end_at_80_characters() {
        let check = |name: String| ShareName::new(name).check_exposable();
        assert_eq!(check("a".repeat(41)), Ok(()));
        assert_eq!(check("a".repeat(42)), Err(ExposedNameTooLong(81)));
        assert_eq!(check("a".repeat(39) + "$"), Ok(()));
        assert_eq!(check("a".repeat(40) + "$"), Err(ExposedNameTooLong(81)));
        assert_eq!(check("😀".repeat(21)), Err(ExposedNameTooLong(81)));
    }

    #[test]
    fn names_that_differ_in_case_are_one_name() {
        let hasher = RandomState::new();
        for (a, b) in [
            ("Share$", "sHARE$"),
            ("GRÖSSE", "größse"),
            ("ΟΔΟΣ", "οδος"),
            ("", ""),
        ] {
            let (a, b) = (ShareName::new(a), ShareName::new(b));
            let same = a == b;
            assert_eq!(same, a.cmp(&b) == Ordering::Equal);
            assert_eq!(same, a.folded() == b.folded());
            assert_eq!(same, hasher.hash_one(&a) == hasher.hash_one(&b));
        }
        assert_eq!(ShareName::new("Data"), ShareName::new("dATA"));
        assert_eq!(ShareName::new("ΟΔΟΣ"), ShareName::new("οδοσ"));
        assert_ne!(ShareName::new("data"), ShareName::new("data$"));
        assert!(ShareName::new("Alpha") < ShareName::new("beta"));
    }
}
