//! Tests of the verifiers.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Account, Chain, Logon, SambaPasswords, Ticket, UsersFile, UsersFileError, Verified, Verifier,
    VerifierConfig, VerifyError,
};
use crate::ntlm::crypto::{nt_hash, ntlmv2, ntowfv2};

const CHALLENGE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// What a client that knows `password` and hashes `hashed_domain` sends.
fn response(user: &str, hashed_domain: &str, password: &str) -> Vec<u8> {
    let client_challenge = [1, 1, 0, 0, 0, 0, 0, 0].repeat(5);
    let key = ntowfv2(&nt_hash(password), user, hashed_domain);
    let (proof, _) = ntlmv2(&key, &CHALLENGE, &client_challenge);
    [proof.as_slice(), &client_challenge].concat()
}

fn verify(
    verifier: &dyn Verifier,
    user: &str,
    domain: &str,
    password: &str,
) -> Result<Verified, VerifyError> {
    let nt_response = response(user, domain, password);
    verifier.verify(&Logon {
        user,
        domain,
        workstation: "CLIENT",
        challenge: CHALLENGE,
        lm_response: &[0; 24],
        nt_response: &nt_response,
    })
}

fn account(outcome: Result<Verified, VerifyError>) -> Account {
    outcome.unwrap().account
}

fn wrong_password() -> VerifyError {
    VerifyError::Refused("wrong password".to_owned())
}

const USERS: &str = r#"
    [[user]]
    name = "Backup"
    domain = "LAB"
    password = "geheim"
    sids = ["S-1-5-21-1-2-3-1000", "S-1-5-32-551"]
    principals = ["backup@LAB.EXAMPLE"]

    [[user]]
    name = "admin"
    nt_hash = "a4f49c406510bdcab6824ee7c30fd852"
    sids = ["S-1-5-32-544"]

    [[user]]
    name = "gone"
    password = "gone"
    disabled = true
    principals = ["gone@LAB.EXAMPLE"]
"#;

#[test]
fn users_of_a_file_log_on() {
    let users = UsersFile::parse(USERS).unwrap();
    for domain in ["LAB", "lab", ""] {
        let account = account(verify(&users, "bACKUP", domain, "geheim"));
        assert_eq!(account.name, "LAB\\Backup");
        assert_eq!(account.sids, ["S-1-5-21-1-2-3-1000", "S-1-5-32-551"]);
        assert!(account.has_authority);
    }
    assert_eq!(
        account(verify(&users, "admin", "ANY", "Password")).name,
        "admin"
    );
    assert_eq!(
        verify(&users, "Backup", "LAB", "Geheim").unwrap_err(),
        wrong_password()
    );
    assert_eq!(
        verify(&users, "Backup", "OTHER", "geheim").unwrap_err(),
        VerifyError::UnknownAccount("Backup".to_owned())
    );
    assert_eq!(
        verify(&users, "gone", "", "gone").unwrap_err(),
        VerifyError::Refused("account is disabled".to_owned())
    );
    // Whether an account is disabled is for its owner to know.
    assert_eq!(
        verify(&users, "gone", "", "guess").unwrap_err(),
        wrong_password()
    );
}

#[test]
fn users_of_a_file_have_principals() {
    let users = UsersFile::parse(USERS).unwrap();
    let resolve = |principal| {
        users.resolve(&Ticket {
            principal,
            pac: None,
        })
    };
    assert_eq!(resolve("backup@LAB.EXAMPLE").unwrap().name, "LAB\\Backup");
    assert!(matches!(
        resolve("Backup@LAB.EXAMPLE"),
        Err(VerifyError::UnknownAccount(_))
    ));
    assert!(matches!(
        resolve("backup@OTHER"),
        Err(VerifyError::UnknownAccount(_))
    ));
    assert!(matches!(
        resolve("gone@LAB.EXAMPLE"),
        Err(VerifyError::Refused(_))
    ));
}

#[test]
fn the_session_key_is_the_clients() {
    let users = UsersFile::parse(USERS).unwrap();
    let nt_response = response("Backup", "LAB", "geheim");
    let key = ntowfv2(&nt_hash("geheim"), "Backup", "LAB");
    let (_, base_key) = ntlmv2(&key, &CHALLENGE, &nt_response[16..]);
    let verified = verify(&users, "Backup", "LAB", "geheim").unwrap();
    assert_eq!(verified.base_key.expose(), base_key.expose());
}

#[test]
fn bad_users_files_are_refused_without_quoting_secrets() {
    for (text, reason) in [
        (
            "[[user]]\nname = \"a\"\npassword = 12345",
            "line 3: syntax or type error",
        ),
        ("[[user]]\nname = \"a\"\npassword = hunter2", "line 3"),
        (
            "[[user]]\nname = \"a\"\npasswort = \"hunter2\"",
            "unknown field `passwort`",
        ),
        (
            "[[user]]\nname = \"a\"",
            "password, nt_hash or principals is missing",
        ),
        (
            "[[user]]\nname = \"\"\npassword = \"hunter2\"",
            "name is empty",
        ),
        (
            "[[user]]\nname = \"a\"\nnt_hash = \"hunter2\"",
            "nt_hash is not 32",
        ),
        (
            "[[user]]\nname = \"a\"\nnt_hash = \"0g\"",
            "nt_hash is not 32",
        ),
        (
            "[[user]]\nname = \"a\"\npassword = \"b\"\nnt_hash = \"c\"",
            "exclude each other",
        ),
        (
            "[[user]]\nname = \"a\"\npassword = \"b\"\nsids = [\"S-1-\"]",
            "is not a SID",
        ),
        (
            "[[user]]\nname = \"a\"\npassword = \"b\"\nsids = [\"BUILTIN\"]",
            "is not a SID",
        ),
        (
            "[[user]]\nname = \"a\"\npassword = \"b\"\n[[user]]\nname = \"A\"\npassword = \"b\"",
            "occurs twice",
        ),
    ] {
        let error = UsersFile::parse(text).unwrap_err();
        assert!(error.contains(reason), "{error:?} is not about {reason:?}");
        assert!(
            !error.contains("hunter2") && !error.contains("12345"),
            "{error:?}"
        );
    }
    let missing = UsersFile::load(Path::new("/nonexistent/users.toml")).unwrap_err();
    assert!(matches!(missing, UsersFileError::Read { .. }));
}

/// A verifier that always says the same.
#[derive(Debug)]
struct Says(Result<&'static str, VerifyError>);

impl Verifier for Says {
    fn verify(&self, _: &Logon<'_>) -> Result<Verified, VerifyError> {
        let name = self.0.clone()?.to_owned();
        let account = Account {
            name,
            sids: Vec::new(),
            has_authority: false,
        };
        Ok(Verified {
            base_key: Default::default(),
            account,
        })
    }
}

#[test]
fn a_chain_asks_on_only_where_nobody_has_decided() {
    let unknown = || Says(Err(VerifyError::UnknownAccount("user".to_owned())));
    let down = || Says(Err(VerifyError::Unavailable("down".to_owned())));
    let no = || Says(Err(VerifyError::Refused("no".to_owned())));
    let yes = || Says(Ok("account"));
    let outcome = |verifiers: Vec<Says>| {
        let verifiers = verifiers
            .into_iter()
            .map(|verifier| Arc::new(verifier) as Arc<dyn Verifier>);
        let chain = Chain::new(verifiers.collect());
        verify(&chain, "user", "", "pass").map(|verified| verified.account.name)
    };
    let is_down = VerifyError::Unavailable("down".to_owned());
    assert_eq!(
        outcome(vec![unknown(), down(), yes(), no()]),
        Ok("account".to_owned())
    );
    assert_eq!(
        outcome(vec![no(), yes()]),
        Err(VerifyError::Refused("no".to_owned()))
    );
    assert_eq!(
        outcome(vec![unknown(), unknown()]),
        Err(VerifyError::UnknownAccount("user".to_owned()))
    );
    // Who could not be asked may have known the account.
    assert_eq!(outcome(vec![unknown(), down()]), Err(is_down.clone()));
    assert_eq!(outcome(vec![down(), unknown()]), Err(is_down));
    assert!(matches!(outcome(vec![]), Err(VerifyError::Unavailable(_))));
}

#[test]
fn a_configuration_without_verifiers_says_so() {
    let (chain, limitations) = VerifierConfig::default().build().unwrap();
    assert_eq!(limitations.len(), 1);
    assert!(limitations[0].0.contains("no verifier"));
    assert!(matches!(
        verify(&chain, "user", "", "pass"),
        Err(VerifyError::Unavailable(_))
    ));
}

/// Held while a test writes and runs a program: a process that another thread starts meanwhile
/// would inherit the open file and keep it busy.
static PROGRAMS: Mutex<()> = Mutex::new(());

/// A program in place of `pdbedit` that knows the accounts below and records its arguments.
fn fake_pdbedit(directory: &Path) -> PathBuf {
    let line = |account: &str, hash: &str, flags: &str| {
        format!(
            "{account}:1000:{}:{hash}:[{flags:11}]:LCT-65000000:",
            "X".repeat(32)
        )
    };
    let hash = "A4F49C406510BDCAB6824EE7C30FD852";
    let accounts = [
        line("backup", hash, "U"),
        line("CLIENT$", hash, "W"),
        line("disabled", hash, "DU"),
        line("locked", hash, "UL"),
        line("nopass", "NO PASSWORDXXXXXXXXXXXXXXXXXXXXX", "NU"),
        line("trust$", hash, "I"),
    ];
    let mut script = format!(
        "#!/bin/sh\nfor a in \"$@\"; do echo \"$a\" >> {}/args; done\necho noise\n",
        directory.display()
    );
    script.push_str("case \"$*\" in\n");
    for account in accounts {
        let name = account.split(':').next().unwrap().to_owned();
        script.push_str(&format!("*--user={name}) echo '{account}' ;;\n"));
    }
    script.push_str("*) exit 255 ;;\nesac\n");
    let path = directory.join("pdbedit");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[test]
fn samba_accounts_log_on_without_known_groups() {
    let _alone = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let program = fake_pdbedit(directory.path());
    let samba = |standalone| {
        SambaPasswords::new(
            Some(PathBuf::from("/etc/x.conf")),
            "FS1".to_owned(),
            standalone,
        )
        .with_program(program.clone())
    };
    for domain in ["WG", "", "FS1"] {
        let account = account(verify(&samba(true), "backup", domain, "Password"));
        let expected = Account {
            name: "FS1\\backup".to_owned(),
            sids: vec![],
            has_authority: false,
        };
        assert_eq!(account, expected);
    }
    assert_eq!(
        account(verify(&samba(true), "CLIENT$", "", "Password")).name,
        "FS1\\CLIENT$"
    );
    // A member server has only its own accounts here.
    for domain in ["", ".", "fs1"] {
        assert!(
            verify(&samba(false), "backup", domain, "Password").is_ok(),
            "{domain}"
        );
    }
    let unknown = |user: &str| VerifyError::UnknownAccount(user.to_owned());
    assert_eq!(
        verify(&samba(false), "backup", "WG", "Password").unwrap_err(),
        unknown("backup")
    );
    assert_eq!(
        verify(&samba(true), "nobody", "", "Password").unwrap_err(),
        unknown("nobody")
    );
    assert_eq!(
        verify(&samba(true), "backup", "", "password").unwrap_err(),
        wrong_password()
    );
    for user in ["disabled", "locked", "trust$"] {
        let error = verify(&samba(true), user, "", "Password").unwrap_err();
        assert!(matches!(error, VerifyError::Refused(_)), "{user}: {error}");
    }
    assert_eq!(
        verify(&samba(true), "nopass", "", "").unwrap_err(),
        unknown("nopass")
    );
    let arguments = std::fs::read_to_string(directory.path().join("args")).unwrap();
    assert!(
        arguments.starts_with("-s\n/etc/x.conf\n-L\n-w\n--user=backup\n"),
        "{arguments}"
    );
}

#[test]
fn strange_account_names_never_reach_a_program() {
    let _alone = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let program = fake_pdbedit(directory.path());
    let samba = SambaPasswords::new(None, "FS1".to_owned(), true).with_program(program);
    let long = "x".repeat(300);
    for user in ["a:b", "../x", "a\nb", "a/b", "a\\b", "*", long.as_str()] {
        let error = verify(&samba, user, "", "Password").unwrap_err();
        assert_eq!(error, VerifyError::UnknownAccount(user.to_owned()));
    }
    assert!(!directory.path().join("args").exists());
    // An option stays a name.
    let _ = verify(&samba, "-x", "", "Password");
    let arguments = std::fs::read_to_string(directory.path().join("args")).unwrap();
    assert_eq!(arguments, "-L\n-w\n--user=-x\n");
    let missing = SambaPasswords::new(None, "FS1".to_owned(), true)
        .with_program(PathBuf::from("/nonexistent/pdbedit"));
    let error = verify(&missing, "backup", "", "Password").unwrap_err();
    assert!(matches!(error, VerifyError::Unavailable(_)));
}

/// A database that somebody keeps locked holds no logon up for ever, nor what pdbedit started.
#[test]
fn a_pdbedit_that_hangs_is_killed() {
    let _alone = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("pdbedit");
    std::fs::write(&program, "#!/bin/sh\nsleep 86400\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let samba = SambaPasswords::new(None, "FS1".to_owned(), true)
        .with_program(program)
        .with_limit(std::time::Duration::from_millis(50));
    let error = verify(&samba, "backup", "", "Password").unwrap_err();
    let VerifyError::Unavailable(said) = error else {
        panic!("{error:?}");
    };
    assert!(said.contains("did not answer within"), "{said}");
}

#[test]
fn the_domain_may_be_hashed_as_sent_in_upper_case_or_not_at_all() {
    let users = UsersFile::parse("[[user]]\nname = \"u\"\npassword = \"p\"\n").unwrap();
    for (hashed, fits) in [("Lab", true), ("LAB", true), ("", true), ("lab", false)] {
        let nt_response = response("u", hashed, "p");
        let outcome = users.verify(&Logon {
            user: "u",
            domain: "Lab",
            workstation: "",
            challenge: CHALLENGE,
            lm_response: &[],
            nt_response: &nt_response,
        });
        assert_eq!(outcome.is_ok(), fits, "{hashed}");
    }
}
