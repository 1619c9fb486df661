//! `fsrvpctl sets`

use super::model::Sets;
use crate::screen::{Cell, Screen, Tone};
use crate::time::ago;
use crate::{AdminClient, Failure};
use std::time::SystemTime;

/// Shows all sets, newest last.
pub(crate) fn run(client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
    super::ask(client, screen, "/v1/sets", |screen, sets: Sets| {
        render(screen, sets, SystemTime::now());
    })
}

fn render(screen: &mut Screen, sets: Sets, now: SystemTime) {
    let several = sets.servers.len() > 1;
    let mut all: Vec<_> = sets
        .servers
        .into_iter()
        .flat_map(|(name, server)| server.sets.into_iter().map(move |set| (name.clone(), set)))
        .collect();
    if all.is_empty() {
        return screen.line("no shadow copy sets");
    }
    all.sort_by(|(_, a), (_, b)| a.started.cmp(&b.started));
    let rows = all
        .into_iter()
        .map(|(server, set)| {
            let shares = match several {
                true => format!("{server}: {}", set.shares()),
                false => set.shares(),
            };
            vec![
                Cell::from(set.id.clone()),
                Cell::toned(set.status_word(), Tone::of_status(&set.status)),
                Cell::from(ago(&set.changed, now)),
                Cell::from(shares),
            ]
        })
        .collect();
    screen.table(&["SET", "STATUS", "FOR", "SHARES"], rows);
}
