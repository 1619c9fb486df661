//! The pipe: whose socket it is, where it stands, and Samba's own agent.

use super::{Chart, Fix, Patient, output_of, quoted_path, shown};
use fsrvp_samba::SambaFacts;
use rustix::net::sockopt::socket_peercred;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Mode that Samba demands of its `np` directory, exactly.
const NP_MODE: u32 = 0o700;
/// Samba's own agent, in a directory of the programs that serve its pipes.
const OWN_AGENT: &str = "samba/rpcd_fsrvp";

pub(super) fn examine(chart: &mut Chart, patient: &Patient, facts: &SambaFacts) {
    let configured = patient.config.pipe_directory.as_ref();
    let directory = configured.unwrap_or(&facts.np_directory);
    np_directory(chart, directory);
    owner(chart, patient, &directory.join("fssagentrpc"));
    diversion(chart, &patient.root);
}

fn np_directory(chart: &mut Chart, directory: &Path) {
    const CHECK: &str = "np_directory";
    let stat = match std::fs::symlink_metadata(directory) {
        Ok(stat) if stat.is_dir() => stat,
        Ok(_) => {
            let message = format!("{} is not a directory", shown(directory));
            let mend = format!(
                "run: rm {} && systemctl restart fsrvpd",
                quoted_path(directory)
            );
            return chart.problem(CHECK, message, mend);
        }
        Err(error) => {
            let message = format!("{} cannot be looked at: {error}", shown(directory));
            let fix = Fix::Directory(directory.to_owned(), NP_MODE);
            return chart.fixable(CHECK, message, fix);
        }
    };
    let us = rustix::process::geteuid().as_raw();
    if stat.uid() != us {
        let message = format!("{} belongs to uid {}", shown(directory), stat.uid());
        return chart.fixable(CHECK, message, Fix::Owner(directory.to_owned()));
    }
    let mode = stat.mode() & 0o7777;
    if mode != NP_MODE {
        let message = format!(
            "{} has mode {mode:04o}, and Samba accepts {NP_MODE:04o} alone",
            shown(directory)
        );
        return chart.fixable(CHECK, message, Fix::Mode(directory.to_owned(), NP_MODE));
    }
    chart.ok(CHECK, format!("{} is as Samba wants it", shown(directory)));
}

/// Who listens on the socket, as the kernel knows it.
fn owner(chart: &mut Chart, patient: &Patient, socket: &Path) {
    const CHECK: &str = "pipe_owner";
    let peer = UnixStream::connect(socket)
        .ok()
        .and_then(|stream| socket_peercred(&stream).ok());
    let Some(peer) = peer else {
        let message = format!("nobody listens on {}", shown(socket));
        return match patient.daemon {
            Some(_) => chart.problem(CHECK, message, "run: systemctl restart fsrvpd"),
            None => chart.warning(CHECK, message, "run: systemctl start fsrvpd"),
        };
    };
    let pid = peer.pid.as_raw_nonzero().get();
    let process = patient.root.join("proc").join(pid.to_string());
    let name = std::fs::read_to_string(process.join("comm"));
    let name = name.unwrap_or_default();
    let is_ours = patient
        .daemon
        .is_some_and(|daemon| i64::from(daemon) == i64::from(pid));
    if is_ours || name.trim() == "fsrvpd" {
        return chart.ok(CHECK, "the pipe is fsrvpd's");
    }
    let message = format!(
        "{} belongs to process {pid} ({}): clients reach Samba's own agent",
        shown(socket),
        name.trim()
    );
    let mend = "run: systemctl restart fsrvpd; and divert rpcd_fsrvp, see docs/configuration.md";
    chart.problem(CHECK, message, mend);
}

/// Where Samba's own agent is: distributions put it into `/usr/libexec/samba`, `/usr/lib/samba`, or
/// the directory of an architecture.
fn own_agent(root: &Path) -> Option<PathBuf> {
    let lib = root.join("usr/lib");
    let of_architectures = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let mut places: Vec<_> = of_architectures.map(|entry| entry.path()).collect();
    places.sort();
    [root.join("usr/libexec"), lib]
        .into_iter()
        .chain(places)
        .map(|place| place.join(OWN_AGENT))
        .find(|program| program.exists())
}

fn diversion(chart: &mut Chart, root: &Path) {
    const CHECK: &str = "diversion";
    let own = own_agent(root);
    let Some(program) = own else {
        return chart.ok(CHECK, "Samba's own agent is out of the way");
    };
    let listed = output_of("dpkg-divert", &["--list", "*rpcd_fsrvp*"]).unwrap_or_default();
    let divert = format!(
        "dpkg-divert --divert /usr/lib/fsrvpd/samba-rpcd_fsrvp --rename {}",
        shown(&program)
    );
    if listed.trim().is_empty() {
        let message = format!(
            "{} is not diverted: samba-dcerpcd takes the pipe whenever it starts",
            shown(&program)
        );
        let mend = format!("run: mkdir -p /usr/lib/fsrvpd && {divert}");
        return chart.warning(CHECK, message, mend);
    }
    let message = format!(
        "{} is diverted and was put back by hand: samba-dcerpcd takes the pipe; the \
         diverted original stays",
        shown(&program)
    );
    let mend = format!("run: rm {}", shown(&program));
    chart.warning(CHECK, message, mend);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn samba_s_own_agent_is_found_on_every_architecture() {
        for place in ["usr/libexec", "usr/lib", "usr/lib/aarch64-linux-gnu"] {
            let root = tempfile::tempdir().unwrap();
            let mut chart = Chart::new("FS");
            diversion(&mut chart, root.path());
            assert_eq!(chart.findings[0].severity, super::super::Severity::Ok);
            let program = root.path().join(place).join(OWN_AGENT);
            fs::create_dir_all(program.parent().unwrap()).unwrap();
            fs::write(&program, "").unwrap();
            assert_eq!(own_agent(root.path()), Some(program), "{place}");
        }
    }
}
