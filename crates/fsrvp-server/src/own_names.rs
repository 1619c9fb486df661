//! Collects the names and addresses under which clients may name a server. Nothing is resolved
//! over the network: host names come from the kernel and from the local hosts file.

use fsrvp_proto::OwnNames;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Names that are fixed for the life of the daemon.
#[derive(Debug, Clone, Default)]
pub struct ConfiguredNames {
    /// The server's name, its aliases, and what Samba calls itself.
    pub names: Vec<String>,
}

impl ConfiguredNames {
    /// These names, this host's names, and the addresses of all interfaces at this moment.
    #[must_use]
    pub fn collect(&self) -> OwnNames {
        let addresses = interface_addresses();
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let host = host_name();
        let mut names: BTreeSet<String> = self.names.iter().cloned().collect();
        names.extend(host.split('.').next().map(str::to_owned));
        names.extend(names_of(&hosts, &addresses, &host));
        names.insert(host);
        OwnNames::new(names, addresses)
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn interface_addresses() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(if_addrs::Interface::ip).collect(),
        Err(error) => {
            tracing::warn!(error = %error, "the addresses of this host cannot be listed");
            Vec::new()
        }
    }
}

/// Names that the hosts file gives this host: on lines with one of its addresses, and on lines
/// that hold its name (Debian's 127.0.1.1 line carries the fully qualified name).
fn names_of(hosts: &str, addresses: &[IpAddr], host: &str) -> Vec<String> {
    hosts
        .lines()
        .filter_map(|line| {
            let line = line.split('#').next()?;
            let mut fields = line.split_whitespace();
            let address: IpAddr = fields.next()?.parse().ok()?;
            let names: Vec<_> = fields.map(str::to_owned).collect();
            let is_ours = (addresses.contains(&address) && !address.is_loopback())
                || names.iter().any(|name| name.eq_ignore_ascii_case(host));
            is_ours.then_some(names)
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_gives_names_of_this_host_only() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1 filer.example.org filer # us\n\
                     192.0.2.7 backup-net\n192.0.2.8 stranger\n# 192.0.2.7 no\nnonsense\n";
        let found = names_of(hosts, &["192.0.2.7".parse().unwrap()], "filer");
        assert_eq!(found, ["filer.example.org", "filer", "backup-net"]);
    }
}
