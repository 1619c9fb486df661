//! Samba's own tools: always there, some 60 ms a call.

use super::definition::{Definition, MARK_SERVER, parse_sections};
use super::means::{Means, MeansError, Published};
use crate::children::Children;
use crate::command::{CommandError, Tool};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long one tool may take.
const LIMIT: Duration = Duration::from_secs(30);
/// What `net` says of a share that the registry does not have.
const NO_SUCH_SHARE: &str = "SBC_ERR_NO_SUCH_SERVICE";
/// What `sharesec` shows of a share without descriptor: full access for everybody, no owner.
const NO_DESCRIPTOR: &str = "D:(A;;0x001f01ff;;;WD)";

/// Number of the next import file.
static NEXT_FILE: AtomicU64 = AtomicU64::new(0);

/// `net`, `sharesec`.
pub(super) struct Tools {
    smb_conf: PathBuf,
    /// A directory that only root can write: import files are made here.
    directory: PathBuf,
    mark: String,
    children: Option<Children>,
}

impl Tools {
    pub(super) const fn new(
        smb_conf: PathBuf,
        directory: PathBuf,
        mark: String,
        children: Option<Children>,
    ) -> Self {
        Self {
            smb_conf,
            directory,
            mark,
            children,
        }
    }

    fn net(&self, verb: &str) -> Tool {
        Tool::new("net")
            .one_of(self.children.as_ref())
            .arg("-s")
            .arg(&self.smb_conf)
            .arg("conf")
            .arg(verb)
    }

    fn sharesec(&self, share: &str) -> Tool {
        Tool::new("sharesec")
            .one_of(self.children.as_ref())
            .arg("-s")
            .arg(&self.smb_conf)
            .arg(share)
    }

    /// The share if it is there; an error if it is not ours.
    fn ours(&self, name: &str) -> Result<Option<Definition>, MeansError> {
        match self.share(name)? {
            Some(share) if !share.is_marked(&self.mark) => Err(MeansError::Foreign(share.name)),
            share => Ok(share),
        }
    }

    /// Creates or replaces a share in one transaction.
    fn import(&self, share: &Definition) -> Result<(), MeansError> {
        let file = ImportFile::new(&self.directory, share)?;
        self.net("import")
            .arg(&file.path)
            .arg(&share.name)
            .run(LIMIT)?;
        Ok(())
    }

    fn publish_one(&self, clone: &Published) -> Result<(), MeansError> {
        let share = &clone.definition;
        if self.ours(&share.name)?.is_some() {
            // Takes an old security descriptor away too.
            self.net("delshare").arg(&share.name).run(LIMIT)?;
        }
        let output = self.sharesec(&clone.base).arg("--viewsddl").run(LIMIT)?;
        let descriptor = output.stdout.trim();
        if descriptor.is_empty() || descriptor == NO_DESCRIPTOR {
            return self.import(share);
        }
        // `sharesec` wants the share to exist; nobody can connect to it before it has its
        // descriptor.
        let mut closed = share.clone();
        closed.set("available", "no");
        self.import(&closed)?;
        self.sharesec(&share.name)
            .arg(format!("--setsddl={descriptor}"))
            .run(LIMIT)?;
        self.import(share)
    }
}

impl Means for Tools {
    fn share(&self, name: &str) -> Result<Option<Definition>, MeansError> {
        let tool = self.net("showshare").arg(name);
        match tool.run(LIMIT) {
            Ok(output) => Ok(parse_sections(&output.stdout).into_iter().next()),
            Err(CommandError::Failed { text, .. }) if text.contains(NO_SUCH_SHARE) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn shares(&self) -> Result<Vec<Definition>, MeansError> {
        let output = self.net("list").run(LIMIT)?;
        let mut shares = parse_sections(&output.stdout);
        shares.retain(|share| !share.name.eq_ignore_ascii_case("global"));
        Ok(shares)
    }

    fn publish(&self, clones: &[Published]) -> Result<(), MeansError> {
        for clone in clones {
            self.ours(&clone.definition.name)?;
        }
        for clone in clones {
            if let Err(error) = self.publish_one(clone) {
                for undone in clones {
                    if let Err(error) = self.remove(&undone.definition.name) {
                        tracing::error!(share = undone.definition.name, %error, "cannot undo");
                    }
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn redefine(&self, shares: &[Definition]) -> Result<(), MeansError> {
        for share in shares {
            if self.ours(&share.name)?.is_none() {
                return Err(MeansError::NotFound(share.name.clone()));
            }
        }
        shares.iter().try_for_each(|share| self.import(share))
    }

    fn remove(&self, name: &str) -> Result<Option<Definition>, MeansError> {
        let share = self.ours(name)?;
        if share.is_none() {
            // A helper that died half-way, or a power cut, has left its security descriptor, which
            // `delshare` takes away only together with a share.
            let mut closed = Definition::new(name);
            closed.set(MARK_SERVER, self.mark.as_str());
            closed.set("available", "no");
            self.import(&closed)?;
        }
        self.net("delshare").arg(name).run(LIMIT)?;
        Ok(share)
    }
}

/// A file for `net conf import`; removed when dropped.
struct ImportFile {
    path: PathBuf,
}

impl ImportFile {
    fn new(directory: &Path, share: &Definition) -> Result<Self, MeansError> {
        let number = NEXT_FILE.fetch_add(1, Ordering::Relaxed);
        let name = format!(".fsrvpd-import.{}.{number}", std::process::id());
        let path = directory.join(name);
        let failed = |error: std::io::Error| {
            MeansError::Failed(format!("cannot write {}: {error}", path.display()))
        };
        let text = import_text(share)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
            .open(&path)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(Self { path })
    }
}

impl Drop for ImportFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the import file");
        }
    }
}

/// A share as a section of smb.conf. Texts that would read as something else are refused.
fn import_text(share: &Definition) -> Result<String, MeansError> {
    let is_plain = |text: &str| !text.chars().any(char::is_control) && !text.ends_with('\\');
    if !is_plain(&share.name) || share.name.contains(']') {
        return Err(MeansError::Failed(format!(
            "the share name {:?} cannot be written to a file",
            share.name
        )));
    }
    let mut text = format!("[{}]\n", share.name);
    for (key, value) in share.parameters() {
        if !is_plain(key) || !is_plain(value) {
            return Err(MeansError::Failed(format!(
                "the value {value:?} of {key:?} cannot be written to a file"
            )));
        }
        // Writing to a String does not fail.
        let _ = writeln!(text, "\t{key} = {value}");
    }
    Ok(text)
}
