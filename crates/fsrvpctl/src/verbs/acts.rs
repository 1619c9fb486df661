//! `fsrvpctl abort`, `seal`, `delete`, `prune`

use super::segment;
use super::show::{acted, resolve};
use crate::screen::Screen;
use crate::time::counted;
use crate::{AdminClient, Exit, Failure};
use serde_json::{Value, json};
use std::time::Duration;

/// A set on the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// The set, or the beginning of its id
    set: String,
}

impl Set {
    pub(crate) fn abort(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let set = resolve(client, &self.set)?;
        let answer: Value = client.request("POST", &format!("/v1/sets/{set}/abort"), None)?;
        acted(screen, &answer, format!("set {set} is aborted"));
        Ok(())
    }

    pub(crate) fn seal(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let set = resolve(client, &self.set)?;
        let answer: Value = client.request("POST", &format!("/v1/sets/{set}/seal"), None)?;
        acted(
            screen,
            &answer,
            format!("set {set} is recovered and sealed"),
        );
        Ok(())
    }
}

/// What is removed.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// A set with all its copies, or the beginning of its id
    set: Option<String>,
    /// One copy of a set
    #[arg(long, value_name = "ID")]
    copy: Option<String>,
    /// A kept snapshot: the name of its share and its own
    #[arg(long, num_args = 2, value_names = ["SHARE", "NAME"])]
    snapshot: Option<Vec<String>>,
}

/// `fsrvpctl delete`
#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    what: What,
    /// The server, where several have a share of that name
    #[arg(long)]
    server: Option<String>,
}

impl Delete {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        if let Some(set) = &self.what.set {
            let set = resolve(client, set)?;
            let answer: Value = client.request("DELETE", &format!("/v1/sets/{set}"), None)?;
            acted(screen, &answer, format!("set {set} is deleted"));
        } else if let Some(copy) = &self.what.copy {
            let id = copy.trim_matches(['{', '}']);
            let is_hex = id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            if id.len() != 36 || !is_hex {
                let text = format!("{copy:?} is no id of a copy: `fsrvpctl show SET` has them");
                return Err(Failure::new(Exit::Usage, text));
            }
            let path = format!("/v1/copies/{id}");
            let answer: Value = client.request("DELETE", &path, None)?;
            acted(screen, &answer, format!("copy {copy} is deleted"));
        } else if let Some([share, name]) = self.what.snapshot.as_deref() {
            let server = self.server_of(client, share, name)?;
            let [server, share_part, name_part] = [&server, share, name].map(|text| segment(text));
            let path = format!("/v1/snapshots/{server}/{share_part}/{name_part}");
            let answer: Value = client.request("DELETE", &path, None)?;
            acted(
                screen,
                &answer,
                format!("snapshot {name} of {share} is deleted"),
            );
        }
        Ok(())
    }

    fn server_of(&self, client: &AdminClient, share: &str, name: &str) -> Result<String, Failure> {
        if let Some(server) = &self.server {
            return Ok(server.clone());
        }
        let all: Value = client.get("/v1/snapshots")?;
        let is_it = |snapshot: &&Value| {
            let text = |key: &str| {
                snapshot
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            text("share").eq_ignore_ascii_case(share) && text("name") == name
        };
        let snapshots = all.get("snapshots").and_then(Value::as_array);
        let found: Vec<_> = snapshots.into_iter().flatten().filter(is_it).collect();
        let server = |snapshot: &Value| {
            let server = snapshot.get("server").and_then(Value::as_str);
            server.unwrap_or_default().to_owned()
        };
        match found.as_slice() {
            [one] => Ok(server(one)),
            [] => {
                let text = format!("there is no snapshot {name} of {share}");
                Err(Failure::new(Exit::NotFound, text))
            }
            _ => Err(Failure::new(
                Exit::Usage,
                "several servers have one of that name: say which with --server",
            )),
        }
    }
}

/// `fsrvpctl prune`
#[derive(Debug, clap::Args)]
pub(crate) struct Prune {
    /// End sets that were recovered longer ago, as "30d", in place of the configured rule
    #[arg(long, value_parser = humantime::parse_duration)]
    age: Option<Duration>,
    /// Keep so many recovered copies of each share, in place of the configured rule
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
}

impl Prune {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let age = self.age.map(|age| age.as_secs());
        let rule = json!({ "age_seconds": age, "count": self.count });
        let answer: Value = client.request("POST", "/v1/prune", Some(&rule))?;
        if screen.is_json() {
            screen.json(&answer);
            return Ok(());
        }
        let servers = answer.get("servers").and_then(Value::as_object);
        for (server, pruned) in servers.into_iter().flatten() {
            let sets = pruned.get("sets").and_then(Value::as_array);
            let debts = pruned.get("debts").and_then(Value::as_u64);
            let debts = debts.and_then(|debts| usize::try_from(debts).ok());
            let mut what = Vec::new();
            if let Some(sets) = sets.filter(|sets| !sets.is_empty()) {
                let sets = counted(sets.len(), "set");
                what.push(format!("{sets} to end, unless a client has a copy open"));
            }
            if let Some(debts) = debts.filter(|debts| *debts > 0) {
                what.push(format!("{} to remove at last", counted(debts, "leftover")));
            }
            if what.is_empty() {
                what.push("no set is due, nothing is left over".to_owned());
            }
            screen.line(format!("{server}: {}", what.join("; ")));
        }
        Ok(())
    }
}
