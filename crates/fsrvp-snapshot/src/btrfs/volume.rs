//! A subvolume as the unit of a snapshot.

use crate::backend::BackendError;
use fsrvp_proto::job::VolumeId;
use uuid::Uuid;

/// File system and subvolume; as text `btrfs:<file system id>:<subvolume uuid>`, which is the same
/// after a reboot and after a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct VolumeKey {
    pub(super) file_system: Uuid,
    pub(super) subvolume: Uuid,
}

impl VolumeKey {
    /// The volume of a text that [`From`] made.
    pub(super) fn parse(volume: &VolumeId) -> Result<Self, BackendError> {
        Self::parse_text(&volume.0).ok_or_else(|| BackendError::Unsupported {
            path: volume.0.clone().into(),
            reason: "is not the name of a btrfs volume".into(),
        })
    }

    pub(super) fn parse_text(text: &str) -> Option<Self> {
        let (file_system, subvolume) = text.strip_prefix("btrfs:")?.split_once(':')?;
        Some(Self {
            file_system: file_system.parse().ok()?,
            subvolume: subvolume.parse().ok()?,
        })
    }
}

impl From<VolumeKey> for VolumeId {
    fn from(key: VolumeKey) -> Self {
        Self(format!("btrfs:{}:{}", key.file_system, key.subvolume))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::uuid;

    #[test]
    fn text() {
        let key = VolumeKey {
            file_system: uuid!("0f0e0d0c-0b0a-0908-0706-050403020100"),
            subvolume: uuid!("f0e0d0c0-b0a0-9080-7060-504030201000"),
        };
        let id = VolumeId::from(key);
        assert_eq!(
            id.0,
            "btrfs:0f0e0d0c-0b0a-0908-0706-050403020100:f0e0d0c0-b0a0-9080-7060-504030201000"
        );
        assert_eq!(VolumeKey::parse(&id).unwrap(), key);
    }

    #[test]
    fn not_ours() {
        for text in [
            "",
            "memory:/srv",
            "btrfs:",
            "btrfs:x:y",
            "btrfs:0f0e0d0c-0b0a-0908",
        ] {
            let error = VolumeKey::parse(&VolumeId(text.into())).unwrap_err();
            assert!(matches!(error, BackendError::Unsupported { .. }), "{text}");
        }
    }
}
