//! `fsrvpctl snapshots`

use crate::screen::{Cell, Screen};
use crate::time::plain;
use crate::{AdminClient, Failure};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Snapshots {
    snapshots: Vec<Snapshot>,
}

#[derive(Debug, Deserialize)]
struct Snapshot {
    share: String,
    name: String,
    created: String,
}

/// Shows the kept snapshots, by share and age.
pub(crate) fn run(client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
    super::ask(
        client,
        screen,
        "/v1/snapshots",
        |screen, kept: Snapshots| {
            if kept.snapshots.is_empty() {
                return screen.line("no snapshots are kept");
            }
            let rows = kept.snapshots.into_iter().map(|snapshot| {
                vec![
                    Cell::from(snapshot.share),
                    Cell::from(plain(&snapshot.created)),
                    Cell::from(snapshot.name),
                ]
            });
            screen.table(&["SHARE", "CREATED (UTC)", "NAME"], rows.collect());
        },
    )
}
