//! Whole sets one after the other in one process, whose needs must stay what they are.

use crate::arguments::Endurance;
use crate::client::{CallError, Client};
use crate::observed::{VOLUMES, area};
use crate::stage::Stage;
use crate::{Outcome, invariants};
use fsrvp_client::FsrvpClient;
use fsrvp_idl::{ClientShadowCopyId, ClientShadowCopySetId};
use fsrvp_testkit::Random;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Samples that are taken over a run.
const SAMPLES: u64 = 200;
/// Fewest that tell whether something grows: two in each quarter.
const FEWEST: usize = 8;
/// Longest wait of Prepare, Commit and Expose.
const WAIT: Duration = Duration::from_secs(60);
/// How much larger the median of the last quarter may be than that of the second, in percent.
const ALLOWED: u64 = 105;

pub(crate) fn run(arguments: &Endurance, fsrvpd: &Path) -> Outcome {
    println!(
        "endurance: {} sets on the pipe's socket, {} through smbd",
        arguments.cycles, arguments.through_smbd
    );
    let mut stage = Stage::set(fsrvpd, &mut Random::new(1), |options| options)?;
    stage.kill(true)?;
    stage.start()?;
    let before = invariants::Before::look(&stage)?;
    let began = Instant::now();
    let mut client = Client::new(&stage.lab.pipe())?;
    let mut samples = Samples::default();
    let step = (arguments.cycles / SAMPLES).max(1);
    for cycle in 1..=arguments.cycles {
        if cycle % 10 == 0 {
            client.hang_up();
        }
        walk(&stage, &mut client)
            .map_err(|error| format!("set {cycle} on the pipe's socket: {error:?}"))?;
        if cycle % step == 0 {
            samples.take(&stage)?;
        }
        if cycle % 1_000 == 0 {
            println!("{cycle} in {:.0?}", began.elapsed());
        }
    }
    let pipe = began.elapsed();
    let began = Instant::now();
    let mut through_smbd = Samples::default();
    let step = (arguments.through_smbd / SAMPLES).max(1);
    for set in 1..=arguments.through_smbd {
        walk_through_smbd(&stage)?;
        if set % step == 0 {
            through_smbd.take(&stage)?;
        }
    }
    let view = stage.settle()?;
    invariants::check(&stage, &before, &crate::ledger::Ledger::default(), &view)?;
    samples.judge("on the pipe's socket")?;
    through_smbd.judge("through smbd")?;
    println!(
        "endurance: {} sets on the pipe's socket in {pipe:.0?}, {} through smbd in {:.0?}, one \
         process, nothing grew, nothing is left",
        arguments.cycles,
        arguments.through_smbd,
        began.elapsed()
    );
    stage.lab.down()?;
    Ok(())
}

fn walk(stage: &Stage, client: &mut Client) -> Result<(), CallError> {
    client.call(async |client: &mut FsrvpClient| client.set_context(0x0040_0009_u32).await)?;
    let id = ClientShadowCopySetId(Uuid::new_v4());
    let set = client.call(async move |client| client.start_shadow_copy_set(id).await)?;
    let mut copies = Vec::new();
    for base in stage.bases.iter().take(2) {
        let id = ClientShadowCopyId(Uuid::new_v4());
        let add = async |client: &mut FsrvpClient| {
            client.add_to_shadow_copy_set(id, set, &base.unc).await
        };
        copies.push((client.call(add)?, &base.unc));
    }
    client.call(async move |client| client.prepare_shadow_copy_set(set, WAIT).await)?;
    client.call(async move |client| client.commit_shadow_copy_set(set, WAIT).await)?;
    client.call(async move |client| client.expose_shadow_copy_set(set, WAIT).await)?;
    for (copy, unc) in &copies {
        let map = async |client: &mut FsrvpClient| client.share_mapping(*copy, set, unc).await;
        client.call(map)?;
    }
    let recover =
        async move |client: &mut FsrvpClient| client.recovery_complete_shadow_copy_set(set).await;
    client.call(recover)?;
    for (copy, unc) in copies {
        let delete =
            async |client: &mut FsrvpClient| client.delete_share_mapping(set, copy, unc).await;
        client.call(delete)?;
    }
    Ok(())
}

fn walk_through_smbd(stage: &Stage) -> Outcome {
    let lab = &stage.lab;
    let base = stage.bases.first().ok_or("no share")?.name;
    let create = format!("fss_create_expose backup rw {base}");
    let created = lab.rpcclient(lab.backup(), &create).check()?;
    // SET(COPY): share SHARE@{COPY} exposed as a snapshot of UNC
    let ids = created.stdout.lines().find_map(|line| {
        let (ids, _) = line.split_once("): share ")?;
        ids.split_once('(')
    });
    let (set, copy) = ids.ok_or_else(|| created.text())?;
    for command in [
        format!("fss_recovery_complete {set}"),
        format!("fss_delete {base} {set} {copy}"),
    ] {
        let output = lab.rpcclient(lab.backup(), &command).check()?;
        if output.says("failed") {
            return Err(format!("{command}: {}", output.text()).into());
        }
    }
    Ok(())
}

/// What is measured, over time.
#[derive(Default)]
struct Samples(Vec<[u64; MEASURES.len()]>);

const MEASURES: [&str; 8] = [
    "PSS of fsrvpd, KiB",
    "PSS of its helper, KiB",
    "descriptors",
    "threads",
    "bytes of the store",
    "bytes of the registry",
    "bytes of share_info.tdb",
    "entries in the areas",
];

impl Samples {
    fn take(&mut self, stage: &Stage) -> Outcome {
        let pid = stage.pid().ok_or("no agent")?;
        let helpers = crate::stage::children(pid);
        let length = |path: std::path::PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
        let entries = |path: &Path| fs::read_dir(path).map_or(0, |entries| entries.count() as u64);
        let proc = |name: &str| entries(Path::new(&format!("/proc/{pid}/{name}")));
        let mut areas = 0;
        for volume in VOLUMES {
            areas += entries(&area(&stage.lab, volume));
        }
        self.0.push([
            pss(pid)?,
            helpers
                .into_iter()
                .map(pss)
                .collect::<Outcome<Vec<_>>>()?
                .iter()
                .sum(),
            proc("fd"),
            proc("task"),
            length(stage.lab.state_dir().join("table.redb")),
            length(stage.lab.samba_state_dir().join("registry.tdb")),
            length(stage.lab.samba_state_dir().join("share_info.tdb")),
            areas,
        ]);
        Ok(())
    }

    /// Prints the medians and refuses what grew, or what so few samples cannot tell.
    fn judge(&self, sets: &str) -> Outcome {
        if self.0.len() < FEWEST {
            let samples = self.0.len();
            return Err(
                format!("{samples} samples {sets} cannot tell what grows: run more").into(),
            );
        }
        let quarter = self.0.len() / 4;
        let mut grown = Vec::new();
        println!(
            "{:>12} {:>12} {:>12}  median {sets}",
            "2nd quarter", "last quarter", "most"
        );
        for (at, name) in MEASURES.iter().enumerate() {
            let all: Vec<u64> = self
                .0
                .iter()
                .filter_map(|sample| sample.get(at).copied())
                .collect();
            let second = median(all.get(quarter..quarter * 2).unwrap_or_default());
            let last = median(all.get(all.len() - quarter..).unwrap_or_default());
            let most = all.iter().max().copied().unwrap_or_default();
            println!("{second:>12} {last:>12} {most:>12}  {name}");
            if last * 100 > second * ALLOWED {
                grown.push(*name);
            }
        }
        if grown.is_empty() {
            Ok(())
        } else {
            Err(format!("grew by more than 5 % {sets}: {}", grown.join(", ")).into())
        }
    }
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Proportional set size of a process, in KiB.
pub(crate) fn pss(pid: u32) -> Outcome<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.trim().split(' ').next());
    Ok(number.ok_or("no Pss")?.parse()?)
}
