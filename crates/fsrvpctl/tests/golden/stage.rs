//! The daemon that every verb is tried against.

use fsrvp_client::{FsrvpClient, Options, PipeIdentity};
use fsrvp_idl::{ClientShadowCopyId, ClientShadowCopySetId, Context, ShadowCopySetId};
use fsrvp_samba::npa::AuthRequest;
use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon in this process, with one set in each of three states.
pub(crate) struct Stage {
    pub(crate) dir: PathBuf,
    pub(crate) recovered: ShadowCopySetId,
    pub(crate) exposed: ShadowCopySetId,
}

/// A process has one log and one set of figures, so there is one daemon.
pub(crate) static STAGE: LazyLock<Stage> = LazyLock::new(Stage::set);

impl Stage {
    fn set() -> Self {
        let dir = std::env::temp_dir().join(format!("fsrvpctl-golden.{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        let ncalrpc = dir.join("ncalrpc");
        let mode = 0o755;
        std::fs::DirBuilder::new()
            .mode(mode)
            .create(&ncalrpc)
            .unwrap();
        std::fs::create_dir(dir.join("docs")).unwrap();
        let shares = serde_json::json!({
            "names": ["LAB"],
            "shares": [
                { "name": "docs", "path": "/srv/docs" },
                { "name": "sql", "path": "/srv/sql" },
                { "name": "off", "path": "/srv/off" },
            ]
        });
        std::fs::write(dir.join("shares.json"), shares.to_string()).unwrap();
        let config = format!(
            "[log]\nlevel = \"off\"\n[admin]\nsocket = {:?}\ngroup = \"daemon\"\n\
             [[server]]\nname = \"LAB\"\nprofile = \"ws2012\"\nmin_auth_level = \"none\"\n\
             static_shares = {:?}\npipe_directory = {:?}\nstate_dir = {:?}\nrun_dir = {:?}\n\
             [[server.share]]\nname = \"docs\"\nkeep = {{ name = \"kept-{{copy}}\" }}\n\
             [[server.share]]\nname = \"off\"\nbackend = \"none\"\n",
            dir.join("admin.sock"),
            dir.join("shares.json"),
            ncalrpc.join("np"),
            dir.join("state"),
            dir.join("run"),
        );
        std::fs::write(dir.join("fsrvpd.toml"), config).unwrap();
        let options = fsrvp_server::daemon::Options {
            config: dir.join("fsrvpd.toml"),
            check_only: false,
            boot_id: None,
            begin_anew: false,
            finish_within: Duration::ZERO,
            inspect: None,
        };
        std::thread::spawn(move || fsrvp_server::daemon::run(&options).unwrap());
        let begun = Instant::now();
        while UnixStream::connect(dir.join("admin.sock")).is_err() {
            assert!(begun.elapsed() < PATIENCE, "the daemon does not start");
            std::thread::yield_now();
        }
        // Everybody may look into the directory, so that the socket alone decides.
        let open = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&dir, open).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (recovered, exposed) = runtime.block_on(walk(&ncalrpc.join("np/fssagentrpc")));
        let stage = Self {
            dir,
            recovered,
            exposed,
        };
        let begun = Instant::now();
        while !stage.ctl(&["snapshots"]).0.contains("kept-") {
            assert!(begun.elapsed() < PATIENCE, "no snapshot is kept");
        }
        stage
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("admin.sock")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fsrvpctl"));
        command.arg("--socket").arg(self.socket()).args(arguments);
        command.env_remove("NO_COLOR").stdin(Stdio::null());
        command
    }

    /// Standard output, standard error, exit code.
    pub(crate) fn run(&self, arguments: &[&str]) -> (String, String, i32) {
        outcome(self.command(arguments))
    }

    pub(crate) fn ctl(&self, arguments: &[&str]) -> (String, i32) {
        let (out, error, code) = self.run(arguments);
        assert!(
            code == 0 || out.is_empty() || arguments.contains(&"--json"),
            "{arguments:?}: {out}"
        );
        (format!("{out}{error}"), code)
    }
}

pub(crate) fn outcome(mut command: Command) -> (String, String, i32) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (text(output.stdout), text(output.stderr), code)
}

async fn walk(pipe: &Path) -> (ShadowCopySetId, ShadowCopySetId) {
    let session = AuthRequest::from(PipeIdentity {
        account: "backup".to_owned(),
        domain: "LAB".to_owned(),
        sids: vec!["S-1-5-32-551".parse().unwrap()],
        ..PipeIdentity::default()
    });
    let mut client = FsrvpClient::connect_pipe(pipe, &session, Options::default())
        .await
        .unwrap();
    let mut sets = Vec::new();
    for (share, recover) in [("docs", true), ("sql", false)] {
        let context = Context::try_from(0x0040_0009).unwrap();
        client.set_context(context).await.unwrap();
        let unc = format!(r"\\LAB\{share}");
        let set = client
            .start_shadow_copy_set(ClientShadowCopySetId(uuid::Uuid::from_u128(1)))
            .await
            .unwrap();
        let copy = ClientShadowCopyId(uuid::Uuid::from_u128(2));
        client
            .add_to_shadow_copy_set(copy, set, &unc)
            .await
            .unwrap();
        client.prepare_shadow_copy_set(set, WAIT).await.unwrap();
        client.commit_shadow_copy_set(set, WAIT).await.unwrap();
        client.expose_shadow_copy_set(set, WAIT).await.unwrap();
        if recover {
            client.recovery_complete_shadow_copy_set(set).await.unwrap();
        }
        sets.push(set);
    }
    (sets[0], sets[1])
}

/// The same text every time: ids are numbered, times and durations are none.
pub(crate) fn normal(text: &str) -> String {
    let mut ids: HashMap<String, usize> = HashMap::new();
    let chars: Vec<char> = text.chars().collect();
    let mut normal = String::new();
    let mut at = 0;
    while at < chars.len() {
        let rest: String = chars[at..].iter().take(36).collect();
        if rest.len() == 36 && uuid::Uuid::parse_str(&rest).is_ok() {
            let next = ids.len() + 1;
            let number = ids.entry(rest).or_insert(next);
            normal.push_str(&format!("{number:08}-0000-0000-0000-000000000000"));
            at += 36;
            continue;
        }
        let is_time = |text: &str| {
            text.char_indices().all(|(at, c)| match at {
                4 | 7 => c == '-',
                10 => c == ' ' || c == 'T',
                13 | 16 => c == ':',
                _ => c.is_ascii_digit(),
            })
        };
        let time: String = rest.chars().take(19).collect();
        if time.len() == 19 && is_time(&time) {
            normal.push_str("2026-01-01 00:00:00");
            at += 19;
            continue;
        }
        normal.push(chars[at]);
        at += 1;
    }
    let lines: Vec<_> = normal.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}
