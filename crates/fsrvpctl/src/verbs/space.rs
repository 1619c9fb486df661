//! `fsrvpctl space`

use crate::screen::{Cell, Screen};
use crate::time::{bytes, counted};
use crate::{AdminClient, Failure};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Space {
    volumes: Vec<Volume>,
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Volume {
    volume: String,
    shares: Vec<String>,
    total_bytes: u64,
    free_bytes: u64,
    snapshots: u64,
}

#[derive(Debug, Deserialize)]
struct Item {
    kind: String,
    name: String,
    share: String,
    volume: String,
    exclusive_bytes: Option<u64>,
    referenced_bytes: Option<u64>,
}

/// Shows what each copy costs, volume by volume.
pub(crate) fn run(client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
    super::ask(client, screen, "/v1/space", |screen, space: Space| {
        render(screen, &space);
    })
}

fn render(screen: &mut Screen, space: &Space) {
    if space.volumes.is_empty() && space.items.is_empty() {
        screen.line("no share lies on a volume that can be copied");
    }
    let mut volumes: Vec<_> = space.volumes.iter().collect();
    volumes.sort_by(|a, b| a.shares.cmp(&b.shares));
    for (number, volume) in volumes.into_iter().enumerate() {
        if number > 0 {
            screen.blank();
        }
        screen.heading(format!("volume of {}", volume.shares.join(", ")));
        let (free, total) = (bytes(volume.free_bytes), bytes(volume.total_bytes));
        screen.line(format!(
            "  {free} of {total} free, {}",
            counted(
                usize::try_from(volume.snapshots).unwrap_or(usize::MAX),
                "snapshot"
            )
        ));
        let items = space
            .items
            .iter()
            .filter(|item| item.volume == volume.volume);
        render_items(screen, items.collect());
    }
    let elsewhere = |item: &&Item| !space.volumes.iter().any(|of| of.volume == item.volume);
    let others: Vec<_> = space.items.iter().filter(elsewhere).collect();
    if !others.is_empty() {
        screen.blank();
        screen.heading("of volumes without a share");
        render_items(screen, others);
    }
}

fn render_items(screen: &mut Screen, items: Vec<&Item>) {
    if items.is_empty() {
        return;
    }
    let shown = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), self::bytes);
    let rows = items.into_iter().map(|item| {
        let name = match item.kind.as_str() {
            "copy" => item.name.clone(),
            _ => format!("{} of {}", item.name, item.share),
        };
        vec![
            Cell::from(shown(item.exclusive_bytes)),
            Cell::from(shown(item.referenced_bytes)),
            Cell::from(item.kind.clone()),
            Cell::from(name),
        ]
    });
    screen.table(&["OWN", "SHOWN", "KIND", "NAME"], rows.collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_each_copy_stands_below_its_volume() {
        let space = serde_json::json!({
            "volumes": [{
                "server": "FS", "backend": "btrfs", "volume": "v1", "shares": ["vm", "sql"],
                "total_bytes": 8_u64 << 30, "free_bytes": 7_u64 << 30, "snapshots": 2
            }],
            "items": [
                { "kind": "copy", "name": "vm@{1}", "share": "vm", "volume": "v1",
                  "exclusive_bytes": 4_096, "referenced_bytes": 1 << 20 },
                { "kind": "snapshot", "name": "k-1", "share": "vm", "volume": "v1",
                  "exclusive_bytes": null, "referenced_bytes": null },
                { "kind": "copy", "name": "old@{2}", "share": "old", "volume": "v2",
                  "exclusive_bytes": 0, "referenced_bytes": 5 }
            ]
        });
        let mut screen = Screen::new(false, 80);
        render(&mut screen, &serde_json::from_value(space).unwrap());
        assert_eq!(
            screen.plain(),
            "volume of vm, sql\n  \
             7.0 GiB of 8.0 GiB free, 2 snapshots\n\
             OWN      SHOWN    KIND      NAME\n\
             4.0 KiB  1.0 MiB  copy      vm@{1}\n\
             ?        ?        snapshot  k-1 of vm\n\
             \n\
             of volumes without a share\n\
             OWN  SHOWN  KIND  NAME\n\
             0 B  5 B    copy  old@{2}\n"
        );
    }
}
