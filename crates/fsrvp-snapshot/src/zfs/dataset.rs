//! Data sets: their properties, and how they are told apart.

use super::tool::{Complaint, Tool, ToolError};
use crate::backend::{BackendError, Deadline};
use crate::error::unsupported;
use fsrvp_proto::job::VolumeId;
use fsrvp_sys::mountinfo::Mount;
use std::collections::BTreeMap;
use std::path::Path;

/// A data set with all its properties.
#[derive(Debug, Clone)]
pub(super) struct DataSet {
    pub(super) name: String,
    properties: BTreeMap<String, String>,
}

/// What tells a data set from all others for as long as it lives: its guid, or in zfs-fuse, which
/// shows none, its name and the second in which it was made.
///
/// As text `zfs:<pool>:g<guid>` or `zfs:<name>:c<seconds>`; the text is the volume's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    /// The pool, or the data set.
    place: String,
    mark: String,
}

impl Volume {
    pub(super) fn parse(volume: &VolumeId) -> Result<Self, BackendError> {
        let parse = |text: &str| {
            let (place, mark) = text.strip_prefix("zfs:")?.rsplit_once(':')?;
            let number = mark.strip_prefix(['g', 'c'])?;
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            (is_data_set_name(place) && is_number).then(|| Self {
                place: place.to_owned(),
                mark: mark.to_owned(),
            })
        };
        parse(&volume.0)
            .ok_or_else(|| unsupported(Path::new(&volume.0), "is not the name of a ZFS volume"))
    }

    pub(super) fn pool(&self) -> &str {
        pool_of(&self.place)
    }

    fn guid(&self) -> Option<&str> {
        self.mark.strip_prefix('g')
    }
}

impl From<Volume> for VolumeId {
    fn from(volume: Volume) -> Self {
        Self(format!("zfs:{}:{}", volume.place, volume.mark))
    }
}

/// The pool of a data set.
pub(super) fn pool_of(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// Whether a text may be said to `zfs` as the name of a data set: never an option, a snapshot or a
/// path.
pub(super) fn is_data_set_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.' | ' ');
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 255
        && name
            .split('/')
            .all(|part| !part.is_empty() && part.chars().all(plain))
}

/// Whether a mount is of ZFS.
pub(super) fn is_zfs(mount: &Mount) -> bool {
    matches!(&*mount.fs_type, "zfs" | "fuse.zfs")
}

impl DataSet {
    /// Everything that `zfs` says of a data set, if it exists.
    pub(super) fn look(tool: &Tool, name: &str) -> Result<Option<Self>, BackendError> {
        Self::get(tool, name, "all")
    }

    /// The properties `wanted` (separated by commas) of a data set or a snapshot, if it exists.
    pub(super) fn get(tool: &Tool, name: &str, wanted: &str) -> Result<Option<Self>, BackendError> {
        let arguments = ["get", "-H", "-p", "-o", "property,value", wanted, name];
        let rows = match tool.rows(arguments, &Deadline::default()) {
            Ok(rows) => rows,
            Err(error) if error.complaint() == Some(Complaint::Missing) => return Ok(None),
            Err(error) => return Err(ToolError::of("get", name)(error)),
        };
        let pair = |row: Vec<String>| {
            let mut fields = row.into_iter();
            Some((fields.next()?, fields.next()?))
        };
        Ok(Some(Self {
            name: name.to_owned(),
            properties: rows.into_iter().filter_map(pair).collect(),
        }))
    }

    /// A property's value; none if this version has no such property or it is not set.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        let value = self.properties.get(name)?;
        (value != "-").then_some(value)
    }

    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.property(name) == Some(value)
    }

    /// Free space in bytes, if it can be said.
    pub(super) fn available(&self) -> Option<u64> {
        self.property("available")?.parse().ok()
    }

    pub(super) fn volume(&self) -> Result<Volume, BackendError> {
        let (place, mark) = match (self.property("guid"), self.property("creation")) {
            (Some(guid), _) => (pool_of(&self.name).to_owned(), format!("g{guid}")),
            (None, Some(creation)) => (self.name.clone(), format!("c{creation}")),
            (None, None) => {
                return Err(BackendError::Tool {
                    program: format!("zfs get {}", self.name),
                    detail: "says neither guid nor creation of the data set".into(),
                });
            }
        };
        Ok(Volume { place, mark })
    }

    /// The data set that is this volume, if it exists in a pool that is imported.
    pub(super) fn find(tool: &Tool, volume: &Volume) -> Result<Option<Self>, BackendError> {
        let Some(guid) = volume.guid() else {
            let found = Self::look(tool, &volume.place)?;
            let same = |found: &Self| found.volume().is_ok_and(|found| found == *volume);
            return Ok(found.filter(same));
        };
        let arguments = ["list", "-H", "-p", "-o", "guid,name", "-t", "filesystem"];
        let rows = tool
            .rows(arguments, &Deadline::default())
            .map_err(ToolError::of("list", volume.pool()))?;
        let name = rows.iter().find_map(|row| match row.as_slice() {
            [found, name] if found == guid => Some(name),
            _ => None,
        });
        match name {
            Some(name) => Self::look(tool, name),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        for text in [
            "zfs:tank:g1234567890",
            "zfs:tank/vm store/a.b:c:c1795329098",
        ] {
            let volume = Volume::parse(&VolumeId(text.into())).unwrap();
            assert_eq!(volume.pool(), "tank");
            assert_eq!(VolumeId::from(volume).0, text);
        }
        for text in [
            "",
            "zfs:",
            "zfs:tank",
            "zfs:tank:1",
            "zfs:tank:gx",
            "zfs:tank:g",
            "zfs:-r:g1",
            "zfs:tank@s:g1",
            "btrfs:a:b",
        ] {
            Volume::parse(&VolumeId(text.into())).unwrap_err();
        }
    }

    #[test]
    fn names() {
        for good in ["tank", "tank/a", "t-a_n:k.1/a b"] {
            assert!(is_data_set_name(good), "{good}");
        }
        for bad in [
            "",
            "/tank",
            "-r",
            "1tank",
            "tank/",
            "tank//a",
            "tank@s",
            "tank/a\nb",
        ] {
            assert!(!is_data_set_name(bad), "{bad}");
        }
    }
}
