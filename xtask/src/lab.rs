//! `cargo xtask lab`: the laboratory as other tools use it.

use crate::{Outcome, workspace};
use clap::{Args, Subcommand, ValueEnum};
use fsrvp_testkit::{
    AgentKind, Lab, LabOptions, MinAuthLevel, Profile, SequenceTimeout, down, packages,
};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Boot a laboratory, leave it running and write DIR/env
    Up(Up),
    /// Remove every trace of a laboratory
    Down {
        #[command(flatten)]
        place: Place,
    },
    /// Restart only the agent and keep its store
    RestartAgent {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
pub(crate) struct Place {
    /// The laboratory's directory [default: fsrvp-lab among the temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.dir
            .clone()
            .unwrap_or_else(|| workspace::root().join("lab"))
    }
}

#[derive(Args)]
pub(crate) struct Up {
    #[command(flatten)]
    place: Place,
    /// Behaviour of the agent where Windows and the text differ
    #[arg(long, value_enum, default_value_t = ProfileName::Spec)]
    profile: ProfileName,
    /// Seconds in place of the 180 s, and of the 1800 s, of the Message Sequence Timer
    #[arg(long, value_name = "SHORT[,LONG]", value_parser = sequence_timeout)]
    sequence_timeout: Option<SequenceTimeout>,
    /// Least RPC security that the agent accepts
    #[arg(long, value_enum, default_value_t = Level::Integrity)]
    min_auth: Level,
    /// Whose agent serves the pipe
    #[arg(long, value_enum, default_value_t = AgentName::Ours)]
    backend_agent: AgentName,
    /// Worker processes of Samba's agent; each has a table of its own
    #[arg(long, default_value_t = 1)]
    samba_workers: u32,
    /// Several shares of one volume may stand in one set
    #[arg(long)]
    allow_shared_volume: bool,
    /// Build and run the optimised agent
    #[arg(long)]
    release: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileName {
    Spec,
    Ws2012,
}

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    None,
    Integrity,
    Privacy,
}

#[derive(Clone, Copy, ValueEnum)]
enum AgentName {
    Ours,
    Samba,
}

pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Up(arguments) => up(&arguments),
        Command::Down { place } => Ok(down(&place.path())?),
        Command::RestartAgent { place } => {
            let lab = Lab::open(&place.path())?;
            lab.restart_agent()?;
            report(&lab)
        }
    }
}

fn up(arguments: &Up) -> Outcome {
    install(packages::LABORATORY)?;
    fsrvp_testkit::machine_fits()?;
    let agent = match arguments.backend_agent {
        AgentName::Samba => AgentKind::Samba {
            workers: arguments.samba_workers,
        },
        AgentName::Ours => {
            install(packages::BUILD)?;
            AgentKind::Fsrvpd(workspace::build_programs(arguments.release)?.join("fsrvpd"))
        }
    };
    let mut options = LabOptions::new(arguments.place.path(), agent)
        .profile(match arguments.profile {
            ProfileName::Spec => Profile::Spec,
            ProfileName::Ws2012 => Profile::Ws2012,
        })
        .min_auth_level(match arguments.min_auth {
            Level::None => MinAuthLevel::None,
            Level::Integrity => MinAuthLevel::Integrity,
            Level::Privacy => MinAuthLevel::Privacy,
        });
    if let Some(timeout) = arguments.sequence_timeout {
        options = options.sequence_timeout(timeout);
    }
    if arguments.allow_shared_volume {
        options = options.allow_shared_volume();
    }
    let lab = Lab::up(options)?;
    report(&lab)?;
    lab.keep();
    Ok(())
}

fn report(lab: &Lab) -> Outcome {
    println!("the laboratory is up: smbd on 127.0.0.1:{}", lab.port());
    println!("{}", lab.environment_file().display());
    Ok(())
}

/// Installs what is missing and says so.
pub(crate) fn install(wanted: &[packages::Package]) -> Outcome {
    let installed = packages::install_missing(wanted)?;
    if !installed.is_empty() {
        println!("installed: {}", installed.join(" "));
    }
    Ok(())
}

fn sequence_timeout(text: &str) -> Result<SequenceTimeout, String> {
    let seconds = |text: &str| match text.trim().parse::<f64>() {
        Ok(seconds) if seconds > 0.0 => {
            Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
        }
        Ok(_) | Err(_) => Err(format!("{text:?} is not a number of seconds above 0")),
    };
    let (short, long) = text.split_once(',').unwrap_or((text, text));
    Ok(SequenceTimeout {
        short: seconds(short)?,
        long: seconds(long)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sequence_timeout_replaces_both() {
        let both = sequence_timeout("2").unwrap();
        assert_eq!(
            (both.short, both.long),
            (Duration::from_secs(2), Duration::from_secs(2))
        );
        let two = sequence_timeout("1.5,20").unwrap();
        assert_eq!(
            (two.short, two.long),
            (Duration::from_millis(1500), Duration::from_secs(20))
        );
        assert!(sequence_timeout("0").is_err());
        assert!(sequence_timeout("soon").is_err());
    }
}
