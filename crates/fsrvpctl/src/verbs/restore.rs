//! `fsrvpctl restore`

use super::segment;
use super::show::acted;
use crate::bring_back::{Entry, Restored, bring_back, check_replaceable, inside, open_over_smb};
use crate::screen::Screen;
use crate::time::counted;
use crate::{AdminClient, Exit, Failure};
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What the command line says.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct Restore {
    /// The share
    share: String,
    /// The file or directory, below the share's own directory; "." for the whole share
    path: PathBuf,
    /// From this kept snapshot
    #[arg(long, group = "source", value_name = "NAME")]
    snapshot: Option<String>,
    /// From this exposed copy, by the name of its share: "vm@{...}"
    #[arg(long, group = "source", value_name = "SHARE")]
    copy: Option<String>,
    /// Put it under this name beside the original, which stays
    #[arg(long, value_name = "NAME")]
    to: Option<PathBuf>,
    /// Although SMB clients have files of it open
    #[arg(long)]
    while_open: bool,
    /// The server, where several have a share of that name
    #[arg(long)]
    server: Option<String>,
}

/// A share, and where its files can be brought back from: all of one server.
#[derive(Debug, Deserialize)]
struct Sources {
    server: String,
    share: String,
    path: PathBuf,
    sources: Vec<Source>,
}

#[derive(Debug, Deserialize)]
struct Source {
    kind: String,
    name: String,
    path: PathBuf,
    writable: bool,
    set: Option<String>,
}

impl Restore {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let inner = inside(&self.path)?;
        let to = self.to.as_deref().map(one_name).transpose()?;
        if to.is_some() && inner.as_os_str().is_empty() {
            let text = "the whole share has no name beside it: leave --to out";
            return Err(Failure::new(Exit::Usage, text));
        }
        let mut known = self.ask(client)?;
        let source = self.source(&mut known)?;
        must_be_root()?;
        let from = source.name;
        let missing = || {
            let text = format!("{from} has no {}", inner.display());
            Failure::new(Exit::NotFound, text)
        };
        let source = match Entry::of(&source.path, &inner) {
            Err(failure) if failure.exit == Exit::NotFound => return Err(missing()),
            found => found?,
        };
        if !source.exists() {
            return Err(missing());
        }
        let mut target = Entry::of(&known.path, &inner)?;
        if let Some(name) = to {
            target = target.beside(name.as_os_str());
            if target.exists() {
                let text = format!("{} exists already", target.shown().display());
                return Err(Failure::new(Exit::BadState, text));
            }
        }
        check_replaceable(&target)?;
        self.check_unused(&target)?;
        // Long work: by now somebody may have opened it.
        let Restored { files, left } = bring_back(&source, &target, || self.check_unused(&target))?;
        let (source, target) = (source.shown(), target.shown());
        let mut answer = json!({
            "server": known.server, "source": source, "target": target, "files": files
        });
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let files = counted(files, "file");
        let mut text = format!("{} is restored: {files}", target.display());
        if let (Some(left), Some(answer)) = (left, answer.as_object_mut()) {
            text.push_str(&format!(
                "\nwhat was there before still lies beside it, and goes with the next restore there \
                 if it can be removed by then: {left}"
            ));
            answer.insert("left".to_owned(), left.into());
        }
        acted(screen, &answer, text);
        Ok(())
    }

    fn ask(&self, client: &AdminClient) -> Result<Sources, Failure> {
        let mut path = format!("/v1/shares/{}/sources", segment(&self.share));
        if let Some(server) = &self.server {
            path.push_str(&format!("?server={}", segment(server)));
        }
        Ok(client.get(&path)?)
    }

    fn source(&self, known: &mut Sources) -> Result<Source, Failure> {
        let is_it = |source: &Source| match (&self.snapshot, &self.copy) {
            (Some(name), _) => source.kind == "snapshot" && source.name == *name,
            (None, Some(copy)) => source.kind == "copy" && source.name.eq_ignore_ascii_case(copy),
            (None, None) => false,
        };
        let Some(at) = known.sources.iter().position(is_it) else {
            let what = match (&self.snapshot, &self.copy) {
                (Some(name), _) => format!("snapshot {name}"),
                (None, copy) => format!("copy {}", copy.as_deref().unwrap_or_default()),
            };
            let text = format!("there is no {what} of {} on {}", known.share, known.server);
            return Err(Failure::new(Exit::NotFound, text));
        };
        let source = known.sources.swap_remove(at);
        if source.writable {
            let set = source.set.as_deref().unwrap_or("SET");
            let text = format!(
                "{} is not recovered yet and can be written: wait for its client, or seal it: \
                 fsrvpctl seal {set}",
                source.name
            );
            return Err(Failure::new(Exit::BadState, text));
        }
        Ok(source)
    }

    fn check_unused(&self, target: &Entry) -> Result<(), Failure> {
        if self.while_open {
            return Ok(());
        }
        match open_over_smb(target.shown())? {
            None => Ok(()),
            Some((process, file)) => {
                let text = format!(
                    "smbd process {process} has {} open: let its client close it, or say \
                     --while-open",
                    file.display()
                );
                Err(Failure::new(Exit::BadState, text))
            }
        }
    }
}

/// Owners, access lists and the files that SMB clients have open are root's affair: whoever else restored would
/// lose the former without a word, and not see the latter.
fn must_be_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let text =
        "only root can give files back to their owners, with their access lists: run it as root";
    Err(Failure::new(Exit::Unreachable, text))
}

fn one_name(name: &Path) -> Result<PathBuf, Failure> {
    let inner = inside(name)?;
    if inner.components().count() == 1 {
        return Ok(inner);
    }
    let text = format!("{} is not one name", name.display());
    Err(Failure::new(Exit::Usage, text))
}
