//! The calls of a backup program, one after the other, over the agent's pipe socket.
//!
//! Usage: `walk SOCKET UNC`. The agent has to run as the same user, or as root with root calling.

use fsrvp_client::{FsrvpClient, Options, PipeIdentity};
use fsrvp_idl::{ClientShadowCopyId, ClientShadowCopySetId};
use std::time::Duration;
use uuid::Uuid;

/// BACKUP with ATTR_AUTO_RECOVERY: writable until recovery is complete.
const CONTEXT: u32 = 0x0040_0000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(unc)) = (arguments.next(), arguments.next()) else {
        return Err("usage: walk SOCKET UNC".into());
    };
    // A Backup Operator, as smbd would describe one.
    let identity = PipeIdentity {
        account: "backup".to_owned(),
        sids: vec!["S-1-5-21-1-2-3-1000".parse()?, "S-1-5-32-551".parse()?],
        ..PipeIdentity::default()
    };
    let options = Options::default();
    let mut agent = FsrvpClient::connect_pipe(&socket, &identity.into(), options).await?;

    let support = agent.is_path_supported(&unc).await?;
    let owner = support.owner_machine_name.unwrap_or_default();
    println!(
        "IsPathSupported        {unc}: {}, owner {owner}",
        support.is_supported
    );
    let versions = agent.supported_versions().await?;
    println!(
        "GetSupportedVersion    {} to {}",
        versions.min, versions.max
    );
    agent.set_context(CONTEXT).await?;
    println!("SetContext             {CONTEXT:#010x}");
    let set = agent
        .start_shadow_copy_set(ClientShadowCopySetId(Uuid::new_v4()))
        .await?;
    println!("StartShadowCopySet     set {set}");
    let client_copy = ClientShadowCopyId(Uuid::new_v4());
    let copy = agent.add_to_shadow_copy_set(client_copy, set, &unc).await?;
    println!("AddToShadowCopySet     copy {copy}");
    agent
        .prepare_shadow_copy_set(set, Duration::from_secs(1800))
        .await?;
    println!("PrepareShadowCopySet   flushed");
    agent
        .commit_shadow_copy_set(set, Duration::from_secs(60))
        .await?;
    println!("CommitShadowCopySet    cut");
    agent
        .expose_shadow_copy_set(set, Duration::from_secs(180))
        .await?;
    let mapping = agent.share_mapping(copy, set, &unc).await?;
    let exposed = mapping.shadow_copy_share_name.unwrap_or_default();
    println!("ExposeShadowCopySet    as {exposed}");
    agent.recovery_complete_shadow_copy_set(set).await?;
    println!("RecoveryComplete       sealed");
    let copied = agent.is_path_shadow_copied(&unc).await?;
    println!("IsPathShadowCopied     {}", copied.is_present);
    agent.delete_share_mapping(set, copy, &unc).await?;
    println!("DeleteShareMapping     gone");
    Ok(())
}
