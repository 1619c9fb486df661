//! A copy holds exactly what its share held while the writers stood still.

use crate::Outcome;
use crate::arguments::Content;
use crate::backend::Backend;
use crate::client::{CallError, Client};
use crate::stage::Stage;
use fsrvp_idl::{ClientShadowCopyId, ClientShadowCopySetId, ShadowCopyId, ShadowCopySetId};
use fsrvp_sys::shared_mapping::SharedMapping;
use fsrvp_testkit::{Random, until};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Bytes of a block; O_DIRECT wants them aligned.
const BLOCK: usize = 4096;
/// Blocks of a writer's file.
const BLOCKS: u64 = 256;
/// Longest wait of Prepare, Commit and Expose.
const WAIT: Duration = Duration::from_secs(60);
/// Cycles without the freeze, each of which must be caught.
const CONTROLS: u64 = 3;

pub(crate) fn run(arguments: &Content, fsrvpd: &Path) -> Outcome {
    let backend = arguments.backend;
    backend.enter()?;
    let seed = arguments
        .seed
        .unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0 >> 16);
    println!(
        "content: {}, {} cycles, seed {seed}",
        backend.word(),
        arguments.cycles
    );
    let began = Instant::now();
    let mut random = Random::new(seed);
    let stage = Stage::on(backend, fsrvpd, &mut random, |options| options)?;
    let mut client = Client::new(&stage.lab.pipe())?;
    let writers = Writers::start(&stage, &mut random)?;
    let mut blocks = 0;
    for cycle in 1..=arguments.cycles {
        let Compared { wrong, .. } = compare(&stage, &mut client, &writers, Freeze::AsVss)?;
        if wrong > 0 {
            return Err(format!("cycle {cycle} of seed {seed}: {wrong} blocks are wrong").into());
        }
        blocks += BLOCKS * u64::try_from(writers.files.len())?;
    }
    let mut caught = Compared::default();
    for cycle in 1..=CONTROLS {
        let control = compare(&stage, &mut client, &writers, Freeze::None)?;
        if control.wrong == 0 {
            return Err(format!("control {cycle}: no block is wrong without a freeze").into());
        }
        caught.wrong += control.wrong;
        caught.files += control.files;
        caught.torn += control.torn;
    }
    let written = writers.stop();
    println!(
        "content: {}, seed {seed}, {} cycles, {blocks} blocks compared, 0 wrong, {written} written \
         meanwhile; {CONTROLS} controls without the freeze caught with {} wrong blocks, {} of {} \
         files of no one moment, {:.0?}",
        backend.word(),
        arguments.cycles,
        caught.wrong,
        caught.torn,
        caught.files,
        began.elapsed()
    );
    println!("what {} promises: {}", backend.word(), backend.promise());
    stage.lab.down()?;
    Ok(())
}

/// What writers do while the copy is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Freeze {
    /// They stand still from before Commit until after it.
    AsVss,
    /// They go on.
    None,
}

/// What was found in copies.
#[derive(Debug, Clone, Copy, Default)]
struct Compared {
    /// Blocks that differ from the model.
    wrong: usize,
    files: usize,
    /// Files that hold what they held at no moment.
    torn: usize,
}

/// Makes a set of both volumes and compares the copies with the model.
fn compare(
    stage: &Stage,
    client: &mut Client,
    writers: &Writers,
    freeze: Freeze,
) -> Outcome<Compared> {
    let (set, copies) = begin(stage, client)?;
    // What was flushed in Prepare is not all that there is.
    writers.wait_for_each()?;
    let frozen = writers.gate.write().map_err(|_| "a writer died")?;
    let model = writers.model();
    let frozen = (freeze == Freeze::AsVss).then_some(frozen);
    if frozen.is_none() {
        writers.wait_for_each()?;
    }
    let commit = client.call(async move |client| client.commit_shadow_copy_set(set, WAIT).await);
    drop(frozen);
    answered("Commit", commit)?;
    let expose = client.call(async move |client| client.expose_shadow_copy_set(set, WAIT).await);
    answered("Expose", expose)?;
    // Writers write on, and none of it may reach the copy.
    let recover = async move |client: &mut fsrvp_client::FsrvpClient| {
        client.recovery_complete_shadow_copy_set(set).await
    };
    answered("RecoveryComplete", client.call(recover))?;
    let mut compared = Compared::default();
    for (base, copy) in &copies {
        let path = stage.copy_path(*copy, *base)?;
        for (file, expected) in writers.files.iter().zip(&model) {
            if file.base == *base {
                let found = stamps(&path.join(&file.name))?;
                let same = |(found, expected): &(&Option<u64>, &u64)| **found == Some(**expected);
                let right = found.iter().zip(expected).filter(same).count();
                compared.wrong += expected.len().saturating_sub(right);
                compared.files += 1;
                compared.torn += usize::from(!file.had_once(&found));
            }
        }
    }
    for (base, copy) in copies {
        let unc = stage
            .bases
            .get(base)
            .map(|base| base.unc.clone())
            .unwrap_or_default();
        let delete = async |client: &mut fsrvp_client::FsrvpClient| {
            client.delete_share_mapping(set, copy, &unc).await
        };
        answered("Delete", client.call(delete))?;
    }
    Ok(compared)
}

fn begin(
    stage: &Stage,
    client: &mut Client,
) -> Outcome<(ShadowCopySetId, Vec<(usize, ShadowCopyId)>)> {
    let context = client.call(async |client| client.set_context(0x0040_0009_u32).await);
    answered("SetContext", context)?;
    let id = ClientShadowCopySetId(Uuid::new_v4());
    let started = client.call(async move |client| client.start_shadow_copy_set(id).await);
    let set = answered("Start", started)?;
    let mut copies = Vec::new();
    for (at, base) in stage.bases.iter().enumerate().take(2) {
        let id = ClientShadowCopyId(Uuid::new_v4());
        let add = async |client: &mut fsrvp_client::FsrvpClient| {
            client.add_to_shadow_copy_set(id, set, &base.unc).await
        };
        copies.push((at, answered("Add", client.call(add))?));
    }
    let prepared = client.call(async move |client| client.prepare_shadow_copy_set(set, WAIT).await);
    answered("Prepare", prepared)?;
    Ok((set, copies))
}

fn answered<T>(what: &str, answer: Result<T, CallError>) -> Outcome<T> {
    answer.map_err(|error| format!("{what}: {error:?}").into())
}

/// The stamp of each block of a copied file; none of a block that nobody wrote so.
fn stamps(path: &Path) -> Outcome<Vec<Option<u64>>> {
    let file = File::open(path)?;
    let mut found = vec![0; BLOCK];
    let mut stamps = Vec::new();
    for number in 0..BLOCKS {
        file.read_exact_at(&mut found, number * BLOCK as u64)?;
        let stamp = found.get(8..16).and_then(|word| word.try_into().ok());
        let stamp = stamp.map(u64::from_le_bytes);
        stamps.push(stamp.filter(|stamp| found == block(number, *stamp)));
    }
    Ok(stamps)
}

/// The content of a block: every word tells its place and its stamp.
fn block(number: u64, stamp: u64) -> Vec<u8> {
    let mut words = Random::new(number ^ stamp.rotate_left(32));
    let mut block = [number.to_le_bytes(), stamp.to_le_bytes()].concat();
    block.extend(words.bytes(BLOCK - block.len()));
    block
}

#[derive(Clone, Copy)]
enum How {
    Buffered,
    Direct,
    Mapped,
}

/// A writer's file, and its content as the writer knows it.
struct WrittenFile {
    base: usize,
    name: String,
    path: PathBuf,
    known: Mutex<Known>,
}

/// Stamps count the writes to a file.
#[derive(Default)]
struct Known {
    /// The last stamp of each block; 0 is what it held at first.
    stamps: Vec<u64>,
    /// The block of each write, from stamp 1 on.
    blocks: Vec<u64>,
}

impl WrittenFile {
    /// Whether there was a moment at which it held these stamps: that of the last of them.
    fn had_once(&self, found: &[Option<u64>]) -> bool {
        let last = found.iter().flatten().max().copied().unwrap_or(0);
        let mut then = vec![Some(0); found.len()];
        let known = crate::walker::lock(&self.known);
        for (stamp, block) in (1..=last).zip(&known.blocks) {
            let block = usize::try_from(*block).unwrap_or(usize::MAX);
            if let Some(of_block) = then.get_mut(block) {
                *of_block = Some(stamp);
            }
        }
        found == then
    }
}

struct Writers {
    gate: Arc<RwLock<()>>,
    stop: Arc<AtomicBool>,
    files: Vec<Arc<WrittenFile>>,
    threads: Vec<thread::JoinHandle<u64>>,
}

impl Writers {
    fn start(stage: &Stage, random: &mut Random) -> Outcome<Self> {
        let mut writers = Self {
            gate: Arc::default(),
            stop: Arc::default(),
            files: Vec::new(),
            threads: Vec::new(),
        };
        for (base, share) in stage.bases.iter().enumerate().take(2) {
            for (name, how) in [
                ("buffered", How::Buffered),
                ("direct", How::Direct),
                ("mapped", How::Mapped),
                ("buffered-2", How::Buffered),
            ] {
                let file = Arc::new(WrittenFile {
                    base,
                    name: name.to_owned(),
                    path: share.path.join(name),
                    known: Mutex::new(Known {
                        stamps: vec![0; usize::try_from(BLOCKS)?],
                        blocks: Vec::new(),
                    }),
                });
                let writer = Writer::open(&file, how)?;
                writers.files.push(Arc::clone(&file));
                let (gate, stop) = (Arc::clone(&writers.gate), Arc::clone(&writers.stop));
                let (random, backend) = (Random::new(random.next()), stage.backend);
                writers.threads.push(thread::spawn(move || {
                    writer.write_on(&file, backend, (&gate, &stop), random)
                }));
            }
        }
        Ok(writers)
    }

    /// What every file holds now.
    fn model(&self) -> Vec<Vec<u64>> {
        let stamps = |file: &Arc<WrittenFile>| crate::walker::lock(&file.known).stamps.clone();
        self.files.iter().map(stamps).collect()
    }

    /// Waits until every writer has written at least once more.
    fn wait_for_each(&self) -> Outcome {
        let counts = || {
            let count = |file: &Arc<WrittenFile>| crate::walker::lock(&file.known).blocks.len();
            self.files.iter().map(count).collect::<Vec<_>>()
        };
        let before = counts();
        let written = || -> Outcome<_> {
            let all = counts().iter().zip(&before).all(|(now, then)| now > then);
            Ok(all.then_some(()))
        };
        let waited = until(WAIT, written)?;
        waited.ok_or_else(|| "a writer does not write".into())
    }

    /// Ends them and gives the number of blocks that they wrote.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .sum()
    }
}

enum Writer {
    Buffered(File),
    /// With a buffer that begins at a multiple of the block's size.
    Direct(File),
    Mapped(SharedMapping),
}

impl Writer {
    fn open(file: &WrittenFile, how: How) -> Outcome<Self> {
        let plain = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&file.path)?;
        for number in 0..BLOCKS {
            plain.write_all_at(&block(number, 0), number * BLOCK as u64)?;
        }
        plain.sync_all()?;
        Ok(match how {
            How::Buffered => Self::Buffered(plain),
            How::Direct => Self::Direct(
                OpenOptions::new()
                    .write(true)
                    .custom_flags(i32::try_from(OFlags::DIRECT.bits())?)
                    .open(&file.path)?,
            ),
            How::Mapped => Self::Mapped(SharedMapping::new(
                &plain,
                usize::try_from(BLOCKS)? * BLOCK,
            )?),
        })
    }

    fn write_on(
        mut self,
        file: &WrittenFile,
        backend: Backend,
        (gate, stop): (&RwLock<()>, &AtomicBool),
        mut random: Random,
    ) -> u64 {
        let mut buffer = vec![0; BLOCK * 2];
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            let Ok(thawed) = gate.read() else { break };
            let number = random.below(BLOCKS);
            let stamp = written + 1;
            let content = block(number, stamp);
            let offset = number * BLOCK as u64;
            let done = match &mut self {
                Self::Buffered(file) => file.write_all_at(&content, offset),
                Self::Direct(file) => {
                    let begin = buffer.as_ptr().align_offset(BLOCK);
                    match buffer.get_mut(begin..begin + BLOCK) {
                        Some(aligned) => {
                            aligned.copy_from_slice(&content);
                            file.write_all_at(aligned, offset)
                        }
                        None => Ok(()),
                    }
                }
                Self::Mapped(mapping) => mapping.write_at(offset, &content),
            };
            if let Err(error) = done {
                eprintln!("{}: {error}", file.path.display());
                break;
            }
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            let mut known = crate::walker::lock(&file.known);
            if let Some(of_block) = known.stamps.get_mut(at) {
                *of_block = stamp;
                known.blocks.push(number);
                written += 1;
            }
            drop(known);
            drop(thawed);
            // Real time paces the load: the disk and the agent need a share of the machine.
            thread::sleep(backend.pause(&mut random));
        }
        written
    }
}
