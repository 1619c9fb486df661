//! Commit against what it cannot do without: the snapshot, one durable commit, one call.

use crate::Result;
use crate::cycle::{BACKUP, Set};
use crate::labs::{Labs, Target, state_directory};
use crate::pipe::Pipe;
use crate::report::{Goal, Limit, Report};
use crate::stats::{Series, timed};
use fsrvp_sys::btrfs::{self, SnapshotMode};
use fsrvp_testkit::Lab;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// Name of the snapshots that are made without an agent.
const SNAPSHOT: &str = "bare";

type Records = BTreeMap<String, Vec<u8>>;

/// The parts of one case.
#[derive(Debug, Default)]
struct Clean {
    commit: Series,
    snapshot: Series,
    store: Series,
    null: Series,
}

/// Commit of one clean share beside its parts, `rounds` times in turns.
pub(crate) fn clean(
    labs: &Labs,
    cases: &[(String, Target)],
    rounds: usize,
    report: &mut Report,
) -> Result<()> {
    let mut rows = Vec::new();
    for (name, target) in cases {
        let parts = Clean::measure(&labs.ours, target, rounds)?;
        let [commit, snapshot, store, null] =
            [&parts.commit, &parts.snapshot, &parts.store, &parts.null].map(Series::median);
        let bare = snapshot + store + null;
        rows.push([
            format!("{name} (n = {})", parts.commit.len()),
            format!("{commit:.3}"),
            format!("{snapshot:.3}"),
            format!("{store:.3}"),
            format!("{null:.3}"),
            format!("{:.2}", commit / bare),
            format!("{:.3}", parts.commit.quantile(0.9)),
        ]);
        let name = format!("Commit, {name}");
        report.goal(Goal::new(name, commit / bare, Limit::AtMost(1.25)));
    }
    report.table(
        "Commit of one clean share, ms",
        [
            "subvolume",
            "Commit",
            "bare ioctl",
            "bare redb commit",
            "null call",
            "ratio",
            "p90",
        ],
        rows,
    );
    report.note(
        "Medians. Two sets take turns in one loop and change places every round: in one of them the \
         agent commits, in the other the parts are done in its place, with the same calls before. \
         The ioctl is SNAP_CREATE_V2 of the same subvolume; the redb commit stores the records \
         that Commit stored, on the state directory's file system; the null call goes through the \
         same pipe. The ratio is Commit over the sum of the three medians.",
    );
    Ok(())
}

impl Clean {
    fn measure(lab: &Lab, target: &Target, rounds: usize) -> Result<Self> {
        let mut pipe = Pipe::open(&lab.pipe())?;
        let store = BareStore::like_commit(lab, &mut pipe, target)?;
        let mut parts = Self::default();
        for round in 0..rounds {
            if round % 2 == 0 {
                parts.agent(&mut pipe, target)?;
                parts.bare(&mut pipe, target, &store, round)?;
            } else {
                parts.bare(&mut pipe, target, &store, round)?;
                parts.agent(&mut pipe, target)?;
            }
        }
        Ok(parts)
    }

    fn agent(&mut self, pipe: &mut Pipe, target: &Target) -> Result<()> {
        let mut set = Set::begin(pipe, target, BACKUP)?;
        set.prepare()?;
        timed(&mut self.commit, || set.commit())?;
        set.abort()
    }

    /// The parts, in place of Commit in a set that has come as far: what went before costs the
    /// file system something afterwards, too.
    fn bare(
        &mut self,
        pipe: &mut Pipe,
        target: &Target,
        store: &BareStore,
        round: usize,
    ) -> Result<()> {
        let (source, workshop) = (File::open(&target.path)?, target.workshop()?);
        let (source, workshop) = (source.as_fd(), workshop.as_fd());
        let mut set = Set::begin(pipe, target, BACKUP)?;
        set.prepare()?;
        timed(&mut self.snapshot, || {
            btrfs::snapshot_create(source, workshop, SNAPSHOT, SnapshotMode::ReadOnly)
        })?;
        timed(&mut self.store, || store.commit(round))?;
        timed(&mut self.null, || set.null())?;
        btrfs::subvolume_destroy(workshop, SNAPSHOT)?;
        btrfs::commit_transaction(workshop)?;
        set.abort()
    }
}

/// A redb file beside the agent's, with the agent's records.
struct BareStore {
    database: Database,
    /// What Commit writes, before and after: written in turns, so that there is always a change.
    edits: [Records; 2],
}

impl BareStore {
    /// Looks up what a Commit of this share changes in the agent's table.
    fn like_commit(lab: &Lab, pipe: &mut Pipe, target: &Target) -> Result<Self> {
        let directory = state_directory(lab)?;
        let mut set = Set::begin(pipe, target, BACKUP)?;
        set.prepare()?;
        let before = records(&directory)?;
        set.commit()?;
        let after = records(&directory)?;
        set.abort()?;
        let changed: Records = after
            .iter()
            .filter(|(key, value)| before.get(*key) != Some(value))
            .map(pair)
            .collect();
        let earlier: Records = before
            .iter()
            .filter(|(key, _)| changed.contains_key(*key))
            .map(pair)
            .collect();
        if changed.is_empty() || earlier.len() != changed.len() || before.len() != after.len() {
            return Err(
                "Commit did not change records of the table, so what does it store?".into(),
            );
        }
        let path = directory.join("bench.redb");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let store = Self {
            database: Database::create(path)?,
            edits: [changed, earlier],
        };
        store.write(&after)?;
        Ok(store)
    }

    fn commit(&self, round: usize) -> Result<()> {
        let [changed, earlier] = &self.edits;
        self.write(if round.is_multiple_of(2) {
            earlier
        } else {
            changed
        })
    }

    fn write(&self, records: &Records) -> Result<()> {
        let transaction = self.database.begin_write()?;
        let mut table = transaction.open_table(RECORDS)?;
        for (key, value) in records {
            table.insert(key.as_str(), value.as_slice())?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }
}

fn pair((key, value): (&String, &Vec<u8>)) -> (String, Vec<u8>) {
    (key.clone(), value.clone())
}

/// The agent's records, from a copy of its file: the agent has it locked.
fn records(state_directory: &Path) -> Result<Records> {
    let copy = state_directory.join("bench-copy.redb");
    fs::copy(state_directory.join("table.redb"), &copy)?;
    let database = Database::open(&copy)?;
    let read = database.begin_read()?;
    let table = read.open_table(RECORDS)?;
    let mut records = Records::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.insert(key.value().to_owned(), value.value().to_vec());
    }
    drop((table, read, database));
    fs::remove_file(copy)?;
    Ok(records)
}
