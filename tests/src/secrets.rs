//! Passwords and their hashes have no place in what the agent logs.

use fsrvp_testkit::{Account, Lab, Run};

/// A password or its hash in what the agent has logged so far.
///
/// # Errors
/// When there is nothing to look for, or nothing to look into: then nothing is proved.
pub(crate) fn in_log_of(lab: &Lab) -> Result<Option<String>, String> {
    let path = lab.agent_log();
    let log = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if log.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    let run = Run::new("pdbedit").arg("-s").arg(lab.smb_conf());
    let listing = run.args(["-L", "-w"]).check();
    let listing = listing.map_err(|error| error.to_string())?.stdout;
    let accounts = [lab.backup(), lab.admin(), lab.plain()];
    let hashes = nt_hashes(&listing);
    if hashes.len() < accounts.len() {
        let (found, wanted) = (hashes.len(), accounts.len());
        return Err(format!("pdbedit shows {found} of {wanted} hashes"));
    }
    let log = String::from_utf8_lossy(&log);
    Ok(first_in(&log, &hashes, &accounts))
}

/// The NT hashes of a list in the form of smbpasswd(5): `name:uid:LM hash:NT hash:[flags]:time`.
/// An account without a password has X's in place of a hash.
fn nt_hashes(listing: &str) -> Vec<String> {
    let is_hash = |field: &&str| {
        field.len() == 32 && field.bytes().all(|character| character.is_ascii_hexdigit())
    };
    listing
        .lines()
        .filter_map(|line| line.split(':').nth(3))
        .filter(is_hash)
        .map(str::to_lowercase)
        .collect()
}

fn first_in(log: &str, hashes: &[String], accounts: &[&Account]) -> Option<String> {
    let folded = log.to_lowercase();
    if hashes.iter().any(|hash| folded.contains(hash)) {
        return Some("the hash of a password".to_owned());
    }
    accounts
        .iter()
        .find(|account| log.contains(&account.password))
        .map(|account| format!("the password of {}", account.user))
}

#[cfg(test)]
mod tests {
    use super::{first_in, nt_hashes};
    use fsrvp_testkit::Account;

    const LISTING: &str = "\
        backup:4001:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:8846F7EAEE8FB117AD06BDD830B7586C:[U          ]:LCT-690BF000:\n\
        guest:4002:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:[NU         ]:LCT-690BF000:\n";

    fn account() -> Account {
        Account {
            user: "backup".to_owned(),
            password: "Tr0ub4dor&3".to_owned(),
        }
    }

    #[test]
    fn accounts_without_a_password_have_no_hash() {
        assert_eq!(nt_hashes(LISTING), ["8846f7eaee8fb117ad06bdd830b7586c"]);
    }

    #[test]
    fn hashes_are_found_in_either_case_and_passwords_as_they_are() {
        let hashes = nt_hashes(LISTING);
        let found = |log: &str| first_in(log, &hashes, &[&account()]);
        assert_eq!(found("backup logged on by NTLM"), None);
        for log in [
            "key=8846F7EAee8fb117ad06bdd830b7586c.",
            "8846f7eaee8fb117ad06bdd830b7586c",
        ] {
            assert_eq!(found(log).as_deref(), Some("the hash of a password"));
        }
        let found = found("AUTH backup%Tr0ub4dor&3");
        assert_eq!(found.as_deref(), Some("the password of backup"));
    }
}
