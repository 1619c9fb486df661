//! `fsrvpctl connections`

use crate::screen::{Cell, Screen};
use crate::time::ago;
use crate::{AdminClient, Failure};
use serde::Deserialize;
use std::time::SystemTime;

#[derive(Debug, Deserialize)]
struct Connections {
    connections: Vec<Connection>,
}

#[derive(Debug, Deserialize)]
struct Connection {
    server: String,
    since: String,
    transport: String,
    client: Option<String>,
    account: Option<String>,
}

/// Shows who is connected.
pub(crate) fn run(client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
    super::ask(
        client,
        screen,
        "/v1/connections",
        |screen, open: Connections| {
            if open.connections.is_empty() {
                return screen.line("nobody is connected");
            }
            let now = SystemTime::now();
            let rows = open.connections.into_iter().map(|connection| {
                vec![
                    Cell::from(connection.server),
                    Cell::from(connection.transport),
                    Cell::from(ago(&connection.since, now)),
                    Cell::from(connection.client.unwrap_or_else(|| "?".to_owned())),
                    Cell::from(connection.account.unwrap_or_else(|| "?".to_owned())),
                ]
            });
            screen.table(
                &["SERVER", "BY", "FOR", "CLIENT", "ACCOUNT"],
                rows.collect(),
            );
        },
    )
}
