//! `fsrvpctl forget`

use super::model::{Debt, Sets};
use super::segment;
use super::show::acted;
use crate::screen::Screen;
use crate::{AdminClient, Exit, Failure};
use serde_json::Value;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(crate) struct Forget {
    /// The number of what is left over, as `fsrvpctl status` shows it
    number: u64,
    /// The server, where several have something left over under that number
    #[arg(long)]
    server: Option<String>,
    /// Do it; without this it is only said what would be forgotten
    #[arg(long)]
    yes: bool,
}

impl Forget {
    pub(crate) fn run(&self, client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
        let sets: Sets = client.get("/v1/sets")?;
        let (server, debt) = self.find(&sets)?;
        let (number, what) = (self.number, debt.what());
        if !self.yes {
            let text = format!(
                "{number} of {server} is {what}: if it still exists somewhere, nobody will remove \
                 it any more until a start of fsrvpd finds it; add --yes to forget it"
            );
            return Err(Failure::new(Exit::Usage, text));
        }
        let path = format!("/v1/debts/{}/{number}", segment(server));
        let answer: Value = client.request("DELETE", &path, None)?;
        acted(screen, &answer, format!("{what} is forgotten"));
        Ok(())
    }

    fn find<'a>(&self, sets: &'a Sets) -> Result<(&'a str, &'a Debt), Failure> {
        let is_asked = |name: &str| match &self.server {
            Some(wanted) => wanted.eq_ignore_ascii_case(name),
            None => true,
        };
        let servers = sets.servers.iter().filter(|(name, _)| is_asked(name));
        let debts = servers.flat_map(|(name, server)| {
            let debts = server.debts.iter();
            debts.map(move |debt| (name.as_str(), debt))
        });
        let found: Vec<_> = debts
            .filter(|(_, debt)| debt.number == self.number)
            .collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => {
                let text = format!("nothing is left over under the number {}", self.number);
                Err(Failure::new(Exit::NotFound, text))
            }
            _ => Err(Failure::new(
                Exit::Usage,
                "several servers have one of that number: say which with --server",
            )),
        }
    }
}
