//! `fsrvpctl targets`: which files of a share the next copy, or every copy, has to hold.

use super::show::acted;
use super::{ask, segment};
use crate::screen::{Cell, Screen};
use crate::{AdminClient, Exit, Failure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// `fsrvpctl targets`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Targets {
    /// Show all lists, or the files of one
    List {
        /// The share
        share: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Name the files of a share that a copy has to hold, in place of an earlier list
    Set(Set),
    /// Remove the list of a share: copies hold all of it again
    Clear {
        /// The share
        share: String,
        #[command(flatten)]
        which: Which,
    },
}

/// Which server is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The server, where several have a share of that name
    #[arg(long)]
    server: Option<String>,
}

/// `fsrvpctl targets set`
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("paths").required(true))]
pub(crate) struct Set {
    /// The share
    share: String,
    /// Files and directories below the share's own directory; a directory stands for all in it
    #[arg(group = "paths", value_name = "FILE")]
    files: Vec<String>,
    /// Read them from this file, one a line; "-" is the standard input
    #[arg(long, group = "paths", value_name = "LIST")]
    from: Option<PathBuf>,
    /// For every set, not only for the next one
    #[arg(long)]
    standing: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Deserialize)]
struct Lists {
    targets: Vec<List>,
}

#[derive(Debug, Deserialize)]
struct List {
    server: String,
    share: String,
    files: Vec<String>,
    standing: bool,
}

/// Which sets a list is for.
const fn serves(standing: bool) -> &'static str {
    if standing {
        "every set"
    } else {
        "the next set"
    }
}

impl Targets {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        match self {
            Self::List { share: None, which } => {
                which.check_alone()?;
                ask(client, screen, "/v1/targets", all)
            }
            Self::List {
                share: Some(share),
                which,
            } => ask(client, screen, &which.path(share), one),
            Self::Set(set) => set.run(client, screen),
            Self::Clear { share, which } => {
                let answer: Value = client.request("DELETE", &which.path(share), None)?;
                let text = format!("share {share} has no file list any more");
                acted(screen, &answer, text);
                Ok(())
            }
        }
    }
}

impl Which {
    fn path(&self, share: &str) -> String {
        let share = segment(share);
        match &self.server {
            Some(server) => format!("/v1/shares/{share}/targets?server={}", segment(server)),
            None => format!("/v1/shares/{share}/targets"),
        }
    }

    fn check_alone(&self) -> Result<(), Failure> {
        match self.server {
            Some(_) => Err(Failure::new(
                Exit::Usage,
                "--server goes with a share: fsrvpctl targets list SHARE --server NAME",
            )),
            None => Ok(()),
        }
    }
}

impl Set {
    fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let files = match &self.from {
            Some(list) => read(list)?,
            None => self.files.clone(),
        };
        let body = json!({ "files": files, "standing": self.standing });
        let answer: Value = client.request("PUT", &self.which.path(&self.share), Some(&body))?;
        let text = format!(
            "share {}: {} copies {}",
            self.share,
            serves(self.standing),
            match files.as_slice() {
                [one] => one.clone(),
                several => format!("{} files and directories", several.len()),
            }
        );
        acted(screen, &answer, text);
        Ok(())
    }
}

/// One path a line; empty lines are none.
fn read(list: &Path) -> Result<Vec<String>, Failure> {
    let text = if list == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(list)
    };
    let text = text.map_err(|error| {
        let text = format!("cannot read {}: {error}", list.display());
        Failure::new(Exit::Failed, text)
    })?;
    let files: Vec<_> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    if files.is_empty() {
        let text = format!(
            "{} names no files; to copy all of a share again: fsrvpctl targets clear SHARE",
            list.display()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(files)
}

fn all(screen: &mut Screen, lists: Lists) {
    if lists.targets.is_empty() {
        return screen.line("no share has a file list: copies hold all of it");
    }
    let rows = lists.targets.into_iter().map(|list| {
        vec![
            Cell::from(list.share.as_str()),
            Cell::from(list.server.as_str()),
            Cell::from(serves(list.standing)),
            Cell::from(list.files.join("\n")),
        ]
    });
    screen.table(&["SHARE", "SERVER", "FOR", "FILES"], rows.collect());
}

fn one(screen: &mut Screen, list: List) {
    screen.fields(
        0,
        [
            ("share", Cell::from(list.share.as_str())),
            ("server", Cell::from(list.server.as_str())),
            ("for", Cell::from(serves(list.standing))),
            ("files", Cell::from(list.files.join("\n"))),
        ],
    );
}
