//! What a copy takes of the disk, as `btrfs filesystem du` counts it: extents that no other file
//! has are the copy's own. It reads the extents of every file.

use crate::backend::{BackendError, Deadline, Usage};
use crate::program::Program;
use std::path::Path;
use std::time::Duration;

/// How long the count may take.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn of(path: &Path) -> Result<Option<Usage>, BackendError> {
    if !path.is_dir() {
        return Err(BackendError::NotFound(path.to_owned()));
    }
    let program = Program::new(["btrfs", "filesystem", "du", "-s", "--raw", "--"]).arg(path);
    let why = match program.run(b"", LIMIT, &Deadline::default()) {
        Ok(ended) if ended.status.success() => {
            return Ok(parse(&String::from_utf8_lossy(&ended.stdout)));
        }
        Ok(ended) => ended.complaint(),
        Err(failed) => failed.to_string(),
    };
    tracing::debug!(path = %path.display(), why, "btrfs filesystem du cannot count extents");
    Ok(None)
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
