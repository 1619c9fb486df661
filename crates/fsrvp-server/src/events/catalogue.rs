//! Every event that there is, with the number by which the journal knows it.

/// Names of events and their `MESSAGE_ID`: neither ever changes, and no id is used twice.
pub const CATALOGUE: [(&str, &str); 24] = [
    ("fsrvp.context.set", "2d77be5589434c18bec58d7bdc154e1d"),
    ("fsrvp.context.expired", "dcdbf270824e40a8a4c3cba507de54c6"),
    ("fsrvp.set.started", "29ef08ffd6d449dc9235810e6021ab81"),
    ("fsrvp.share.added", "946ed945426e4e3f9a3a9f8ce71d2a55"),
    ("fsrvp.set.prepared", "8820af0351da4b02adf071c17744e6a2"),
    ("fsrvp.set.committed", "a5dd43829baf4c138c708488aaf0be6b"),
    ("fsrvp.commit.slow", "87a52329ae9a41d7b0d506e4a0494377"),
    ("fsrvp.set.exposed", "07a368cb1c6448488faf8f6dad7b2529"),
    ("fsrvp.set.recovered", "7e02961796d548b5ac108b807b998626"),
    ("fsrvp.mapping.deleted", "e8cd9fdf9041413f98189309020fea56"),
    ("fsrvp.set.ended", "a7d30fa41fe54637bee97f8ba9f5dd41"),
    ("cifs.shadowcopy.abort", "e62bc8ac6c46413990ae7129233fca09"),
    (
        "cifs.shadowcopy.failure",
        "ed3aeea5db074196b006043033a0cbb7",
    ),
    ("fsrvp.debt.kept", "7c2cce7d00a84bedb3f588e018969eef"),
    ("fsrvp.debt.paid", "ab5ae54d0f9e44aeaba0d87158cb9f9e"),
    ("fsrvp.retention.held", "31aa0c4d6db8498cad4088b30e3e5449"),
    ("fsrvp.clock.jumped", "af379f21a1764bfc88739f951250c437"),
    ("fsrvp.snapshot.kept", "6081ab281b60489bb695b785502d1248"),
    (
        "fsrvp.snapshot.keep_failed",
        "f1a2eda1bb904ae1b7d5abd08bb21075",
    ),
    ("fsrvp.store.failed", "71b17cffb69b4a6eb4996b1f9c17ab98"),
    ("fsrvp.store.hangs", "0749227498664710b7946c317ebc6045"),
    ("fsrvp.store.answers", "c8e8f4eb77b54330b0781a4657cbb3a2"),
    ("fsrvp.operator.act", "688d35f128a047cbb69730a18645bf26"),
    ("fsrvp.other", "c152fc5e961e41fcbb42362a52826040"),
];

/// The `MESSAGE_ID` of an event.
#[must_use]
pub fn message_id(event: &str) -> Option<&'static str> {
    let found = CATALOGUE.iter().find(|(name, _)| *name == event);
    found.map(|(_, id)| *id)
}
