//! What is outside of the process and survives it: disks, shares, store. The product's parts in
//! memory, behind steps that the scheduler lets happen, fail, or be the last.

mod backend;
mod directory;
mod lists;
mod store;

pub(crate) use backend::SimBackend;
pub(crate) use directory::SimDirectory;
pub(crate) use lists::{Fated, SimLists, Stored, parted};
pub(crate) use store::SimStore;

use crate::keeping::Seen;
use crate::strand::Forks;
use fsrvp_idl::{ShadowCopyId, ShareName};
use fsrvp_proto::job::VolumeId;
use fsrvp_samba::directory::StaticDirectory;
use fsrvp_snapshot::Memory;
use fsrvp_snapshot::memory::Form;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The shares of the server: name, directory. The first two stand on one volume, the last on none.
pub(crate) const SHARES: [(&str, &str); 6] = [
    ("docs", "/srv/a"),
    ("below", "/srv/a/below"),
    ("hidden$", "/srv/b"),
    ("data", "/srv/c"),
    ("mail", "/srv/d"),
    ("nowhere", "/none"),
];

/// The volumes: root, and the backend that makes their snapshots.
pub(crate) const VOLUMES: [(&str, &str); 4] = [
    ("/srv/a", "memory"),
    ("/srv/b", "memory"),
    ("/srv/c", "second"),
    ("/srv/d", "second"),
];

/// Written again and again: what a copy holds of it tells when the copy was made.
pub(crate) const STAMP: &str = "stamp";

/// Everything that a crash leaves alone.
pub(crate) struct World {
    pub(crate) backends: Vec<Arc<Disk>>,
    pub(crate) shares: StaticDirectory,
    pub(crate) store: SimStore,
    pub(crate) forks: Forks,
    /// Which file list each copy was told last, by the folded name of the share.
    told: Mutex<BTreeMap<ShadowCopyId, BTreeMap<String, String>>>,
    /// Counts changes of copies, shares and their content.
    version: AtomicU64,
}

/// The volumes of one backend.
pub(crate) struct Disk {
    pub(crate) memory: Memory,
    state: Mutex<DiskState>,
}

#[derive(Default)]
struct DiskState {
    /// Volumes whose file systems are not there.
    absent: BTreeSet<VolumeId>,
    /// Copies that smbd can reach: a mount of the process's, lost at a reboot.
    mounted: BTreeSet<ShadowCopyId>,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        let disk = |name: &str| {
            let memory = Memory::named(name);
            for (root, _) in VOLUMES.iter().filter(|(_, backend)| *backend == name) {
                memory.add_volume(*root);
            }
            Arc::new(Disk {
                memory,
                state: Mutex::default(),
            })
        };
        let shares = StaticDirectory::new("LAB");
        for (name, path) in SHARES {
            shares.add_share(name, path);
        }
        Arc::new(Self {
            backends: vec![disk("memory"), disk("second")],
            shares,
            store: SimStore::default(),
            forks: Forks::default(),
            told: Mutex::default(),
            version: AtomicU64::new(0),
        })
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    pub(crate) fn changed(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn disk_of(&self, root: &str) -> &Arc<Disk> {
        let named = VOLUMES.iter().find(|(volume, _)| *volume == root);
        let name = named.map_or("memory", |(_, backend)| *backend);
        let at = usize::from(name == "second");
        &self.backends[at]
    }

    /// Writers write to every volume.
    pub(crate) fn stamp(&self, stamp: u64) {
        for (root, _) in VOLUMES {
            let file = Path::new(root).join(STAMP);
            let written = self.disk_of(root).memory.write(&file, &stamp.to_be_bytes());
            written.expect("a volume can be written");
        }
    }

    /// All copies on all disks, wherever their file systems are.
    pub(crate) fn copies(&self) -> BTreeMap<ShadowCopyId, Form> {
        let disks = self.backends.iter();
        disks.flat_map(|disk| disk.memory.copies()).collect()
    }

    /// What a copy holds: the stamp of its volume, and what recovery wrote.
    pub(crate) fn content(&self, copy: ShadowCopyId) -> Vec<Option<Vec<u8>>> {
        let path = copy_path(copy);
        let disk = self
            .backends
            .iter()
            .find(|disk| disk.memory.copies().contains_key(&copy));
        let read = |name: &str| disk.and_then(|disk| disk.memory.read(&path.join(name)));
        vec![read(STAMP), read("recovered")]
    }

    /// All kept snapshots, by folded share and name.
    pub(crate) fn kept(&self) -> BTreeMap<(String, String), Seen> {
        use fsrvp_snapshot::SnapshotBackend;
        let mut all = BTreeMap::new();
        for disk in &self.backends {
            for kept in disk.memory.list_kept().expect("no fault is injected") {
                let read = |name: &str| disk.memory.read(&kept.path.join(name));
                let seen = Seen {
                    copy: kept.copy,
                    created: kept.created,
                    content: vec![read(STAMP), read("recovered")],
                };
                all.insert((kept.share.folded(), kept.name), seen);
            }
        }
        all
    }

    /// A copy is told the list of a share, or that there is none.
    pub(crate) fn tell(&self, copy: ShadowCopyId, share: &ShareName, list: Option<String>) {
        let mut told = self.told.lock().unwrap();
        let of_copy = told.entry(copy).or_default();
        match list {
            Some(list) => drop(of_copy.insert(share.folded(), list)),
            None => drop(of_copy.remove(&share.folded())),
        }
    }

    /// What all copies were told last.
    pub(crate) fn told(&self) -> BTreeMap<ShadowCopyId, BTreeMap<String, String>> {
        self.told.lock().unwrap().clone()
    }

    /// Which of these exposed shares a client has open.
    pub(crate) fn used(&self, names: &[String]) -> BTreeSet<String> {
        use fsrvp_proto::ShareDirectory;
        self.shares.in_use(names).expect("no fault is injected")
    }

    /// Clients close what they have open.
    pub(crate) fn all_is_closed(&self) {
        for name in self.exposed().into_keys() {
            self.shares.set_in_use(&name, false);
        }
    }

    /// A client writes to an exposed copy, by its share.
    pub(crate) fn write_through(&self, share: &str, data: &[u8]) -> bool {
        let Some(exposed) = self.exposed().remove(share) else {
            return false;
        };
        let copies = self.copies();
        let copy = copies
            .keys()
            .find(|copy| exposed.path.starts_with(copy_path(**copy)));
        let Some(copy) = copy else { return false };
        let file = copy_path(*copy).join("recovered");
        let mut disks = self.backends.iter();
        self.changed();
        !exposed.read_only && disks.any(|disk| disk.memory.write(&file, data).is_ok())
    }

    /// All exposed shares, by name.
    pub(crate) fn exposed(&self) -> BTreeMap<String, fsrvp_proto::directory::ExposedShare> {
        use fsrvp_proto::ShareDirectory;
        let exposed = self.shares.exposed().expect("no fault is injected here");
        let by_name = exposed.into_iter().map(|share| (share.name.clone(), share));
        by_name.collect()
    }

    pub(crate) fn is_mounted(&self, copy: ShadowCopyId) -> bool {
        let mut disks = self.backends.iter();
        disks.any(|disk| disk.state.lock().unwrap().mounted.contains(&copy))
    }

    /// Whether the file system of a volume is there.
    pub(crate) fn is_there(&self, volume: &VolumeId) -> bool {
        let mut disks = self.backends.iter();
        !disks.any(|disk| disk.state.lock().unwrap().absent.contains(volume))
    }

    pub(crate) fn set_there(&self, root: &str, there: bool) {
        let volume = volume_id(root);
        let mut state = self.disk_of(root).state.lock().unwrap();
        if there {
            state.absent.remove(&volume);
        } else {
            state.absent.insert(volume);
        }
    }

    pub(crate) fn set_full(&self, root: &str, full: bool) {
        self.disk_of(root).memory.set_full(Path::new(root), full);
    }

    /// The machine starts anew: mounts are lost.
    pub(crate) fn reboot(&self) {
        for disk in &self.backends {
            disk.state.lock().unwrap().mounted.clear();
        }
    }

    /// An administrator deletes a copy by hand.
    pub(crate) fn delete_copy(&self, copy: ShadowCopyId) {
        use fsrvp_proto::job::CopyRef;
        use fsrvp_snapshot::SnapshotBackend;
        for disk in &self.backends {
            let listed = disk.memory.enumerate().unwrap_or_default();
            let found: Option<CopyRef> = listed.into_iter().find(|found| found.copy == copy);
            if let Some(found) = found {
                disk.memory.delete(&found).expect("no fault is injected");
                disk.state.lock().unwrap().mounted.remove(&copy);
                self.changed();
            }
        }
    }

    /// An administrator deletes an exposed share by hand.
    pub(crate) fn delete_share(&self, name: &str) {
        use fsrvp_proto::ShareDirectory;
        self.shares.withdraw(name).expect("no fault is injected");
        self.changed();
    }

    /// Previous versions that lead to no copy.
    pub(crate) fn dangling_links(&self) -> Vec<String> {
        let copies = self.copies();
        let mut dangling = Vec::new();
        for disk in &self.backends {
            for (share, _) in SHARES {
                let links = disk.memory.links(&ShareName::new(share));
                let lost = links.into_iter().filter(|(_, to)| !copies.contains_key(to));
                dangling.extend(lost.map(|(label, to)| format!("{share}/{label} -> {to}")));
            }
        }
        dangling
    }
}

pub(crate) fn volume_id(root: &str) -> VolumeId {
    VolumeId(format!("memory:{root}"))
}

fn copy_path(copy: ShadowCopyId) -> PathBuf {
    Path::new("/memory/copies").join(copy.to_string())
}
