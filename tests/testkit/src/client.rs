//! Samba's own clients, pointed at the laboratory.

use crate::samba::Account;
use crate::{Lab, Run};

pub use crate::samba::{Account as LabAccount, Accounts};

impl Lab {
    /// `rpcclient` on the agent's pipe, one command. `options` stand in the binding's brackets.
    #[must_use]
    pub fn rpcclient(&self, who: &Account, options: &str, command: &str) -> Run {
        let binding = match options {
            "" => "ncacn_np:127.0.0.1".to_owned(),
            options => format!("ncacn_np:127.0.0.1[{options}]"),
        };
        self.samba_client("rpcclient", who)
            .arg(binding)
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

    /// `smbtorture`, one or more tests by their full names.
    #[must_use]
    pub fn smbtorture(&self, who: &Account, tests: &[&str]) -> Run {
        // It leaves its scratch directory where it runs.
        let run = self.samba_client("smbtorture", who).directory(self.dir());
        run.arg("ncacn_np:127.0.0.1").args(tests)
    }

    fn samba_client(&self, program: &str, who: &Account) -> Run {
        Run::new(program)
            .arg("-s")
            .arg(self.smb_conf())
            .args(["-p", &self.port().to_string()])
            .args(["-U", &who.credentials()])
    }
}
