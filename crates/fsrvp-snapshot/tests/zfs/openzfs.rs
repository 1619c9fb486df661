//! What OpenZFS does otherwise, and what any tool may do wrong. OpenZFS was never run here: the
//! program `openzfs` says what its manual says, written by hand, and lets zfs-fuse do the work.

use crate::battery;
use crate::bed::{Layout, Pool, backend_with};
use crate::common::{Ground, copy_ref, exposed, exposure, source};
use fsrvp_snapshot::{BackendError, Deadline, SnapshotBackend, Zfs};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn openzfs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zfs/openzfs")
}

pub(crate) fn battery() {
    battery::run(Layout::DataSet, &openzfs());
}

/// A program before `openzfs` that does what the file `do.<verb>` beside it says, and counts.
struct Tool {
    ground: Ground,
    pool: Pool,
    shares: [PathBuf; 2],
    backend: Zfs,
}

impl Tool {
    fn new() -> Self {
        let ground = Ground::new();
        let pool = Pool::new(&ground, "a");
        let shares = ["vm", "data"].map(|name| pool.data_set(name));
        let program = ground.path("zfs");
        let text = format!(
            "#!/bin/sh\nd={}\necho \"$@\" >>$d/log\n\
             if [ -f $d/do.$1 ]; then . $d/do.$1; fi\nexec {} \"$@\"\n",
            ground.path("").display(),
            openzfs().display()
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let backend = backend_with(&ground, &program);
        Self {
            ground,
            pool,
            shares,
            backend,
        }
    }

    fn does(&self, verb: &str, script: &str) {
        fs::write(self.ground.path(&format!("do.{verb}")), script).unwrap();
    }

    fn behaves(&self, verb: &str) {
        fs::remove_file(self.ground.path(&format!("do.{verb}"))).unwrap();
    }

    /// The calls of a verb since the last time.
    fn calls(&self, verb: &str) -> Vec<String> {
        let log = self.ground.path("log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        let of_verb = |line: &&str| line.split(' ').next() == Some(verb);
        text.lines().filter(of_verb).map(str::to_owned).collect()
    }

    fn commit(&self, deadline: &Deadline) -> Result<(), BackendError> {
        let sources = self
            .shares
            .each_ref()
            .map(|share| source(&self.backend, share));
        self.backend
            .prepare(&sources, &Deadline::default())
            .unwrap();
        self.backend.commit(&sources, true, deadline)
    }
}

pub(crate) fn several_in_one_call() {
    let tool = Tool::new();
    let [vm, data] = tool
        .shares
        .each_ref()
        .map(|share| source(&tool.backend, share));
    let sources = [vm, data];
    tool.backend
        .prepare(&sources, &Deadline::default())
        .unwrap();
    tool.calls("");
    tool.backend
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    let calls = tool.calls("snapshot");
    let names = sources
        .each_ref()
        .map(|source| format!("@fsrvp-{}", source.copy));
    let expected = format!(
        "{pool}/vm{} {pool}/data{}",
        names[0],
        names[1],
        pool = tool.pool.name
    );
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(calls[0].ends_with(&expected), "{calls:?}");
    assert_eq!(tool.pool.list("snapshot").len(), 2);
    // One of them exists already: the other one is made.
    tool.backend.delete(&copy_ref(&sources[1])).unwrap();
    tool.backend
        .commit(&sources, true, &Deadline::default())
        .unwrap();
    assert_eq!(tool.pool.list("snapshot").len(), 2);
}

pub(crate) fn hangs() {
    let tool = Tool::new();
    tool.does("snapshot", "sleep 86430; exit 1");
    let started = Instant::now();
    let limit = Deadline::within(Some(Duration::from_secs(2)));
    let error = tool.commit(&limit).unwrap_err();
    assert!(matches!(error, BackendError::Deadline), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
    // The one that was made before it hung.
    tool.does(
        "snapshot",
        "zfs \"$1\" \"$2\" \"$3\" \"$4\" \"$5\" \"$6\" \"$7\" \"$8\"; kill -9 $$",
    );
    let error = tool.commit(&Deadline::default()).unwrap_err();
    assert!(
        matches!(
            error,
            BackendError::Indeterminate { .. } | BackendError::Tool { .. }
        ),
        "{error}"
    );
    tool.behaves("snapshot");
    tool.commit(&Deadline::default()).unwrap();
    assert_eq!(tool.pool.list("snapshot").len(), 2);
}

/// A pool that is suspended lets the tool hang; shares elsewhere are none of its business.
pub(crate) fn hangs_elsewhere() {
    let tool = Tool::new();
    let share = tool.ground.xfs("x").join("share");
    fs::create_dir(&share).unwrap();
    tool.does("list", "sleep 86432; exit 1");
    let started = Instant::now();
    let error = tool.backend.probe(&share).unwrap_err();
    assert!(
        error.to_string().contains("is on xfs, not on ZFS"),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(20));
    tool.behaves("list");
}

pub(crate) fn busy() {
    let tool = Tool::new();
    let copied = source(&tool.backend, &tool.shares[0]);
    exposed(&tool.backend, &copied);
    let often = "[ -f $d/n ] || echo 3 >$d/n\nn=$(cat $d/n)\nif [ $n -gt 0 ]; then\n\
                 echo $((n - 1)) >$d/n\necho \"cannot destroy '$2': dataset is busy\" >&2\nexit 1\nfi";
    tool.does("destroy", often);
    tool.backend.delete(&copy_ref(&copied)).unwrap();
    assert_eq!(tool.pool.list("snapshot"), [""; 0]);
    let copied = source(&tool.backend, &tool.shares[0]);
    exposed(&tool.backend, &copied);
    tool.does(
        "destroy",
        "echo \"cannot destroy '$2': dataset is busy\" >&2; exit 1",
    );
    tool.calls("");
    let error = tool.backend.delete(&copy_ref(&copied)).unwrap_err();
    assert!(matches!(error, BackendError::Busy(_)), "{error}");
    // It is not asked for ever.
    assert_eq!(tool.calls("destroy").len(), 7);
    tool.behaves("destroy");
    tool.backend.delete(&copy_ref(&copied)).unwrap();
}

pub(crate) fn full() {
    let tool = Tool::new();
    let words = "echo 'cannot create snapshots : out of space' >&2; exit 1";
    tool.does("snapshot", words);
    let error = tool.commit(&Deadline::default()).unwrap_err();
    assert!(
        matches!(&error, BackendError::NoSpace(text) if text.contains("out of space")),
        "{error}"
    );
    assert_eq!(tool.pool.list("snapshot"), [""; 0]);
}

pub(crate) fn nonsense() {
    let tool = Tool::new();
    let copied = source(&tool.backend, &tool.shares[0]);
    for verb in ["get", "list"] {
        tool.does(verb, "echo 'one two'; echo; echo '\\t\\t\\t\\t\\t'; exit 0");
        tool.backend.probe(&tool.shares[0]).unwrap_err();
        assert!(tool.backend.expose(&exposure(&copied)).is_err());
        tool.behaves(verb);
    }
    tool.does("list", "echo 'internal error: no luck' >&2; exit 1");
    let error = tool.backend.enumerate().unwrap_err();
    assert!(
        error.to_string().contains("internal error: no luck"),
        "{error}"
    );
    let missing = backend_with(&tool.ground, Path::new("/nonexistent/zfs"));
    assert!(matches!(
        missing.probe(&tool.shares[0]),
        Err(BackendError::Tool { .. })
    ));
}
