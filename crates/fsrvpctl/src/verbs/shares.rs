//! `fsrvpctl shares`

use crate::screen::{Cell, Screen, Tone};
use crate::{AdminClient, Failure};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Shares {
    shares: Vec<Share>,
}

#[derive(Debug, Deserialize)]
struct Share {
    server: String,
    name: String,
    path: Option<String>,
    supported: bool,
    backend: Option<String>,
    volume: Option<String>,
    reason: String,
    previous_versions: Option<String>,
}

/// Shows which shares can be copied, by what, and why.
pub(crate) fn run(client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
    super::ask(client, screen, "/v1/shares", |screen, shares: Shares| {
        if shares.shares.is_empty() {
            screen.line("no shares");
        }
        for (number, share) in shares.shares.into_iter().enumerate() {
            if number > 0 {
                screen.blank();
            }
            render(screen, share);
        }
    })
}

fn render(screen: &mut Screen, share: Share) {
    screen.heading(format!("{} on {}", share.name, share.server));
    let mut fields: Vec<(&'static str, Cell)> = Vec::new();
    if let Some(path) = share.path {
        fields.push(("path", path.into()));
    }
    match share.backend {
        Some(backend) if share.supported => {
            fields.push(("backend", Cell::toned(backend, Tone::Good)));
            fields.push(("why", share.reason.into()));
        }
        _ => {
            fields.push(("backend", Cell::toned("none", Tone::Warning)));
            fields.push(("why not", share.reason.into()));
        }
    }
    if let Some(volume) = share.volume {
        fields.push(("volume", volume.into()));
    }
    if let Some(previous) = share.previous_versions {
        fields.push(("previous", previous.into()));
    }
    screen.fields(2, fields);
}
