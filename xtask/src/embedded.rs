//! The embedded laboratory: fsrvpd with a list of shares in a file and a backend without a disk, for
//! machines where nobody is root. The client is ours, because smbd is not there to carry others'.

use crate::{Outcome, workspace};
use fsrvp_testkit::{Embedded, Run};

const UNC: &str = r"\\EMBEDDED\docs";

pub(crate) fn run(release: bool) -> Outcome {
    // Neither Samba's nor Kerberos' libraries are needed, nor can they be installed.
    let mut build = vec![
        "build",
        "--package",
        "fsrvp-server",
        "--no-default-features",
    ];
    let mut example = vec!["build", "--package", "fsrvp-tests", "--example", "walk"];
    let mut control = vec!["build", "--package", "fsrvpctl"];
    for arguments in [&mut build, &mut example, &mut control] {
        if release {
            arguments.push("--release");
        }
        if !workspace::cargo_command(arguments).status()?.success() {
            return Err("the programs do not build".into());
        }
    }
    let programs = workspace::program_directory(release);
    let lab = Embedded::up(&programs.join("fsrvpd"))?;
    println!(
        "\nfsrvpd (process {}) serves {}.",
        lab.pid(),
        lab.pipe().display()
    );
    println!("A client of our own makes the calls of a backup program:\n");
    let walk = Run::new(programs.join("examples/walk"))
        .arg(lab.pipe())
        .arg(UNC);
    print!("{}", walk.check()?.stdout);
    println!("\nAnd this is what the operator sees afterwards:\n");
    let status = Run::new(programs.join("fsrvpctl"))
        .arg("--socket")
        .arg(lab.admin_socket());
    print!("{}", status.arg("status").check()?.stdout);
    lab.down()?;
    println!("\nThe laboratory is gone. As root, this command shows the same with real clients.");
    Ok(())
}
