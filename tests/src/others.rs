//! What has to hold for every backend behind smbd, besides what Microsoft's flows ask for.

use crate::walk::{Walk, exposed};
use crate::{CaseResult, Suite, fail};
use fsrvp_testkit::{Lab, ShareKey, unix_http_get};
use libtest_mimic::Failed;
use serde_json::Value;
use std::fs;

/// Whole lives of copies with `rpcclient` and `smbclient`: read-only and writable, of a share, of one
/// whose name is hidden, of one below another directory; two volumes in one set.
#[must_use]
pub fn walks(suite: Suite) -> Suite {
    let keys = [ShareKey::A, ShareKey::Hidden, ShareKey::Subdir];
    let suite = keys.into_iter().fold(suite, |suite, key| {
        [false, true].into_iter().fold(suite, |suite, writable| {
            let name = format!("{}_{}", if writable { "rw" } else { "ro" }, key.key());
            suite.case(name.to_lowercase(), move |lab| {
                Walk::of(lab).run(key, writable)
            })
        })
    });
    suite.case("two_volumes_in_one_set", two_volumes)
}

fn two_volumes(lab: &Lab) -> CaseResult {
    let walk = Walk::of(lab);
    let shares = [ShareKey::A, ShareKey::B].map(|key| lab.share(key));
    for share in shares {
        fs::write(share.path.join("whose"), share.name)?;
    }
    let created = walk.create("rw", &shares.map(|share| share.name))?;
    for (share, copy) in shares.iter().zip(&created.copies) {
        let copied = exposed(share.name, copy);
        walk.holds(&copied, "whose", share.name)?;
        if !walk.put(&copied, "recovered")? {
            return fail(format!("{copied} cannot be written"));
        }
    }
    walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
    for (share, copy) in shares.iter().zip(&created.copies) {
        if walk.put(&exposed(share.name, copy), "late")? {
            return fail("a file could be written after RecoveryComplete");
        }
        walk.succeeds(&format!("fss_delete {} {} {copy}", share.name, created.set))?;
    }
    Ok(())
}

/// The admin socket tells which backend a share has and why, and what that is; Commit has raised
/// event 4089 with the set and its milliseconds.
///
/// # Errors
/// Whatever is not said.
pub fn what_is_said(lab: &Lab, backend: &str, kind: &str) -> CaseResult {
    let share = lab.share(ShareKey::A).name;
    let shares = ask(lab, "/v1/shares", "shares")?;
    let shown = shares
        .iter()
        .find(|shown| shown.get("name").and_then(Value::as_str) == Some(share));
    let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    let of_share = |key: &str| shown.and_then(|shown| text(shown, key));
    if of_share("backend").as_deref() != Some(backend)
        || of_share("volume").is_none()
        || of_share("reason").is_none()
    {
        return fail(format!("/v1/shares: {shown:?}"));
    }
    let providers = ask(lab, "/v1/providers", "providers")?;
    let is_ours = |shown: &&Value| text(shown, "backend").as_deref() == Some(backend);
    let Some(provider) = providers.iter().find(is_ours) else {
        return fail(format!("/v1/providers: {providers:?}"));
    };
    let facts = ["name", "id", "version"].map(|key| text(provider, key));
    if facts.iter().any(Option::is_none) || text(provider, "kind").as_deref() != Some(kind) {
        return fail(format!("/v1/providers: {provider}"));
    }
    let walk = Walk::of(lab);
    let created = walk.create("ro", &[share])?;
    let events = ask(lab, &format!("/v1/events?set={}", created.set), "events")?;
    let [copy] = created.copies.as_slice() else {
        return fail("one share, several copies");
    };
    walk.succeeds(&format!("fss_recovery_complete {}", created.set))?;
    walk.succeeds(&format!("fss_delete {share} {} {copy}", created.set))?;
    let is_committed = |event: &&Value| {
        event.get("event_id").and_then(Value::as_u64) == Some(4089)
            && event.to_string().contains(&created.set)
    };
    match events.iter().find(is_committed) {
        Some(event) if event.to_string().contains("milliseconds") => Ok(()),
        found => fail(format!("event 4089 of {}: {found:?}", created.set)),
    }
}

/// A share whose copies nobody would find after a restart, for they would be in memory.
///
/// # Errors
/// It is copied all the same.
pub fn refused_without_a_disk(lab: &Lab) -> CaseResult {
    let share = lab.share(ShareKey::Unsupported).name;
    let output = lab
        .rpcclient(lab.backup(), &format!("fss_is_path_sup {share}"))
        .output()?;
    let log = fs::read_to_string(lab.agent_log())?;
    if !output.says("0x8004230c") || !log.contains("could not be found again after a restart") {
        return fail(output.text());
    }
    Ok(())
}

fn ask(lab: &Lab, path: &str, list: &str) -> Result<Vec<Value>, Failed> {
    let answer = unix_http_get(&lab.admin_socket(), path)?;
    let body: Value = serde_json::from_str(&answer.body)?;
    match body.get(list).and_then(Value::as_array) {
        Some(list) => Ok(list.clone()),
        None => fail(format!("{path}: {body}")),
    }
}
