//! `fsrvpctl backend-check`: the battery over a site's backend program.

use fsrvp_snapshot::ExecLimits;
use fsrvp_snapshot::battery::{CheckerError, Verdict, check_program};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

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

/// Runs the checks and says what became of each. Fails if one of them did.
pub(crate) fn run(check: &BackendCheck, json: bool) -> ExitCode {
    match try_run(check, json) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fsrvpctl: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{path}: {source}")]
    Path {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0:?} is no UTF-8 text, which the configuration file would need")]
    NoText(PathBuf),
    #[error(transparent)]
    Checker(#[from] CheckerError),
}

fn try_run(check: &BackendCheck, json: bool) -> Result<bool, Problem> {
    let absolute = |path: &PathBuf| {
        std::fs::canonicalize(path).map_err(|source| Problem::Path {
            path: path.clone(),
            source,
        })
    };
    let script = absolute(&check.script)?;
    let script = script
        .to_str()
        .ok_or_else(|| Problem::NoText(script.clone()))?;
    let mut command = vec![script.to_owned()];
    command.extend(check.arguments.iter().cloned());
    let directory = absolute(&check.directory)?;
    let other = check.other.as_ref().map(absolute).transpose()?;
    let mut broken = 0_u32;
    let report = |name: &'static str, verdict: Verdict| {
        broken += u32::from(matches!(verdict, Verdict::Broken(_)));
        let line = if json {
            as_json(name, &verdict)
        } else {
            as_text(name, &verdict)
        };
        // Checks take a while, and a reader that has gone does not end them.
        let _ = writeln!(std::io::stdout(), "{line}");
    };
    check_program(
        &command,
        ExecLimits::default(),
        &directory,
        other.as_deref(),
        report,
    )?;
    Ok(broken == 0)
}

fn as_text(name: &str, verdict: &Verdict) -> String {
    let name = name.replace('_', " ");
    match verdict {
        Verdict::Kept => format!("ok         {name}"),
        Verdict::Broken(why) => format!("BROKEN     {name}: {why}"),
        Verdict::NotTried(needs) => format!("not tried  {name}: needs {needs}"),
    }
}

/// One JSON object a line.
fn as_json(name: &str, verdict: &Verdict) -> String {
    let (verdict, detail) = match verdict {
        Verdict::Kept => ("kept", None),
        Verdict::Broken(why) => ("broken", Some(why.clone())),
        Verdict::NotTried(needs) => ("not_tried", Some(format!("needs {needs}"))),
    };
    serde_json::json!({ "check": name, "verdict": verdict, "detail": detail }).to_string()
}
