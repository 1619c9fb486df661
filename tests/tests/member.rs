//! docs/install.md on a member of a domain, word for word: a booted server that has joined, and a domain controller
//! in a root of its own that shares nothing with it but the network.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use fsrvp_testkit::comes_true;
use fsrvp_tests::{FileServer, Root, debian_in_domain, guide};
use std::time::Duration;

/// Passwords as a domain asks for them, of a network that ends with the test.
const ADMIN: &str = "Aa1.administrator";
const COMPUTER: &str = "Aa1.computer";
/// For provisioning and start on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Names without a name service, in both roots.
const NAMES: &str = r#"
printf '127.0.0.1 filer.example.test filer localhost\n127.0.0.2 dc.example.test dc\n' >/etc/hosts
cat >/etc/krb5.conf <<'END'
[libdefaults]
 default_realm = EXAMPLE.TEST
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
[realms]
 EXAMPLE.TEST = {
  kdc = 127.0.0.2
  admin_server = 127.0.0.2
  kpasswd_server = 127.0.0.2
 }
[domain_realm]
 .example.test = EXAMPLE.TEST
END
"#;

/// The controller: a group of backup servers, in it the computer SQL1.
fn controller() -> String {
    format!(
        "hostname dc
         {NAMES}
         mkdir -p /run/samba
         rm -f /etc/samba/smb.conf
         samba-tool domain provision --server-role=dc --dns-backend=NONE --realm=EXAMPLE.TEST \
             --domain=EXAMPLE --adminpass='{ADMIN}' --host-name=dc --host-ip=127.0.0.2 \
             --option='interfaces=127.0.0.2/8' --option='bind interfaces only=yes'
         sed -i '/^\\[global\\]/a server services = s3fs, rpc, ldap, cldap, kdc, winbindd' /etc/samba/smb.conf
         samba-tool group add backup-servers
         samba-tool computer create SQL1
         samba-tool user setpassword 'SQL1$' --newpassword='{COMPUTER}'
         samba-tool group addmembers backup-servers 'SQL1$'
         touch /inbox/provisioned
         exec samba --foreground --no-process-group"
    )
}

/// What "joined as always" means here.
const JOIN: &str = r#"
sed -i -E 's/^(passwd|group):.*/& winbind/' /etc/nsswitch.conf
btrfs subvolume create /srv/projects
cat >/etc/samba/smb.conf <<'END'
[global]
workgroup = EXAMPLE
realm = EXAMPLE.TEST
security = ADS
interfaces = 127.0.0.1/8
bind interfaces only = yes
disable netbios = yes
password server = dc.example.test
idmap config * : backend = tdb
idmap config * : range = 100000-999999
registry shares = yes
kerberos method = secrets and keytab
[projects]
path = /srv/projects
read only = no
END
"#;

#[test]
fn a_computer_of_the_domain_makes_a_copy() {
    if !Root::is_possible() {
        return;
    }
    let base = debian_in_domain("bookworm").unwrap();
    let server = FileServer::above(&base, &["0.1.0-1"]).unwrap();
    server
        .good(&format!("systemctl stop smbd winbind\n{NAMES}{JOIN}"))
        .unwrap();
    let root = Root::new(&base).unwrap();
    let domain = root
        .serve(server.process().unwrap(), &controller())
        .unwrap();

    let join =
        format!("net ads join --no-dns-updates -S dc.example.test -U 'Administrator%{ADMIN}'");
    let mut said = String::new();
    let joined = comes_true(PATIENCE, || {
        root.inbox().join("provisioned").exists()
            && server.shell(&join).is_ok_and(|output| {
                said = output.text();
                output.status.success()
            })
    });
    assert!(joined, "{said}\n{}", domain.log());
    server.good("systemctl start winbind smbd").unwrap();
    server.good("apt-get install --yes ./fsrvpd_*.deb").unwrap();
    let commands = guide::commands_of("docs/install.md", "member").unwrap();
    server.replay(&commands).unwrap();

    for (account, options) in [
        (format!("EXAMPLE\\SQL1$%{COMPUTER}"), "sign,ntlm"),
        (format!("SQL1$@EXAMPLE.TEST%{COMPUTER}"), "sign,krb5"),
    ] {
        let kerberos = if options.contains("krb5") {
            "required"
        } else {
            "off"
        };
        let call = format!(
            "rpcclient --use-kerberos={kerberos} -U '{account}' \
             'ncacn_np:filer.example.test[{options}]' -c 'fss_create_expose backup ro projects'"
        );
        let made = server.good(&call).unwrap();
        assert!(made.contains("projects@{"), "{made}");
    }
    // A member of the domain who is not in the group may nothing.
    let other = "rpcclient --use-kerberos=off -U 'EXAMPLE\\Guest%' \
                 'ncacn_np:filer.example.test[sign]' -c 'fss_get_sup_version'";
    assert!(!server.shell(other).unwrap().status.success());
}
