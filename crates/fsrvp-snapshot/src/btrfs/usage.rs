//! What a copy takes of the disk, as `btrfs filesystem du` counts it: extents that no other file
//! has are the copy's own. It reads the extents of every file.

use crate::backend::{BackendError, Usage};
use std::path::Path;
use std::process::{Command, Stdio};

/// How long the count may take, in seconds.
const LIMIT: &str = "60";

pub(super) fn of(path: &Path) -> Result<Option<Usage>, BackendError> {
    if !path.is_dir() {
        return Err(BackendError::NotFound(path.to_owned()));
    }
    let counted = Command::new("timeout")
        .args([LIMIT, "btrfs", "filesystem", "du", "-s", "--raw", "--"])
        .arg(path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match counted {
        Ok(output) if output.status.success() => {
            Ok(parse(&String::from_utf8_lossy(&output.stdout)))
        }
        Ok(output) => {
            tracing::debug!(path = %path.display(), status = %output.status, "cannot count extents");
            Ok(None)
        }
        Err(error) => {
            tracing::debug!(%error, "btrfs filesystem du cannot be run; is btrfs-progs installed?");
            Ok(None)
        }
    }
}

/// The second line: total, exclusive, shared by the set, name.
fn parse(output: &str) -> Option<Usage> {
    let mut fields = output.lines().nth(1)?.split_whitespace();
    let referenced = fields.next()?.parse().ok()?;
    let exclusive = fields.next()?.parse().ok()?;
    Some(Usage {
        exclusive,
        referenced,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_btrfs_progs_says() {
        // btrfs-progs 6.2.
        let output = "     Total   Exclusive  Set shared  Filename\n   \
                      1052672        4096     1048576  /mnt/.fsrvpd/fs/0f0e0d0c\n";
        let usage = parse(output).unwrap();
        assert_eq!((usage.referenced, usage.exclusive), (1_052_672, 4_096));
        assert_eq!(parse(""), None);
        assert_eq!(parse("a\nb"), None);
    }
}
