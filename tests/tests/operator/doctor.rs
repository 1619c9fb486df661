//! The doctor: each thing is broken on purpose, found, and mended by the command that is named.
//!
//! What concerns the whole machine (accounts, packages, Python) is broken in a mount namespace of
//! the doctor's own, above overlays that go with it.

use crate::{ask, order, until};
use fsrvp_testkit::{Lab, Run, ShareKey, programs, unix_http};
use fsrvp_tests::walk::{Walk, exposed};
use fsrvp_tests::{CaseResult, fail};
use libtest_mimic::Failed;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the doctor says is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    check: String,
    message: String,
    pub(crate) mend: String,
}

pub(crate) struct Doctor<'a> {
    pub(crate) lab: &'a Lab,
}

/// Lays overlays above the directories that a script is about to change.
pub(crate) const OVERLAYS: &str = r"
mkdir -p $ROOM; mount -t tmpfs none $ROOM
for place in usr etc var/lib/dpkg; do
    mkdir -p $ROOM/$place/upper $ROOM/$place/work
    mount -t overlay -o lowerdir=/$place,upperdir=$ROOM/$place/upper,workdir=$ROOM/$place/work \
        none /$place
done
";

impl Doctor<'_> {
    fn config(&self) -> PathBuf {
        self.lab.dir().join("agent/fsrvpd.toml")
    }

    /// What is wrong, after `script` was run in a mount namespace of its own.
    pub(crate) fn finds_after(&self, script: &str, more: &[&str]) -> Result<Vec<Finding>, Failed> {
        let script = format!("set -e\n{{\n{script}\n:\n}} >&2\nexec \"$@\"");
        let program = programs::program("fsrvpctl")?;
        let room = self.lab.dir().join("doctor");
        // Its own programs lie where the overlays do not reach.
        let mut run = match script.contains("mount ") {
            true => Run::new("unshare").args(["-m", "--propagation", "private", "sh"]),
            false => Run::new("sh"),
        };
        run = run.args(["-c", &script, "sh"]).arg(program);
        let output = run
            .arg("--socket")
            .arg(self.lab.admin_socket())
            .args(["doctor", "--json", "--config"])
            .arg(self.config())
            .args(more)
            .env("ROOM", &room)
            .env("CONF", self.lab.smb_conf())
            .output()?;
        let _ = fs::remove_dir(&room);
        let answer: Value = serde_json::from_str(&output.stdout)
            .map_err(|error| Failed::from(format!("{error}: {}", output.text())))?;
        let findings = answer["findings"].as_array().cloned().unwrap_or_default();
        let is_bad =
            |finding: &&Value| finding["severity"] == "warning" || finding["severity"] == "problem";
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let bad = findings.iter().filter(is_bad);
        Ok(bad
            .map(|finding| Finding {
                check: text(&finding["check"]),
                message: text(&finding["message"]),
                mend: text(&finding["mend"]),
            })
            .collect())
    }

    pub(crate) fn finds(&self) -> Result<Vec<Finding>, Failed> {
        self.finds_after("", &[])
    }

    /// Sees that nothing of the kind is found, breaks it, sees that it is found with a way to mend
    /// it, goes that way, and sees that it is gone.
    pub(crate) fn case(
        &self,
        what: (&str, &str),
        broken: impl FnOnce() -> CaseResult,
        mend: impl FnOnce(&str) -> CaseResult,
    ) -> CaseResult {
        absent(&self.finds()?, what)?;
        broken()?;
        let seen = self.finds();
        let found = seen.as_ref().ok().and_then(|seen| find(seen, what));
        mend(found.map_or("", |found| &found.mend))?;
        present(&seen?, what)?;
        absent(&self.finds()?, what)
    }

    /// The same by scripts in a namespace; the command that is named runs there, too.
    pub(crate) fn script(
        &self,
        what: (&str, &str),
        whole: &str,
        broken: &str,
    ) -> Result<String, Failed> {
        absent(&self.finds_after(whole, &[])?, what)?;
        let broken = format!("{whole}\n{broken}");
        let found = present(&self.finds_after(&broken, &[])?, what)?;
        Ok(format!("{broken}\n{}", command(&found.mend)))
    }

    pub(crate) fn script_mended(
        &self,
        what: (&str, &str),
        whole: &str,
        broken: &str,
    ) -> Result<String, Failed> {
        let mended = self.script(what, whole, broken)?;
        absent(&self.finds_after(&mended, &[])?, what)?;
        Ok(mended)
    }
}

/// A finding of this check whose message has this in it.
fn find<'f>(findings: &'f [Finding], (check, words): (&str, &str)) -> Option<&'f Finding> {
    findings
        .iter()
        .find(|found| found.check == check && found.message.contains(words))
}

pub(crate) fn present(findings: &[Finding], what: (&str, &str)) -> Result<Finding, Failed> {
    let found = find(findings, what).filter(|found| !found.mend.is_empty());
    found
        .cloned()
        .ok_or_else(|| format!("{what:?} is not found: {findings:#?}").into())
}

pub(crate) fn absent(findings: &[Finding], what: (&str, &str)) -> CaseResult {
    match find(findings, what) {
        Some(found) => fail(format!("{what:?} is found: {found:?}")),
        None => Ok(()),
    }
}

pub(crate) fn command(mend: &str) -> &str {
    mend.strip_prefix("run: ").unwrap_or(mend)
}

/// Runs what a finding says to run.
fn run_it(mend: &str) -> CaseResult {
    Run::new("sh").args(["-c", command(mend)]).check()?;
    Ok(())
}

fn net(lab: &Lab, arguments: &[&str]) -> Result<String, Failed> {
    let run = Run::new("net")
        .arg("-s")
        .arg(lab.smb_conf())
        .args(arguments);
    Ok(run.check()?.stdout)
}

pub(crate) fn samba(lab: &Lab) -> CaseResult {
    let doctor = Doctor { lab };
    let conf = lab.smb_conf();
    let text = fs::read_to_string(&conf)?;
    let rewrite = |new: &str| -> CaseResult { Ok(fs::write(&conf, new)?) };
    let off = text.replace("registry shares = yes", "registry shares = no");
    doctor.case(
        ("registry_shares", "off"),
        || rewrite(&off),
        |_| rewrite(&text),
    )?;
    for (words, line) in [
        ("depends on the client", "include = /etc/samba/%m.conf"),
        ("which is not there", "include = /does/not/exist.conf"),
    ] {
        let broken = text.replacen("[global]", &format!("[global]\n    {line}"), 1);
        doctor.case(
            ("include_files", words),
            || rewrite(&broken),
            |_| rewrite(&text),
        )?;
    }
    doctor.case(
        ("smbd", "does not run"),
        || Ok(lab.stop_smbd()?),
        |_| Ok(lab.start_smbd()?),
    )?;

    let share = lab.share(ShareKey::B).name;
    let created = Walk::of(lab).create("rw", &[share])?;
    let copy = created.copies.first().map_or("", String::as_str);
    let name = exposed(share, copy);
    doctor.case(
        ("shadow_copy2_in_copy", &name),
        || {
            net(
                lab,
                &["conf", "setparm", &name, "vfs objects", "shadow_copy2"],
            )
            .map(drop)
        },
        run_it,
    )?;
    order(lab, "DELETE", &format!("/v1/sets/{}", created.set), "")?;

    let listed = net(lab, &["groupmap", "list"])?;
    let line = listed.lines().find(|line| line.contains("S-1-5-32-551"));
    let group = line.and_then(|line| line.rsplit_once("-> "));
    let group = group.ok_or("the laboratory maps no group")?.1.trim();
    doctor.case(
        ("builtin_groups", "nobody"),
        || net(lab, &["groupmap", "delete", "sid=S-1-5-32-551"]).map(drop),
        |mend| run_it(&mend.replace("unixgroup=backup", &format!("unixgroup={group}"))),
    )?;
    // Nobody has it as his own group, and nobody was put into it.
    let whole = OVERLAYS;
    let empty = format!(
        "number=$(getent group {group} | cut -d: -f3)
         sed -i \"/^[^:]*:[^:]*:[^:]*:$number:/d\" /etc/passwd
         sed -i 's/^\\({group}:.*:\\).*/\\1/' /etc/group"
    );
    let mended = doctor.script(("backup_users", "no members"), whole, &empty)?;
    let mended = mended.replace("USER", "games");
    absent(
        &doctor.finds_after(&mended, &[])?,
        ("backup_users", "no members"),
    )?;

    // The helper is a Python program.
    let what = ("helper", "cannot start");
    let mended = doctor.script(what, "", "mount --bind /bin/false /usr/bin/python3")?;
    if !mended.ends_with("apt-get install python3-samba") {
        return fail(format!("the helper is mended by {mended}"));
    }
    // A member of a domain whose winbindd does not run.
    let member = "mount -t tmpfs none /mnt && cp $CONF /mnt/conf && sed -i \
                  's/^ *\\(server role\\|security\\) *=.*//; s/\\[global\\]/[global]\\nsecurity = \
                  domain/' /mnt/conf && mount --bind /mnt/conf $CONF";
    let mended = doctor.script(("winbind", "does not answer"), "", member)?;
    if !mended.ends_with("systemctl start winbind") {
        return fail(format!("winbind is mended by {mended}"));
    }
    // A realm, and a keytab that is not there, for another host, and for this one.
    let realm = format!(
        "{OVERLAYS} cp $CONF $ROOM/conf; sed -i 's/\\[global\\]/[global]\\nrealm = LAB.TEST/' \
         $ROOM/conf; mount --bind $ROOM/conf $CONF; rm -f /etc/krb5.keytab"
    );
    let keytab = |host: &str| {
        format!(
            "{realm}\nprintf 'addent -password -p cifs/{host}@LAB.TEST -k 1 -e \
             aes256-cts-hmac-sha1-96\\nsecret\\nwkt /etc/krb5.keytab\\nquit\\n' | ktutil > /dev/null"
        )
    };
    present(
        &doctor.finds_after(&realm, &[])?,
        ("keytab", "cannot be read"),
    )?;
    let other = doctor.finds_after(&keytab("other.lab.test"), &[])?;
    present(&other, ("keytab", "no key of this server"))?;
    let own = keytab(&lab.server_name().to_lowercase());
    absent(&doctor.finds_after(&own, &[])?, ("keytab", ""))
}

pub(crate) fn pipe(lab: &Lab) -> CaseResult {
    let doctor = Doctor { lab };
    let pipe = lab.pipe();
    let np = pipe.parent().map(Path::to_owned).unwrap_or_default();
    let mode =
        |mode| -> CaseResult { Ok(fs::set_permissions(&np, fs::Permissions::from_mode(mode))?) };
    doctor.case(("np_directory", "has mode"), || mode(0o755), run_it)?;
    let owner = |uid| Ok(std::os::unix::fs::chown(&np, Some(uid), None)?);
    doctor.case(("np_directory", "belongs"), || owner(65_534), run_it)?;
    // `--fix` does the same.
    mode(0o755)?;
    doctor.finds_after("", &["--fix"])?;
    if fs::metadata(&np)?.permissions().mode() & 0o777 != 0o700 {
        return fail("--fix did not mend the mode of the np directory");
    }
    // fsrvpd makes it anew at once, where it is the real one.
    let hidden = format!(
        "mount -t tmpfs none {}",
        np.parent().unwrap_or(&np).display()
    );
    doctor.script_mended(("np_directory", "cannot be looked at"), "", &hidden)?;

    doctor.case(
        ("pipe_owner", "nobody listens"),
        || Ok(lab.stop_agent(false)?),
        |_| Ok(lab.start_agent()?),
    )?;
    let mut thief = None;
    doctor.case(
        ("pipe_owner", "belongs to process"),
        || {
            lab.stop_agent(false)?;
            let _ = fs::remove_file(&pipe);
            thief = Some(UnixListener::bind(&pipe)?);
            Ok(())
        },
        |_| Ok(lab.start_agent()?),
    )?;
    drop(thief);

    // Samba's own agent, diverted and not.
    let bare = format!(
        "{OVERLAYS}
         own=$(ls /usr/libexec/samba/rpcd_fsrvp /usr/lib/*/samba/rpcd_fsrvp 2> /dev/null | head -n 1)
         own=${{own:-/usr/libexec/samba/rpcd_fsrvp}}
         dpkg-divert --quiet --remove --rename $own || true
         mkdir -p ${{own%/*}}; touch $own"
    );
    let found = doctor.finds_after(&bare, &[])?;
    let found = present(&found, ("diversion", "is not diverted"))?;
    let diverted = format!("{bare}\n{}", command(&found.mend));
    absent(&doctor.finds_after(&diverted, &[])?, ("diversion", ""))?;
    let undone = "cp /usr/lib/fsrvpd/samba-rpcd_fsrvp $own";
    doctor
        .script_mended(("diversion", "put back by hand"), &diverted, undone)
        .map(drop)
}

pub(crate) fn shares(lab: &Lab) -> CaseResult {
    let doctor = Doctor { lab };
    let share = lab.share(ShareKey::B);
    let nested = share.path.join("nested");
    let shown = nested.display().to_string();
    doctor.case(
        ("nested_subvolume", &shown),
        || {
            let create = Run::new("btrfs").args(["subvolume", "create"]);
            create.arg(&nested).check()?;
            Ok(())
        },
        |mend| {
            // "share it by itself, or turn it into a directory: COMMAND"
            let command = mend.rsplit_once("directory: ").map_or("", |(_, rest)| rest);
            run_it(command)
        },
    )?;
    doctor.case(
        ("mount_below_share", &shown),
        || {
            let mount = Run::new("mount").args(["-t", "tmpfs", "none"]);
            mount.arg(&nested).check()?;
            Ok(())
        },
        run_it,
    )?;
    fs::remove_dir(&nested)?;

    let text = fs::read_to_string(doctor.config())?;
    let insists = format!(
        "{text}\n[[server.share]]\nname = \"{}\"\nbackend = \"zfs\"\n",
        share.name
    );
    doctor.case(
        ("no_backend", share.name),
        || Ok(fs::write(doctor.config(), &insists)?),
        |_| Ok(fs::write(doctor.config(), &text)?),
    )?;

    // Extents that are set aside and never written take no room of the machine's.
    let ballast = share.path.join("ballast");
    let shown = share.path.display().to_string();
    doctor.case(
        ("space", &shown),
        || {
            let free = Run::new("df").args(["--output=avail", "-B1"]);
            let free = free.arg(&share.path).check()?.stdout;
            let free: u64 = free.lines().nth(1).unwrap_or_default().trim().parse()?;
            let most = free.saturating_sub(96 << 20).to_string();
            let allocate = Run::new("fallocate").args(["-l", &most]);
            allocate.arg(&ballast).check()?;
            Ok(())
        },
        |_| {
            fs::remove_file(&ballast)?;
            Run::new("sync").arg("-f").arg(&share.path).check()?;
            Ok(())
        },
    )
}

pub(crate) fn system(lab: &Lab) -> CaseResult {
    let doctor = Doctor { lab };
    Walk::of(lab).run(ShareKey::A, true)?;
    let run_dirs = fs::read_dir(lab.run_dir())?.flatten();
    let area = run_dirs
        .map(|entry| entry.path().join(".fsrvpd"))
        .find(|path| path.exists())
        .ok_or("no area is mounted")?;
    let set = |mode| -> CaseResult {
        Ok(fs::set_permissions(
            &area,
            fs::Permissions::from_mode(mode),
        )?)
    };
    doctor.case(("area_mode", "has mode"), || set(0o755), run_it)?;

    // A unit with a mount namespace of its own.
    let what = ("mount_namespace", "of its own");
    absent(&doctor.finds()?, what)?;
    lab.stop_agent(false)?;
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private"])
        .arg(programs::program("fsrvpd")?)
        .arg("--config")
        .arg(doctor.config())
        .env("FSRVP_LAB_DIR", lab.dir())
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    // `unshare` becomes the daemon.
    let mut daemon = command.spawn()?;
    let serves = until("the daemon serves", || {
        let answer = unix_http(&lab.admin_socket(), "GET", "/v1/health", "");
        Ok(answer.is_ok_and(|answer| answer.status == 200))
    });
    let seen = doctor.finds();
    daemon.kill()?;
    daemon.wait()?;
    lab.start_agent()?;
    serves?;
    let seen = seen?;
    present(&seen, what)?;
    present(&seen, ("smbd_namespace", "another mount namespace"))?;
    absent(&doctor.finds()?, what)
}

pub(crate) fn leftovers(lab: &Lab) -> CaseResult {
    let doctor = Doctor { lab };
    let share = lab.share(ShareKey::A).name;
    let created = Walk::of(lab).create("rw", &[share])?;
    let sources = ask(lab, &format!("/v1/shares/{share}/sources"))?;
    let path = sources["sources"][0]["path"].as_str().unwrap_or_default();
    let path = PathBuf::from(path);
    // What something is mounted on cannot be destroyed.
    doctor.case(
        ("leftovers", "could not be removed"),
        || {
            Run::new("mount")
                .args(["-t", "tmpfs", "none"])
                .arg(&path)
                .check()?;
            let delete = format!("/v1/sets/{}", created.set);
            unix_http(&lab.admin_socket(), "DELETE", &delete, "")?;
            Ok(())
        },
        |mend| {
            Run::new("umount").arg(&path).check()?;
            if !mend.ends_with("fsrvpctl prune") {
                return fail(format!("leftovers are mended by {mend:?}"));
            }
            until("the debts are paid", || {
                let prune = Run::new(programs::program("fsrvpctl")?);
                prune
                    .arg("--socket")
                    .arg(lab.admin_socket())
                    .arg("prune")
                    .check()?;
                Ok(ask(lab, "/v1/debts")?["debts"] == serde_json::json!([]))
            })
        },
    )
}

/// Half a minute after its start the daemon looks, and says what the doctor says.
pub(crate) fn start(lab: &Lab) -> CaseResult {
    let nested = lab.share(ShareKey::B).path.join("nested-at-start");
    let create = Run::new("btrfs").args(["subvolume", "create"]);
    create.arg(&nested).check()?;
    let before = fs::read_to_string(lab.agent_log())?.len();
    lab.restart_agent()?;
    let said = Doctor { lab }.finds()?;
    let words = nested.display().to_string();
    let found = present(&said, ("nested_subvolume", &words))?;
    let told = fsrvp_testkit::until(Duration::from_secs(75), || {
        let log = fs::read_to_string(lab.agent_log())?;
        let log = log.get(before..).unwrap_or(&log);
        let line = log.lines().find(|line| {
            line.contains("something is wrong with the set-up") && line.contains(&words)
        });
        Ok::<_, Failed>(line.map(str::to_owned))
    })?
    .unwrap_or_default();
    let delete = Run::new("btrfs").args(["subvolume", "delete"]);
    delete.arg(&nested).check()?;
    if !told.contains("check=\"nested_subvolume\"") || !told.contains(&found.message) {
        return fail(format!(
            "the daemon's log has {told:?}, and the doctor {found:?}"
        ));
    }
    Ok(())
}
