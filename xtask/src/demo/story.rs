//! Shows commands and what they say, and notices when they do not do what the story promises.

use crate::Outcome;
use fsrvp_testkit::{Output, Run};

/// A numbered story.
#[derive(Default)]
pub(crate) struct Story {
    step: u32,
}

impl Story {
    /// Begins a step.
    pub(crate) fn step(&mut self, what: &str) {
        self.step += 1;
        println!("\n{}. {what}", self.step);
    }

    /// Runs a command that has to succeed and returns what it printed.
    pub(crate) fn succeeds(&self, run: &Run) -> Result<String, Box<dyn std::error::Error>> {
        let output = self.show(run)?;
        // rpcclient's exit status does not tell a refusal from success.
        if output.status.success() && !output.says("failed") && !output.says("NT_STATUS_UNSUCC") {
            return Ok(output.stdout);
        }
        Err(format!("step {} did not succeed", self.step).into())
    }

    /// Runs a command that has to be refused.
    pub(crate) fn refused(&self, run: &Run) -> Outcome {
        if self.show(run)?.status.success() {
            return Err(format!("step {}: this should have been refused", self.step).into());
        }
        println!("   refused, as it should be");
        Ok(())
    }

    /// Compares and shows content.
    pub(crate) fn holds(&self, found: &str, wanted: &str) -> Outcome {
        println!("   | {}", found.trim_end());
        if found == wanted {
            return Ok(());
        }
        Err(format!("step {}: the content should be {wanted:?}", self.step).into())
    }

    fn show(&self, run: &Run) -> Result<Output, fsrvp_testkit::Error> {
        println!("   $ {}", run.line());
        let output = run.output()?;
        for line in output.text().lines().filter(|line| !line.trim().is_empty()) {
            println!("   | {line}");
        }
        Ok(output)
    }
}
