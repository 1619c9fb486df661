//! Which host part of a UNC path means this server. Text is compared with text: nothing is ever
//! resolved, opened or connected to.

use crate::action::Caller;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

/// Suffix of the form in which a UNC path holds an IPv6 address.
const IPV6_LITERAL: &str = ".ipv6-literal.net";

/// The names and addresses of this server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnNames {
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl OwnNames {
    /// From host names in any case, with or without a trailing dot, and interface addresses.
    #[must_use]
    pub fn new(
        names: impl IntoIterator<Item = String>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        Self {
            names: names
                .into_iter()
                .map(|name| fold(&name))
                .filter(|name| !name.is_empty())
                .collect(),
            addresses: addresses
                .into_iter()
                .map(|address| address.to_canonical())
                .collect(),
        }
    }

    /// Whether `host` is this server for `caller`: `localhost`, a loopback or interface address
    /// (IPv4, IPv6, ipv6-literal.net), one of the names, or the name or address that the hand-over
    /// says the caller connected to.
    #[must_use]
    pub fn owns(&self, host: &str, caller: &Caller) -> bool {
        let host = fold(host);
        if let Some(address) = literal(&host) {
            return address.is_loopback()
                || self.addresses.contains(&address)
                || caller
                    .server_address
                    .is_some_and(|own| own.to_canonical() == address);
        }
        host == "localhost"
            || self.names.contains(&host)
            || (!host.is_empty()
                && caller
                    .server_name
                    .as_deref()
                    .is_some_and(|own| fold(own) == host))
    }
}

/// Lower case, one trailing dot ignored.
fn fold(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_lowercase()
}

/// The address that a folded host part spells, scope ignored.
fn literal(host: &str) -> Option<IpAddr> {
    if let Some(spelled) = host.strip_suffix(IPV6_LITERAL) {
        let address = spelled.split_once('s').map_or(spelled, |(head, _)| head);
        let address: Ipv6Addr = address.replace('-', ":").parse().ok()?;
        return Some(IpAddr::V6(address).to_canonical());
    }
    let address = host.split_once('%').map_or(host, |(head, _)| head);
    let address: IpAddr = address.parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnNames {
        OwnNames::new(
            ["FILES".to_owned(), "files.example.ORG.".to_owned()],
            [
                "192.0.2.7".parse().expect("IPv4"),
                "fe80::1".parse().expect("IPv6"),
            ],
        )
    }

    #[test]
    fn every_form_of_rule_10_is_ours() {
        let caller = Caller {
            server_address: Some("::ffff:198.51.100.3".parse().expect("mapped")),
            server_name: Some("Alias".to_owned()),
            ..Caller::default()
        };
        for host in [
            "files",
            "FILES.",
            "Files.Example.org",
            "localhost",
            "LOCALHOST.",
            "127.0.0.1",
            "127.3.2.1",
            "::1",
            "--1.ipv6-literal.net",
            "0-0-0-0-0-0-0-1.IPv6-Literal.Net.",
            "192.0.2.7",
            "::ffff:192.0.2.7",
            "fe80::1",
            "fe80::1%eth0",
            "fe80--1s4.ipv6-literal.net",
            "198.51.100.3",
            "alias",
        ] {
            assert!(own().owns(host, &caller), "{host}");
        }
    }

    #[test]
    fn everything_else_is_foreign() {
        for host in [
            "",
            ".",
            "files..",
            "file",
            "files.example",
            "attacker.example",
            "192.0.2.8",
            "127.1",
            "[::1]",
            "fe80::2",
            "ipv6-literal.net",
            ".ipv6-literal.net",
            "xyz.ipv6-literal.net",
            "alias",
        ] {
            assert!(!own().owns(host, &Caller::default()), "{host}");
        }
    }
}
