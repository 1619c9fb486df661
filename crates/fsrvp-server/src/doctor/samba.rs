//! Samba's configuration and its processes.

use super::{Chart, Patient, output_of, quoted, quoted_path, shown};
use crate::config::ServerConfig;
use crate::environment::EnvironmentError;
use fsrvp_samba::{ConfigError, SambaFacts};
use std::path::{Path, PathBuf};

/// Deepest nesting of included files that is followed.
const MAX_DEPTH: u32 = 8;
/// BUILTIN\Backup Operators.
const BACKUP_OPERATORS: &str = "S-1-5-32-551";

/// The surroundings could not be read at all.
pub(super) fn refused(chart: &mut Chart, server: &ServerConfig, error: &EnvironmentError) {
    match error {
        EnvironmentError::Samba(ConfigError::NoRegistryShares(path)) => {
            let mend = format!(
                "put the line `registry shares = yes` into [global] of {} and run: smbcontrol all \
                 reload-config",
                shown(path)
            );
            let message = "registry shares are off: exposed shares have no place";
            chart.problem("registry_shares", message, mend);
        }
        error => {
            let mend = format!("run: testparm -s {}", quoted_path(&server.smb_conf));
            chart.problem("smb_conf", error.to_string(), mend);
        }
    }
}

pub(super) fn examine(chart: &mut Chart, patient: &Patient, facts: &SambaFacts) {
    let smb_conf = &patient.config.smb_conf;
    includes(chart, smb_conf);
    shadow_copy2(chart, smb_conf);
    smbd(chart, facts);
    if patient.config.helper {
        helper(chart);
    }
    if patient.config.security.winbind && !facts.standalone {
        winbind(chart);
    }
    if patient.config.security.kerberos && !facts.realm.is_empty() {
        let keytab = patient.config.security.keytab.clone();
        keytab_of(chart, keytab, patient, facts);
    }
    if facts.standalone && patient.config.admin_sids.is_empty() {
        groups(chart, smb_conf);
    }
}

/// Shares in included files are fine, unless the file's name depends on the client.
fn includes(chart: &mut Chart, smb_conf: &Path) {
    let mut fickle = Vec::new();
    let mut missing = Vec::new();
    walk(smb_conf, 0, &mut fickle, &mut missing);
    if let Some((file, line)) = fickle.first() {
        let message = format!(
            "{} has `{line}`: shares in files whose name depends on the client cannot be copied",
            shown(file)
        );
        let mend = format!("name the file without % in {}", shown(file));
        return chart.warning("include_files", message, mend);
    }
    if let Some((file, included)) = missing.first() {
        let message = format!("{} includes {included}, which is not there", shown(file));
        let mend = format!("make {included}, or remove the line from {}", shown(file));
        return chart.warning("include_files", message, mend);
    }
    chart.ok("include_files", "all included files can be read");
}

fn walk(
    file: &Path,
    depth: u32,
    fickle: &mut Vec<(PathBuf, String)>,
    missing: &mut Vec<(PathBuf, String)>,
) {
    let Ok(text) = std::fs::read_to_string(file) else {
        return;
    };
    for line in text.lines().map(str::trim) {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let key = key.trim().to_lowercase();
        let value = value.trim().trim_matches('"');
        if key != "include" && key != "config file" || value.eq_ignore_ascii_case("registry") {
            continue;
        }
        if value.contains('%') {
            fickle.push((file.to_owned(), line.to_owned()));
        } else if !Path::new(value).exists() {
            missing.push((file.to_owned(), value.to_owned()));
        } else if depth < MAX_DEPTH {
            walk(Path::new(value), depth + 1, fickle, missing);
        }
    }
}

/// A copy must not show its own previous versions: `shadow_copy2` has no place in exposed shares.
fn shadow_copy2(chart: &mut Chart, smb_conf: &Path) {
    const CHECK: &str = "shadow_copy2_in_copy";
    let conf = smb_conf.to_string_lossy();
    let Some(list) = output_of("net", &["-s", &conf, "conf", "list"]) else {
        return chart.skipped(CHECK, "net conf list does not answer");
    };
    let mut share = String::new();
    for line in list.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            share = name.to_owned();
        } else if share.contains("@{")
            && line.starts_with("vfs objects")
            && line.contains("shadow_copy2")
        {
            let message = format!("the exposed share {share} has shadow_copy2 in its vfs objects");
            let (conf, share) = (quoted(&conf), quoted(&share));
            let mend = format!("run: net -s {conf} conf delparm {share} 'vfs objects'");
            return chart.warning(CHECK, message, mend);
        }
    }
    chart.ok(CHECK, "no exposed share shows previous versions of itself");
}

fn smbd(chart: &mut Chart, facts: &SambaFacts) {
    match facts.smbd() {
        Some(pid) => chart.ok("smbd", format!("smbd runs as process {pid}")),
        None => chart.problem("smbd", "smbd does not run", "run: systemctl start smbd"),
    }
}

fn helper(chart: &mut Chart) {
    // What the helper imports.
    let probe = "import tdb, samba.smbconf, samba.samba3.param, samba.samba3.smbconf";
    if output_of("/usr/bin/python3", &["-I", "-c", probe]).is_some() {
        return chart.ok("helper", "the resident helper can run");
    }
    chart.warning(
        "helper",
        "the resident helper cannot start: exposing shares is slow without it",
        "run: apt-get install python3-samba",
    );
}

fn winbind(chart: &mut Chart) {
    if output_of("wbinfo", &["-p"]).is_some() {
        return chart.ok("winbind", "winbindd answers");
    }
    chart.problem(
        "winbind",
        "winbindd does not answer: logons of domain accounts cannot be checked",
        "run: systemctl start winbind",
    );
}

fn keytab_of(chart: &mut Chart, keytab: Option<PathBuf>, patient: &Patient, facts: &SambaFacts) {
    const CHECK: &str = "keytab";
    let path = keytab.unwrap_or_else(|| PathBuf::from("/etc/krb5.keytab"));
    let name = shown(&path).to_string();
    let create = "run: net ads keytab create -P";
    if let Err(error) = std::fs::File::open(&path) {
        let message = format!("the keytab {name} cannot be read: {error}");
        return chart.problem(CHECK, message, create);
    }
    let Some(list) = output_of("klist", &["-k", &name]) else {
        return chart.skipped(CHECK, "klist cannot be run; is krb5-user installed?");
    };
    let list = list.to_lowercase();
    let names = facts.names();
    let ours = names
        .iter()
        .chain(&patient.config.aliases)
        .chain(std::iter::once(&patient.name))
        .map(|name| name.to_lowercase());
    let known = |name: String| {
        let services = ["cifs/", "host/"];
        let of = |service: &&str| list.contains(&format!("{service}{name}"));
        services.iter().any(of)
    };
    let machine = format!("{}$@", facts.netbios_name.to_lowercase());
    if ours.into_iter().any(known) || list.contains(&machine) {
        return chart.ok(CHECK, format!("{name} has keys of this server"));
    }
    let message = format!("{name} has no key of this server, only of others");
    chart.problem(CHECK, message, create);
}

/// A stand-alone Samba without winbind knows the BUILTIN groups by a mapping alone.
fn groups(chart: &mut Chart, smb_conf: &Path) {
    let conf = smb_conf.to_string_lossy();
    let Some(list) = output_of("net", &["-s", &conf, "groupmap", "list"]) else {
        return chart.skipped("builtin_groups", "net groupmap list does not answer");
    };
    let mapped = list.lines().find(|line| line.contains(BACKUP_OPERATORS));
    let Some(line) = mapped else {
        let conf = quoted(&conf);
        let mend = format!(
            "run: net -s {conf} groupmap add sid={BACKUP_OPERATORS} ntgroup='Backup Operators' \
             unixgroup=backup type=builtin"
        );
        let message = "no group is mapped to Backup Operators: nobody but root's kin may back up";
        return chart.problem("builtin_groups", message, mend);
    };
    chart.ok("builtin_groups", "Backup Operators is mapped to a group");
    // Backup Operators (S-1-5-32-551) -> backup
    let Some((_, group)) = line.rsplit_once("-> ") else {
        return;
    };
    members(chart, group.trim());
}

fn members(chart: &mut Chart, group: &str) {
    const CHECK: &str = "backup_users";
    let Some(entry) = output_of("getent", &["group", group]) else {
        let message = format!("Backup Operators is mapped to {group}, and there is no such group");
        return chart.problem(CHECK, message, format!("run: groupadd {}", quoted(group)));
    };
    let mut fields = entry.trim().split(':');
    let number = fields.nth(2).unwrap_or_default().to_owned();
    let members = fields.next().unwrap_or_default();
    let accounts = output_of("getent", &["passwd"]).unwrap_or_default();
    let primary = accounts
        .lines()
        .any(|line| line.split(':').nth(3) == Some(number.as_str()));
    if members.is_empty() && !primary {
        let message = format!("the group {group} of the backup operators has no members");
        let mend = format!("run: usermod -aG {} USER", quoted(group));
        return chart.warning(CHECK, message, mend);
    }
    chart.ok(CHECK, format!("the group {group} has members"));
}
