//! The verbs, one file each.

pub(crate) mod acts;
pub(crate) mod config;
pub(crate) mod connections;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod forget;
mod model;
pub(crate) mod providers;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod sets;
pub(crate) mod shares;
pub(crate) mod show;
pub(crate) mod snapshots;
pub(crate) mod space;
pub(crate) mod status;
pub(crate) mod targets;

use crate::screen::Screen;
use crate::{AdminClient, Failure};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Asks for `path`. Programs get the answer as it is; people get what `show` makes of it.
fn ask<T: DeserializeOwned>(
    client: &AdminClient,
    screen: &mut Screen,
    path: &str,
    show: impl FnOnce(&mut Screen, T),
) -> Result<(), Failure> {
    if screen.is_json() {
        let answer: Value = client.get(path)?;
        screen.json(&answer);
        return Ok(());
    }
    let answer = client.get(path)?;
    show(screen, answer);
    Ok(())
}

/// The part of a path that names something, whatever its characters.
fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut segment = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}
