//! Events as the journal and syslog receive them, read back by a socket in their place.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Context, ShadowCopyId, ShadowCopySetId, ShareName,
};
use fsrvp_proto::event::{EndReason, Event, Subject};
use fsrvp_proto::job::{Failure, FailureKind};
use fsrvp_server::events::{CATALOGUE, History, Receiver, SystemLog, message_id, report};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Seek as _, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Lab, administrator};
use uuid::Uuid;

const WAIT: Duration = Duration::from_secs(60);
const UNC: &str = r"\\LAB\docs";
const SET: ShadowCopySetId = ShadowCopySetId(Uuid::from_u128(1));

type Fields = BTreeMap<String, String>;

/// A socket where the journal, or a syslog daemon, would listen.
struct Listener {
    socket: UnixDatagram,
    _place: tempfile::TempDir,
    path: PathBuf,
}

impl Listener {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let limit = Some(Duration::from_secs(20));
        socket.set_read_timeout(limit).unwrap();
        Self {
            socket,
            _place: place,
            path,
        }
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 20];
        let length = self.socket.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    /// The next entry of the journal whose event is this.
    fn entry(&self, event: &str) -> Fields {
        loop {
            let entry = decode(&self.receive());
            if entry["FSRVP_EVENT"] == event {
                return entry;
            }
        }
    }
}

/// \[JOURNAL_NATIVE_PROTOCOL\] "KEY=value", or the key, a line feed, the length and the value.
fn decode(mut entry: &[u8]) -> Fields {
    let mut fields = Fields::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while !entry.is_empty() {
        let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
        let (line, rest) = (&entry[..end], &entry[end + 1..]);
        let (key, value) = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                entry = rest;
                (text(&line[..at]), text(&line[at + 1..]))
            }
            None => {
                let length = u64::from_le_bytes(rest[..8].try_into().unwrap());
                let end = 8 + usize::try_from(length).unwrap();
                assert_eq!(rest[end], b'\n');
                entry = &rest[end + 1..];
                (text(line), text(&rest[8..end]))
            }
        };
        let is_legal = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        assert!(key.chars().all(is_legal), "{key}");
        assert!(fields.insert(key.clone(), value).is_none(), "{key} twice");
    }
    fields
}

fn told(receiver: Receiver, event: &Event) -> Vec<u8> {
    let listener = Listener::new();
    let history = History::telling(Some(SystemLog::new(receiver, &listener.path).unwrap()));
    report("FS", event, &history);
    listener.receive()
}

fn failure() -> Event {
    let failure = Failure {
        object: Some(PathBuf::from("/vol/vms/link")),
        ..Failure::new(FailureKind::NoSpace, "share vms: no \"space\"\nleft")
    };
    Event::JobFailed {
        subject: Subject {
            set: Some(SET),
            client_set: Some(ClientShadowCopySetId(Uuid::from_u128(2))),
            copy: Some(ShadowCopyId(Uuid::from_u128(3))),
            client_copy: Some(ClientShadowCopyId(Uuid::from_u128(4))),
            share: Some(ShareName::new("vms")),
        },
        operation: "commit",
        failure,
    }
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_journal_gets_every_field() {
    let ids: Vec<_> = (1..5)
        .map(|number| Uuid::from_u128(number).to_string())
        .collect();
    let pid = std::process::id().to_string();
    let entry = |event: &Event, name: &str, rest: &[(&str, &str)]| {
        let mut expected = fields(&[
            ("SYSLOG_FACILITY", "3"),
            ("SYSLOG_IDENTIFIER", "fsrvpd"),
            ("SYSLOG_PID", &pid),
            ("MESSAGE_ID", message_id(name).unwrap()),
            ("FSRVP_EVENT", name),
            ("FSRVP_SERVER", "FS"),
            ("FSRVP_SET", &ids[0]),
        ]);
        expected.extend(fields(rest));
        assert_eq!(decode(&told(Receiver::Journal, event)), expected, "{name}");
    };
    let took = Duration::from_millis(40);
    entry(
        &Event::Committed { set: SET, took },
        "fsrvp.set.committed",
        &[
            ("MESSAGE", "set committed in 40 ms"),
            ("PRIORITY", "6"),
            ("FSRVP_EVENT_ID", "4089"),
            ("FSRVP_MILLISECONDS", "40"),
        ],
    );
    let took = Duration::from_millis(10_001);
    entry(
        &Event::CommitSlow { set: SET, took },
        "fsrvp.commit.slow",
        &[
            ("MESSAGE", "the commit exceeded 10 seconds"),
            ("PRIORITY", "4"),
            ("FSRVP_EVENT_ID", "4364"),
            ("FSRVP_MILLISECONDS", "10001"),
        ],
    );
    let ended = Event::SetEnded {
        set: SET,
        reason: EndReason::TimedOut,
        idle: Some(Duration::from_secs(1_805)),
    };
    entry(
        &ended,
        "cifs.shadowcopy.abort",
        &[
            (
                "MESSAGE",
                "set aborted: its client was silent for 30 minutes",
            ),
            ("PRIORITY", "4"),
            ("FSRVP_REASON", "timed_out"),
            ("FSRVP_IDLE_MINUTES", "30"),
            ("FSRVP_IDLE_SECONDS", "1805"),
        ],
    );
    // A value with a line feed takes the form with a length.
    let reason = "share vms: no \"space\"\nleft";
    entry(
        &failure(),
        "cifs.shadowcopy.failure",
        &[
            ("MESSAGE", &format!("commit failed: {reason}")),
            ("PRIORITY", "4"),
            ("FSRVP_REASON", reason),
            ("FSRVP_OPERATION", "commit"),
            ("FSRVP_STATUS", "0x8004231f VSS_E_INSUFFICIENT_STORAGE"),
            ("FSRVP_CLIENT_SET", &ids[1]),
            ("FSRVP_COPY", &ids[2]),
            ("FSRVP_CLIENT_COPY", &ids[3]),
            ("FSRVP_SHARE", "vms"),
            ("FSRVP_OBJECT", "/vol/vms/link"),
        ],
    );
}

#[test]
fn syslog_gets_every_field_on_one_line() {
    let pid = std::process::id();
    let took = Duration::from_millis(40);
    let line = told(Receiver::Syslog, &Event::Committed { set: SET, took });
    assert_eq!(
        String::from_utf8(line).unwrap(),
        format!(
            "<30>fsrvpd[{pid}]: set committed in 40 ms event=\"fsrvp.set.committed\" \
             event_id=\"4089\" server=\"FS\" set=\"{SET}\" milliseconds=\"40\""
        )
    );
    let line = String::from_utf8(told(Receiver::Syslog, &failure())).unwrap();
    assert!(line.starts_with("<28>fsrvpd["), "{line}");
    assert!(!line.contains('\n'), "{line}");
    for field in [
        r#" event="cifs.shadowcopy.failure""#,
        r#" reason="share vms: no \"space\" left""#,
        r#" operation="commit""#,
        r#" object="/vol/vms/link""#,
        r#" share="vms""#,
        r#" client_set="00000000-0000-0000-0000-000000000002""#,
        r#" client_copy="00000000-0000-0000-0000-000000000004""#,
    ] {
        assert!(line.contains(field), "{field}: {line}");
    }
}

#[test]
fn a_long_entry_goes_as_a_file_and_nobody_who_listens_is_no_obstacle() {
    let listener = Listener::new();
    let system_log = SystemLog::new(Receiver::Journal, &listener.path).unwrap();
    let history = History::telling(Some(system_log));
    let error = "x".repeat(1 << 20);
    let event = Event::PersistFailed {
        error: error.clone(),
    };
    report("FS", &event, &history);
    let mut file = std::fs::File::from(receive_descriptor(&listener.socket));
    let mut entry = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut entry).unwrap();
    assert_eq!(decode(&entry)["FSRVP_REASON"], error);
    drop(listener);
    report("FS", &event, &history);
    assert_eq!(history.after(0, 10, |_| true).len(), 2);
}

/// Where our own log leaves events to the journal, it has those that the journal did not take.
#[test]
fn an_event_that_nobody_takes_is_in_our_own_log() {
    let gone = Listener::new().path.clone();
    for (alone, expected) in [(true, 2), (false, 0)] {
        let system_log = SystemLog::new(Receiver::Journal, &gone).unwrap();
        let system_log = if alone {
            system_log.alone()
        } else {
            system_log
        };
        let lines = Lines::default();
        let writer = lines.clone();
        let own = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(own, || {
            let history = History::telling(Some(system_log));
            let event = Event::PersistFailed {
                error: "no room".to_owned(),
            };
            for _ in 0..2 {
                report("FS", &event, &history);
            }
        });
        let log = lines.0.lock().unwrap();
        let log = String::from_utf8_lossy(&log);
        let left = log.lines().filter(|line| {
            line.contains("system_log")
                && line.contains("fsrvp.store.failed")
                && line.contains("FS")
        });
        assert_eq!(left.count(), expected, "{log}");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn receive_descriptor(socket: &UnixDatagram) -> OwnedFd {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [], &mut ancillary, RecvFlags::empty()).unwrap();
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    descriptors.next().unwrap().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_a_daemon_names_all_that_it_is_about() {
    let listener = Listener::new();
    let lab = Lab::new("min_auth_level = \"none\"");
    lab.prepend(&format!(
        "[log]\nevents = \"journal\"\nevents_socket = {:?}\n",
        listener.path
    ));
    let daemon = lab.start();
    let mut client = daemon.client(administrator()).await;
    let context = Context::try_from(0).unwrap();
    client.set_context(context).await.unwrap();
    let client_set = support::client_set();
    let client_copy = support::client_copy();
    let set = client.start_shadow_copy_set(client_set).await.unwrap();
    let copy = client
        .add_to_shadow_copy_set(client_copy, set, UNC)
        .await
        .unwrap();
    let shares = std::fs::read_to_string(lab.shares()).unwrap();
    // What the client calls them outlives the daemon.
    drop((client, daemon));
    std::fs::write(lab.shares(), shares.replace("/docs", "/elsewhere")).unwrap();
    let daemon = lab.start();
    let mut client = daemon.client(administrator()).await;
    client.prepare_shadow_copy_set(set, WAIT).await.unwrap_err();
    let failure = listener.entry("cifs.shadowcopy.failure");
    for (name, value) in [
        ("FSRVP_OPERATION", "prepare".to_owned()),
        ("FSRVP_SET", set.to_string()),
        ("FSRVP_CLIENT_SET", client_set.to_string()),
        ("FSRVP_COPY", copy.to_string()),
        ("FSRVP_CLIENT_COPY", client_copy.to_string()),
        ("FSRVP_SHARE", "docs".to_owned()),
        ("FSRVP_SERVER", "LAB".to_owned()),
    ] {
        assert_eq!(failure[name], value, "{name}");
    }
    assert!(failure["FSRVP_REASON"].contains("begin a new set"));
    drop((client, daemon));
    std::fs::write(lab.shares(), shares).unwrap();
    let daemon = lab.start();
    let mut client = daemon.client(administrator()).await;
    client.prepare_shadow_copy_set(set, WAIT).await.unwrap();
    client.commit_shadow_copy_set(set, WAIT).await.unwrap();
    let committed = listener.entry("fsrvp.set.committed");
    assert_eq!(committed["FSRVP_EVENT_ID"], "4089");
}

/// The handbook's table: name and id of each.
#[test]
fn the_handbook_lists_every_event_and_no_other() {
    let text = include_str!("../../../docs/events.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let listed: BTreeSet<(String, String)> = rows
        .map(|row| {
            let cells: Vec<_> = row
                .split('|')
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect();
            (cells[1].clone(), cells[6].clone())
        })
        .collect();
    let known = CATALOGUE
        .iter()
        .map(|(name, id)| ((*name).to_owned(), (*id).to_owned()));
    assert_eq!(listed, known.collect());
    let ids: BTreeSet<_> = CATALOGUE.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), CATALOGUE.len());
    assert!(CATALOGUE.iter().all(|(_, id)| Uuid::parse_str(id).is_ok()));
}

#[test]
fn the_catalogue_has_the_names_that_the_code_uses() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/events/record.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let used: BTreeSet<_> = source
        .split('"')
        .filter(|text| text.starts_with("fsrvp.") || text.starts_with("cifs."))
        .collect();
    let known: BTreeSet<_> = CATALOGUE.iter().map(|(name, _)| *name).collect();
    assert_eq!(used, known);
}
