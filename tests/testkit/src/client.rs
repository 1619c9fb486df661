//! Samba's own clients, pointed at the laboratory.

use crate::samba::Account;
use crate::{Lab, MinAuthLevel, Run};
use std::net::Ipv4Addr;

pub use crate::samba::{Account as LabAccount, Accounts};

impl Lab {
    /// `rpcclient` on the agent's pipe, one command, with as much security as the agent asks for.
    #[must_use]
    pub fn rpcclient(&self, who: &Account, command: &str) -> Run {
        self.rpcclient_with(who, self.binding_options(), command)
    }

    /// The same with these options in the binding's brackets.
    #[must_use]
    pub fn rpcclient_with(&self, who: &Account, options: &str, command: &str) -> Run {
        self.samba_client("rpcclient", who)
            .arg(binding(options))
            .args(["-c", command])
    }

    /// `smbclient` speaking SMB 3 to a share, some commands.
    #[must_use]
    pub fn smbclient(&self, who: &Account, share: &str, commands: &str) -> Run {
        self.samba_client("smbclient", who)
            .args(["-m", "SMB3"])
            .arg(format!("//127.0.0.1/{share}"))
            .args(["-c", commands])
    }

    /// `smbcacls` of a path in a share; without further arguments it shows the security descriptor.
    /// The program only knows the usual port: `host` is an address where something passes it on to
    /// the laboratory's.
    #[must_use]
    pub fn smbcacls(&self, who: &Account, host: Ipv4Addr, share: &str, path: &str) -> Run {
        Run::new("smbcacls")
            .arg("-s")
            .arg(self.smb_conf())
            .arg("-U")
            .arg(format!("{}%{}", who.user, who.password))
            .args(["-m", "SMB3"])
            .arg(format!("//{host}/{share}"))
            .arg(path)
    }

    /// `smbtorture`, one or more tests by their full names.
    #[must_use]
    pub fn smbtorture(&self, who: &Account, tests: &[&str]) -> Run {
        self.smbtorture_with(who, self.binding_options(), tests)
    }

    /// The same with these options in the binding's brackets.
    #[must_use]
    pub fn smbtorture_with(&self, who: &Account, options: &str, tests: &[&str]) -> Run {
        // It leaves its scratch directory where it runs.
        let run = self.samba_client("smbtorture", who).directory(self.dir());
        run.arg(binding(options)).args(tests)
    }

    fn binding_options(&self) -> &'static str {
        match self.min_auth_level() {
            MinAuthLevel::None => "",
            MinAuthLevel::Integrity => "sign",
            MinAuthLevel::Privacy => "seal",
        }
    }

    fn samba_client(&self, program: &str, who: &Account) -> Run {
        Run::new(program)
            .arg("-s")
            .arg(self.smb_conf())
            .args(["-p", &self.port().to_string()])
            .args(["-U", &who.credentials()])
    }
}

fn binding(options: &str) -> String {
    match options {
        "" => "ncacn_np:127.0.0.1".to_owned(),
        options => format!("ncacn_np:127.0.0.1[{options}]"),
    }
}
