//! `cargo xtask raw-protocol`: `samba.tests.dcerpc.raw_protocol`, Samba's collection of what
//! Windows' RPC runtime does with flags, fragments, contexts and padding, against our listener.

use crate::known::{self, Ending};
use crate::{Outcome, lab, workspace};
use fsrvp_testkit::{Embedded, EmbeddedOptions, Realm, Run, packages};
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// The suite as `python3-samba` brings it.
const SUITE: &str = "samba.tests.dcerpc.raw_protocol";
/// The number of its tests.
const ALL: usize = 194;
/// Fewer must not pass, whatever the list says.
const FLOOR: usize = 150;
/// Tests that are known to fail, below the workspace's root.
const KNOWN: &str = "tests/raw-protocol-known.txt";
/// The suite insists on port 135; no server of the machine has this address.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 135, 135);
const PORT: u16 = 135;
const KDC_PORT: u16 = 88;
/// The name by which Kerberos knows the listener; clients are told its address.
const HOST: &str = "server.rawlab.test";
const REALM: &str = "RAWLAB.TEST";
const USER: &str = "raw";
const PASSWORD: &str = "Raw-Protocol-1";
/// Security contexts of one association that we allow (`limits.rs`, MAX_SECURITY_CONTEXTS).
const SECURITY_CONTEXTS: &str = "16";
/// It takes ten seconds.
const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn run() -> Outcome {
    lab::install(packages::BUILD)?;
    lab::install(packages::LABORATORY)?;
    lab::install(packages::SUITES)?;
    let fsrvpd = workspace::build_programs(false)?.join("fsrvpd");
    judge(&fsrvpd)
}

/// Runs the suite against this fsrvpd and compares the outcome with the list.
pub(crate) fn judge(fsrvpd: &Path) -> Outcome {
    let realm = Realm::up(
        REALM,
        SocketAddr::from((ADDRESS, KDC_PORT)),
        (USER, PASSWORD),
        &format!("host/{HOST}"),
    )?;
    let dir = tempfile::tempdir()?;
    let users = dir.path().join("users.toml");
    fs::write(&users, users_file())?;
    let agent = Embedded::with(
        fsrvpd,
        &EmbeddedOptions {
            listen: format!(
                "[listen.tcp]\naddress = \"{ADDRESS}:{PORT}\"\nlaboratory_interfaces = true\n"
            ),
            server: format!(
                "[server.security]\nusers_file = {users:?}\nkeytab = {:?}\n",
                realm.keytab()
            ),
        },
    )?;
    let client = Client::new(dir.path(), &realm)?;
    // Without a realm SPNEGO means NTLM, as most tests want it; those of Kerberos have one.
    let mut endings = client.suite(&[SUITE], Kerberos::Off)?;
    let failed = |ending: &Ending| *ending == Ending::Failed;
    let again: Vec<_> = endings
        .iter()
        .filter(|(_, ending)| failed(ending))
        .map(|(name, _)| format!("{SUITE}.TestDCERPC_BIND.{name}"))
        .collect();
    let again: Vec<_> = again.iter().map(String::as_str).collect();
    endings.extend(client.suite(&again, Kerberos::On)?);
    agent.down()?;
    let known = fs::read_to_string(workspace::root().join(KNOWN))?;
    compare(&endings, &known)
}

fn users_file() -> String {
    format!(
        "[[user]]\nname = {USER:?}\npassword = {PASSWORD:?}\nsids = [\"S-1-5-21-1-2-3-1000\", \
         \"S-1-5-32-551\"]\nprincipals = [\"{USER}@{REALM}\"]\n"
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kerberos {
    On,
    Off,
}

/// How the suite is run.
struct Client<'a> {
    dir: &'a Path,
    realm: &'a Realm,
}

impl<'a> Client<'a> {
    fn new(dir: &'a Path, realm: &'a Realm) -> Result<Self, std::io::Error> {
        let place = dir.display();
        let smb_conf = format!(
            "[global]\nnetbios name = RAWCLIENT\nworkgroup = RAWLAB\nprivate dir = {place}\n\
             lock directory = {place}\nstate directory = {place}\ncache directory = {place}\n"
        );
        fs::write(dir.join("smb.conf"), smb_conf)?;
        Ok(Self { dir, realm })
    }

    fn suite(
        &self,
        tests: &[&str],
        kerberos: Kerberos,
    ) -> Result<BTreeMap<String, Ending>, Box<dyn std::error::Error>> {
        let address = ADDRESS.to_string();
        let (host, realm, config) = match kerberos {
            Kerberos::On => (HOST, REALM, self.realm.client_config()),
            Kerberos::Off => (&*address, "RAWLAB", self.dir.join("no-krb5.conf")),
        };
        let output = Run::new("/usr/bin/python3")
            .args(["-B", "-m", "unittest", "-v"])
            .args(tests)
            .env("SERVER", &address)
            .env("TARGET_HOSTNAME", host)
            .env("USERNAME", USER)
            .env("PASSWORD", PASSWORD)
            .env("DOMAIN", "RAWLAB")
            .env("REALM", realm)
            .env("KRB5_CONFIG", config)
            .env("KRB5CCNAME", "MEMORY:")
            .env("MAX_NUM_AUTH", SECURITY_CONTEXTS)
            .env("IGNORE_RANDOM_PAD", "1")
            .env("SMB_CONF_PATH", self.dir.join("smb.conf"))
            .directory(self.dir)
            .limit(LIMIT)
            .output()?;
        let endings = endings(&output.stderr);
        if endings.is_empty() {
            return Err(format!("the suite did not run:\n{}", output.text()).into());
        }
        Ok(endings)
    }
}

/// Reads what unittest's verbose runner writes: a line with the test's name, and at its end, or on a
/// later line if the test wrote something itself, how it ended.
fn endings(text: &str) -> BTreeMap<String, Ending> {
    let mut endings = BTreeMap::new();
    let mut running = None;
    for line in text.lines() {
        if line.starts_with("======") {
            break;
        }
        let name = line.split_once(" (").map(|(name, _)| name);
        if let Some(name) = name.filter(|name| name.starts_with("test_")) {
            running = Some(name.to_owned());
        }
        let last = line.rsplit_once("... ").map_or(line, |(_, last)| last);
        let ending = match last.trim() {
            "ok" => Ending::Passed,
            "FAIL" | "ERROR" => Ending::Failed,
            other if other.starts_with("skipped ") => Ending::Skipped,
            _ => continue,
        };
        if let Some(name) = running.take() {
            endings.insert(name, ending);
        }
    }
    endings
}

fn compare(endings: &BTreeMap<String, Ending>, list: &str) -> Outcome {
    let number = |wanted| endings.values().filter(|ending| **ending == wanted).count();
    let (passed, skipped) = (number(Ending::Passed), number(Ending::Skipped));
    let mut problems = known::problems(endings, KNOWN, list);
    if passed < FLOOR {
        problems.push(format!("fewer than {FLOOR} pass"));
    }
    println!("skipped: {skipped}");
    println!("{passed} of {ALL}");
    if problems.is_empty() {
        return Ok(());
    }
    Err(problems.join("\n").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
test_a (m.T.test_a) ... ok
test_b (m.T.test_b) ... told[abc]
ERROR
test_c (m.T.test_c)
What it is about ... FAIL
test_d (m.T.test_d) ... skipped 'needs a reason'
======================================================================
test_e (m.T.test_e) ... ok
";

    #[test]
    fn endings_are_read_wherever_they_stand() {
        let endings = endings(OUTPUT);
        let wanted = [
            ("test_a", Ending::Passed),
            ("test_b", Ending::Failed),
            ("test_c", Ending::Failed),
            ("test_d", Ending::Skipped),
        ];
        assert!(endings.iter().map(|(n, e)| (&**n, *e)).eq(wanted));
    }

    #[test]
    fn the_list_is_held_to_exactly_what_fails() {
        let endings = (0..FLOOR)
            .map(|n| (format!("test_{n:03}"), Ending::Passed))
            .chain([("test_x".to_owned(), Ending::Failed)])
            .collect();
        let problems = |known| compare(&endings, known).map_err(|error| error.to_string());
        assert_eq!(problems("# list\n\ntest_x: a reason\n"), Ok(()));
        assert!(problems("").unwrap_err().contains("test_x fails"));
        let passes = problems("test_x: r\ntest_001: r\n").unwrap_err();
        assert!(passes.contains("test_001 passes"), "{passes}");
        let gone = problems("test_x: r\ntest_y: r\n").unwrap_err();
        assert!(gone.contains("test_y is in"), "{gone}");
        let few = compare(&BTreeMap::new(), "").unwrap_err().to_string();
        assert!(few.contains("fewer than"), "{few}");
    }
}
