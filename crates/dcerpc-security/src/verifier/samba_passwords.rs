//! NT hashes from Samba's account database, for a stand-alone server without winbindd.

use fsrvp_sys::process_group::ProcessGroup;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use zeroize::Zeroizing;

use super::ntlmv2::prove;
use super::{Account, Logon, Verified, Verifier, VerifyError};
use crate::Key16;

/// Longest time that `pdbedit` may take: every logon waits for it.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest output that is read, in bytes.
const LONGEST_OUTPUT: u64 = 1 << 16;
/// Longest account name that is looked up, in bytes.
const MAX_ACCOUNT_LEN: usize = 256;

/// Asks `pdbedit`. The SIDs of an account are then not known: [`Account::has_authority`] is
/// `false`.
#[derive(Debug, Clone)]
pub struct SambaPasswords {
    smb_conf: Option<PathBuf>,
    netbios_name: String,
    standalone: bool,
    program: PathBuf,
    limit: Duration,
}

impl SambaPasswords {
    /// Accounts are named after `netbios_name`. Only a `standalone` server takes every domain that
    /// a client names for its own.
    #[must_use]
    pub fn new(smb_conf: Option<PathBuf>, netbios_name: String, standalone: bool) -> Self {
        Self {
            smb_conf,
            netbios_name,
            standalone,
            program: PathBuf::from("pdbedit"),
            limit: LIMIT,
        }
    }

    /// Calls another program instead of `pdbedit`.
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Gives it another time than ten seconds.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    fn is_own_domain(&self, domain: &str) -> bool {
        self.standalone
            || domain.is_empty()
            || domain == "."
            || domain.to_lowercase() == self.netbios_name.to_lowercase()
    }

    /// The account's line in smbpasswd format.
    fn look_up(&self, user: &str) -> Result<Zeroizing<Vec<u8>>, VerifyError> {
        let mut command = Command::new(&self.program);
        if let Some(path) = &self.smb_conf {
            command.arg("-s").arg(path);
        }
        // One argument with its value: a name cannot become an option.
        command.args(["-L", "-w"]).arg(format!("--user={user}"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .env("LC_ALL", "C.UTF-8")
            .process_group(0);
        let unavailable = |error| VerifyError::Unavailable(format!("pdbedit: {error}"));
        let mut child = command.spawn().map_err(unavailable)?;
        let group = ProcessGroup::of(&child).map_err(unavailable)?;
        // One account is one line, which fits into the pipe.
        let in_time = group.ends_within(self.limit);
        group.kill();
        let status = group.collect();
        if !in_time {
            return Err(VerifyError::Unavailable(format!(
                "pdbedit did not answer within {:?}; is Samba's account database locked?",
                self.limit
            )));
        }
        if !status.is_some_and(|status| status.success()) {
            return Err(VerifyError::UnknownAccount(user.to_owned()));
        }
        let mut output = Zeroizing::new(Vec::new());
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = stdout.take(LONGEST_OUTPUT);
            stdout.read_to_end(&mut output).map_err(unavailable)?;
        }
        Ok(output)
    }
}

impl Verifier for SambaPasswords {
    fn verify(&self, logon: &Logon<'_>) -> Result<Verified, VerifyError> {
        if !self.is_own_domain(logon.domain) || !is_account_name(logon.user) {
            return Err(VerifyError::UnknownAccount(logon.user.to_owned()));
        }
        let output = self.look_up(logon.user)?;
        let text = std::str::from_utf8(&output)
            .map_err(|_| VerifyError::Unavailable("pdbedit: output is not UTF-8".to_owned()))?;
        let entry = text
            .lines()
            .filter_map(Entry::parse)
            .find(|entry| entry.account.to_lowercase() == logon.user.to_lowercase())
            .ok_or_else(|| VerifyError::UnknownAccount(logon.user.to_owned()))?;
        let base_key = prove(&entry.nt_hash, logon)
            .ok_or_else(|| VerifyError::Refused("wrong password".to_owned()))?;
        entry.check_flags()?;
        Ok(Verified {
            base_key,
            account: Account {
                name: format!("{}\\{}", self.netbios_name, entry.account),
                sids: Vec::new(),
                has_authority: false,
            },
        })
    }
}

/// Whether `pdbedit` may be asked for `name`: no control characters and nothing that separates
/// fields or paths.
fn is_account_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_ACCOUNT_LEN
        && !name
            .chars()
            .any(|c| c.is_control() || r#"":/\[]|<>+=;,?*"#.contains(c))
}

/// One line: `name:uid:LM hash:NT hash:[flags]:LCT-…:`.
struct Entry<'a> {
    account: &'a str,
    nt_hash: Key16,
    flags: &'a str,
}

impl<'a> Entry<'a> {
    /// `None` for anything that is not an account with an NT hash.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let account = fields.next()?;
        let nt_hash = parse_hash(fields.nth(2)?)?;
        let flags = fields.next()?.strip_prefix('[')?.strip_suffix(']')?;
        Some(Self {
            account,
            nt_hash,
            flags,
        })
    }

    fn check_flags(&self) -> Result<(), VerifyError> {
        let refused = |reason: &str| Err(VerifyError::Refused(reason.to_owned()));
        if self.flags.contains('D') {
            return refused("account is disabled");
        }
        if self.flags.contains('L') {
            return refused("account is locked");
        }
        if self.flags.contains('N') {
            return refused("account needs no password");
        }
        // User, workstation trust, server trust; never a domain trust.
        if !self.flags.contains(['U', 'W', 'S']) {
            return refused("account is not a user's or computer's");
        }
        Ok(())
    }
}

/// 32 hexadecimal digits.
pub(super) fn parse_hash(text: &str) -> Option<Key16> {
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let mut hash = Zeroizing::new([0_u8; 16]);
    let (pairs, _) = digits.as_chunks::<2>();
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        let high = u8::try_from(char::from(*high).to_digit(16)?).ok()?;
        let low = u8::try_from(char::from(*low).to_digit(16)?).ok()?;
        *byte = (high << 4) | low;
    }
    Some(Key16::from(*hash))
}
