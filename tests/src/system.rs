//! Roots of other Debian releases, made once and kept below the target directory.

use fsrvp_testkit::{Error, Run, programs};
use libtest_mimic::Failed;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// What the agent needs of a system: Samba with its tools, and Python for the helper.
const PACKAGES: &str = "samba,samba-common-bin,samba-vfs-modules,python3-samba,libgssapi-krb5-2,\
     libwbclient0";

/// What a file server has before fsrvpd's package is installed: that, systemd and a client.
const TO_INSTALL: &str = "samba,samba-common-bin,samba-vfs-modules,python3-samba,\
     libgssapi-krb5-2,libwbclient0,systemd,systemd-sysv,dbus,smbclient,btrfs-progs,debconf,iproute2,\
     procps,netbase,mawk,curl";

/// The root of a Debian release with Samba, made by `mmdebstrap` if it is not there yet.
///
/// # Errors
/// What `mmdebstrap` said.
pub fn debian(release: &str) -> Result<PathBuf, Error> {
    made(release, release, PACKAGES)
}

/// The root of a Debian release as a file server has it before fsrvpd is installed.
///
/// # Errors
/// What `mmdebstrap` said.
pub fn debian_to_install(release: &str) -> Result<PathBuf, Error> {
    made(&format!("{release}-server"), release, TO_INSTALL)
}

/// The same as a member of a domain has it, and a controller.
///
/// # Errors
/// What `mmdebstrap` said.
pub fn debian_in_domain(release: &str) -> Result<PathBuf, Error> {
    let packages = format!(
        "{TO_INSTALL},winbind,libnss-winbind,samba-ad-provision,samba-dsdb-modules,krb5-user"
    );
    made(&format!("{release}-domain"), release, &packages)
}

fn made(name: &str, release: &str, packages: &str) -> Result<PathBuf, Error> {
    let systems = programs::workspace().join("target/systems");
    let root = systems.join(name);
    // What it was made with; another list makes it anew.
    let list = systems.join(format!("{name}.packages"));
    let current = fs::read_to_string(&list).is_ok_and(|made| made == packages);
    if root.join("usr/sbin/smbd").exists() {
        if current {
            return Ok(root);
        }
        let old = root.with_extension(format!("old.{}", std::process::id()));
        if fs::rename(&root, &old).is_ok() {
            fs::remove_dir_all(&old).map_err(Error::file(&old))?;
        }
    }
    // mmdebstrap wants the directory in which it makes another one.
    let failed = |source| Error::File {
        path: root.clone(),
        source,
    };
    fs::create_dir_all(&systems).map_err(failed)?;
    let fresh = root.with_extension(std::process::id().to_string());
    Run::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase"])
        .arg(format!("--include={packages}"))
        .arg(release)
        .arg(&fresh)
        .limit(Duration::from_secs(1800))
        .check()?;
    match fs::rename(&fresh, &root) {
        // Somebody else was faster.
        Err(_) if root.join("usr/sbin/smbd").exists() => {
            fs::remove_dir_all(&fresh).map_err(failed)?;
        }
        renamed => renamed.map_err(failed)?,
    }
    fs::write(&list, packages).map_err(Error::file(&list))?;
    Ok(root)
}

/// `libfaketime` of Debian, for programs with threads.
///
/// # Errors
/// It is not installed.
pub fn faketime_library() -> Result<PathBuf, Failed> {
    let mut places = fs::read_dir("/usr/lib")?
        .flatten()
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    let found = places.find(|path| path.exists());
    found.ok_or_else(|| Failed::from("libfaketime is not there: install faketime"))
}
