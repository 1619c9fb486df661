//! `fsrvpctl backend-check`: the battery over a site's backend program.

use crate::screen::{Cell, Screen, Tone};
use crate::{Exit, Failure};
use fsrvp_snapshot::ExecLimits;
use fsrvp_snapshot::battery::{Verdict, check_program};
use serde_json::json;
use std::path::PathBuf;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(crate) struct BackendCheck {
    /// The program, as in `command` of `[[server.exec]]`
    script: PathBuf,
    /// A directory on a volume of the array; shares for the checks are made and removed in it
    #[arg(long)]
    directory: PathBuf,
    /// The same on another volume; without it what needs two volumes is not tried
    #[arg(long)]
    other: Option<PathBuf>,
    /// Further arguments of the program
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl BackendCheck {
    /// Runs the checks and says what became of each. Fails with [`Exit::Found`] if one of them did.
    pub(crate) fn run(&self, screen: &mut Screen) -> Result<(), Failure> {
        let script = absolute(&self.script)?;
        let script = script.to_str().ok_or_else(|| {
            let text = "is no UTF-8 text, which the configuration file would need";
            Failure::new(Exit::Usage, format!("{script:?} {text}"))
        })?;
        let mut command = vec![script.to_owned()];
        command.extend(self.arguments.iter().cloned());
        let directory = absolute(&self.directory)?;
        let other = self.other.as_ref().map(absolute).transpose()?;
        let mut broken = 0_usize;
        let report = |name: &'static str, verdict: Verdict| {
            broken += usize::from(matches!(verdict, Verdict::Broken(_)));
            tell(screen, name, verdict);
            // Checks take a while, and a reader that has gone does not end them.
            let _ = screen.finish();
        };
        let limits = ExecLimits::default();
        check_program(&command, limits, &directory, other.as_deref(), report)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        match broken {
            0 => Ok(()),
            1 => Err(Failure::new(Exit::Found, "1 check is broken")),
            _ => Err(Failure::new(
                Exit::Found,
                format!("{broken} checks are broken"),
            )),
        }
    }
}

fn absolute(path: &PathBuf) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(path).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{}: {error}", path.display()))
    })
}

/// A line for people, or one JSON object.
fn tell(screen: &mut Screen, name: &'static str, verdict: Verdict) {
    let (word, shown, tone, detail) = match verdict {
        Verdict::Kept => ("kept", "ok", Tone::Good, None),
        Verdict::Broken(why) => ("broken", "BROKEN", Tone::Bad, Some(why)),
        Verdict::NotTried(needs) => {
            let needs = format!("needs {needs}");
            ("not_tried", "not tried", Tone::Faint, Some(needs))
        }
    };
    if screen.is_json() {
        return screen.json(&json!({ "check": name, "verdict": word, "detail": detail }));
    }
    let mut text = name.replace('_', " ");
    if let Some(detail) = detail {
        text = format!("{text}: {detail}");
    }
    screen.hanging(&format!("{shown:<9}  "), Cell::toned(text, tone));
}
