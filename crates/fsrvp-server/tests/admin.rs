//! The admin socket as a program sees it, and its description held against it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use fsrvp_client::FsrvpClient;
use fsrvp_idl::{Context, ShadowCopyId, ShadowCopySetId};
use fsrvp_server::admin::{Endpoint, endpoints, overviews};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use support::{Daemon, Lab, administrator};

const WAIT: Duration = Duration::from_secs(60);
const UNC: &str = r"\\LAB\docs";
const UNKNOWN: &str = "00000000-0000-0000-0000-00000000abcd";

/// How far a set is walked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    Added,
    Exposed,
    Recovered,
}

async fn walk(client: &mut FsrvpClient, until: Until) -> (ShadowCopySetId, ShadowCopyId) {
    let context = Context::try_from(0x0040_0009).unwrap();
    client.set_context(context).await.unwrap();
    let set = client
        .start_shadow_copy_set(support::client_set())
        .await
        .unwrap();
    let copy = client
        .add_to_shadow_copy_set(support::client_copy(), set, UNC)
        .await
        .unwrap();
    if until >= Until::Exposed {
        client.prepare_shadow_copy_set(set, WAIT).await.unwrap();
        client.commit_shadow_copy_set(set, WAIT).await.unwrap();
        client.expose_shadow_copy_set(set, WAIT).await.unwrap();
    }
    if until >= Until::Recovered {
        client.recovery_complete_shadow_copy_set(set).await.unwrap();
    }
    (set, copy)
}

const SERVER: &str = "min_auth_level = \"none\"\n[[server.share]]\nname = \"docs\"\nkeep = { name = \"k-{time}\", count = 2 }";

/// The description, and what has been held against it.
struct Description {
    document: Value,
    seen: BTreeSet<(String, String)>,
}

impl Description {
    fn new() -> Self {
        let text = include_str!("../../../docs/openapi.json");
        Self {
            document: serde_json::from_str(text).unwrap(),
            seen: BTreeSet::new(),
        }
    }

    /// Asks, and holds the answer against the description: its status must be named there, and its
    /// body have every field that is described and no other.
    fn ask(&mut self, daemon: &Daemon, verb: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, text) = daemon.request(verb, path, body);
        let template = self.template(path);
        let operation = &self.document["paths"][&template][verb.to_lowercase()];
        assert!(operation.is_object(), "{verb} {template} is not described");
        let response = &operation["responses"][status.to_string()];
        assert!(
            response.is_object(),
            "{verb} {path} gave {status}, which is not described: {text}"
        );
        self.seen.insert((verb.to_lowercase(), template));
        let content = response["content"].as_object().unwrap();
        let Some(described) = content.get("application/json") else {
            return (status, Value::String(text));
        };
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let mut schema = described["schema"].clone();
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&answer)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{verb} {path}: {errors:#?}\n{answer:#}");
        (status, answer)
    }

    fn get(&mut self, daemon: &Daemon, path: &str) -> Value {
        let (status, answer) = self.ask(daemon, "GET", path, "");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// The path of the description that a path of a request is.
    fn template(&self, path: &str) -> String {
        let path = path.split('?').next().unwrap();
        let parts: Vec<_> = path.split('/').collect();
        let fits = |template: &&String| {
            let wanted: Vec<_> = template.split('/').collect();
            wanted.len() == parts.len()
                && wanted
                    .iter()
                    .zip(&parts)
                    .all(|(want, part)| want.starts_with('{') || want == part)
        };
        let paths = self.document["paths"].as_object().unwrap();
        let exact = paths.keys().find(|template| *template == path);
        exact
            .or_else(|| paths.keys().find(fits))
            .unwrap_or_else(|| panic!("{path} is not described"))
            .clone()
    }
}

#[test]
fn every_path_and_verb_is_described_and_no_other() {
    let description = Description::new();
    let described: BTreeSet<(String, String)> = description.document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, verbs)| {
            let verbs = verbs.as_object().unwrap().keys();
            verbs.map(|verb| (verb.clone(), path.clone()))
        })
        .collect();
    let served = endpoints()
        .into_iter()
        .map(|Endpoint { verb, path }| (verb.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(described, served);
}

#[test]
fn a_report_asks_for_no_measurement() {
    assert!(overviews().any(|path| path == "/v1/sets"));
    assert!(!overviews().any(|path| path == "/v1/space"));
}

#[tokio::test]
async fn every_answer_is_as_it_is_described() {
    let lab = Lab::new(SERVER);
    let daemon = lab.start();
    let mut description = Description::new();
    let read: Vec<_> = overviews()
        .chain(["/v1/openapi.json", "/v1/space", "/metrics"])
        .collect();
    for path in &read {
        description.get(&daemon, path);
    }
    for (path, status) in [
        ("/v1/debts/lab/7", 404),
        ("/v1/debts/lab/x", 400),
        ("/v1/debts/nobody/7", 404),
    ] {
        assert_eq!(description.ask(&daemon, "DELETE", path, "").0, status);
    }
    let mut client = daemon.client(administrator()).await;
    for until in [Until::Added, Until::Exposed, Until::Recovered] {
        let (set, copy) = walk(&mut client, until).await;
        for path in &read {
            description.get(&daemon, path);
        }
        description.get(&daemon, &format!("/v1/sets/{set}"));
        let (status, _) = description.ask(&daemon, "POST", &format!("/v1/sets/{set}/abort"), "");
        assert_eq!(status, if until == Until::Recovered { 409 } else { 200 });
        if until == Until::Recovered {
            let path = format!("/v1/copies/{copy}");
            assert_eq!(description.ask(&daemon, "DELETE", &path, "").0, 200);
            assert_eq!(description.ask(&daemon, "DELETE", &path, "").0, 404);
        }
    }
    let (exposed, _) = walk(&mut client, Until::Exposed).await;
    let seal = format!("/v1/sets/{exposed}/seal");
    assert_eq!(description.ask(&daemon, "POST", &seal, "").0, 200);
    assert_eq!(description.ask(&daemon, "POST", &seal, "").0, 409);
    for verb in ["GET", "DELETE"] {
        let path = format!("/v1/sets/{UNKNOWN}");
        assert_eq!(description.ask(&daemon, verb, &path, "").0, 404);
        assert_eq!(description.ask(&daemon, verb, "/v1/sets/x", "").0, 400);
    }
    for body in ["", "{}", r#"{"count": 3}"#] {
        assert_eq!(description.ask(&daemon, "POST", "/v1/prune", body).0, 200);
    }
    let sources = description.get(&daemon, "/v1/shares/DOCS/sources?server=lab");
    let kinds: Vec<_> = sources["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| source["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.contains(&"copy") && kinds.contains(&"snapshot"),
        "{sources}"
    );
    assert_eq!(
        description
            .ask(&daemon, "GET", "/v1/shares/none/sources", "")
            .0,
        404
    );
    // A rule that the configuration refuses would end every set.
    for body in [r#"{"count": 0}"#, r#"{"age_seconds": 0}"#] {
        assert_eq!(description.ask(&daemon, "POST", "/v1/prune", body).0, 400);
    }
    let set = format!("/v1/sets/{exposed}");
    assert_eq!(description.ask(&daemon, "DELETE", &set, "").0, 200);
    let level = r#"{"level": "debug"}"#;
    assert_eq!(description.ask(&daemon, "PUT", "/v1/log", level).0, 200);
    let level = r#"{"level": "a=b=c"}"#;
    assert_eq!(description.ask(&daemon, "PUT", "/v1/log", level).0, 400);
    assert_eq!(description.ask(&daemon, "POST", "/v1/reload", "").0, 200);
    let snapshots = description.get(&daemon, "/v1/snapshots");
    let kept = snapshots["snapshots"][0].clone();
    let name = kept["name"].as_str().unwrap();
    assert!(name.starts_with("k-2"), "{kept}");
    let path = format!("/v1/snapshots/LAB/docs/{name}");
    assert_eq!(description.ask(&daemon, "DELETE", &path, "").0, 200);
    assert_eq!(description.ask(&daemon, "DELETE", &path, "").0, 404);
    // A list for a share that is copied whole would be a promise that nobody keeps.
    for (verb, share, body, expected) in [
        ("GET", "docs", "", 404),
        ("GET", "none", "", 404),
        ("PUT", "docs", r#"{"files": ["../x"]}"#, 400),
        ("PUT", "docs", r#"{"files": ["a"], "standing": true}"#, 409),
        ("PUT", "none", r#"{"files": ["a"]}"#, 404),
        ("DELETE", "docs", "", 404),
    ] {
        let path = format!("/v1/shares/{share}/targets");
        let (status, answer) = description.ask(&daemon, verb, &path, body);
        assert_eq!(status, expected, "{verb} {share} {body}: {answer}");
    }
    let all = endpoints().len();
    assert_eq!(description.seen.len(), all, "{:#?}", description.seen);
}

#[tokio::test]
async fn an_act_is_logged_with_who_did_it() {
    let lab = Lab::new(SERVER);
    let daemon = lab.start();
    let mut client = daemon.client(administrator()).await;
    let (set, copy) = walk(&mut client, Until::Exposed).await;
    client.share_mapping(copy, set, UNC).await.unwrap();
    daemon.request("POST", &format!("/v1/sets/{set}/abort"), "");
    let log = daemon.log();
    let audit: Vec<_> = log
        .lines()
        .filter(|line| line.contains(" audit: "))
        .collect();
    let told = |act: &str| {
        let act = format!("act=\"{act}\"");
        audit
            .iter()
            .find(|line| line.contains(&act))
            .unwrap_or_else(|| panic!("no {act} in {audit:#?}"))
    };
    for act in ["start", "add", "take", "expose", "read"] {
        let line = told(act);
        assert!(line.contains("account=\"LAB\\\\admin\""), "{line}");
        assert!(line.contains(&set.to_string()), "{line}");
    }
    assert!(told("read").contains(&copy.to_string()));
    let abort = told("abort");
    let uid = rustix::process::getuid().as_raw();
    assert!(abort.contains(&format!("uid {uid}")), "{abort}");
    assert!(
        abort.contains(&format!("pid {}", std::process::id())),
        "{abort}"
    );
    assert!(abort.contains(&set.to_string()), "{abort}");
    let events: Value = serde_json::from_str(&daemon.admin("/v1/events")).unwrap();
    let names: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "fsrvp.context.set",
            "fsrvp.set.started",
            "fsrvp.share.added",
            "fsrvp.set.prepared",
            "fsrvp.set.committed",
            "fsrvp.set.exposed",
            "fsrvp.set.ended",
            "fsrvp.operator.act",
        ]
    );
    assert_eq!(events["events"][4]["event_id"], 4089);
    assert_eq!(events["events"][6]["details"]["reason"], "operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_event_is_waited_for() {
    let lab = Lab::new(SERVER);
    let daemon = lab.start();
    let mut client = daemon.client(administrator()).await;
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| daemon.admin("/v1/events?after=0&wait=20"));
        let context = Context::try_from(0).unwrap();
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(client.set_context(context))
        })
        .unwrap();
        waiting.join().unwrap()
    });
    assert!(waiting.contains("fsrvp.context.set"), "{waiting}");
    let none: Value = serde_json::from_str(&daemon.admin("/v1/events?after=1")).unwrap();
    assert_eq!(none, json!({ "last": 1, "events": [] }));
}

#[tokio::test]
async fn a_reload_keeps_the_sets_and_changes_what_can_be() {
    let lab = Lab::new("min_auth_level = \"none\"");
    let daemon = lab.start();
    let mut client = daemon.client(administrator()).await;
    let (set, _) = walk(&mut client, Until::Added).await;
    lab.configure(
        "min_auth_level = \"integrity\"\nadmin_sids = [\"S-1-5-21-1-2-3-1001\"]\n\
         [server.retention]\nage = \"30d\"",
    );
    let (status, answer) = daemon.request("POST", "/v1/reload", "");
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        answer["applied"],
        json!(["server[0].admin_sids", "server[0].retention.age"])
    );
    assert_eq!(answer["needs_restart"], json!(["server[0].min_auth_level"]));
    assert!(daemon.admin("/v1/sets").contains(&set.to_string()));
    // A caller who was nobody before.
    let mut plain = daemon.client(support::nobody()).await;
    plain.is_path_supported(UNC).await.unwrap();
    client.commit_shadow_copy_set(set, WAIT).await.unwrap();

    lab.configure("profile = \"nt4\"");
    let (status, answer) = daemon.request("POST", "/v1/reload", "");
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("unknown variant `nt4`"), "{answer}");
    client.expose_shadow_copy_set(set, WAIT).await.unwrap();
}

#[test]
fn what_is_not_there_is_said_in_json() {
    let lab = Lab::new("");
    let daemon = lab.start();
    for (verb, path, status, code) in [
        ("GET", "/v2/sets", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("DELETE", "/v1/health", 405, "wrong_verb"),
        ("GET", "/v1/prune", 405, "wrong_verb"),
    ] {
        let (found, body) = daemon.request(verb, path, "");
        assert_eq!(found, status, "{verb} {path}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["code"], code, "{verb} {path}");
    }
}
