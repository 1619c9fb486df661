//! Clients: each walks sets as backup programs do, and now and then calls what it should not.

use crate::random::{Draw, Random};
use crate::world::SHARES;
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Request, Response, ShadowCopyId, ShadowCopySetId,
    Status,
};
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

const CONTEXTS: [u32; 8] = [
    0x0000_0000,
    0x0040_0000,
    0x0000_0009,
    0x0040_0009,
    0x0040_0009,
    0x0000_0010,
    0x0040_0019,
    0x0000_000b,
];

const TIMEOUTS: [u32; 6] = [0, 1, 2_000, 60_000, 60_000, 1_800_000];

/// A mapping that somebody was told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) set: ShadowCopySetId,
    pub(crate) copy: ShadowCopyId,
    pub(crate) unc: String,
}

/// What all clients have ever been told: ids to be wrong with.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    pub(crate) sets: Vec<ShadowCopySetId>,
    pub(crate) mappings: Vec<Known>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Context,
    Start,
    Add,
    Prepare,
    Commit,
    Expose,
    Map,
    Recover,
    Delete,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    next: Next,
    set: ShadowCopySetId,
    mappings: Vec<Known>,
    /// Shares still to be added.
    wanted: Vec<&'static str>,
    /// Its walk waits for this call.
    pub(crate) waits_for: Option<u64>,
}

impl Client {
    pub(crate) fn new(number: u64) -> Self {
        // The first two come from one address.
        let last = u8::try_from(1 + number / 2).unwrap();
        Self {
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
            next: Next::Context,
            set: ShadowCopySetId::NULL,
            mappings: Vec::new(),
            wanted: Vec::new(),
            waits_for: None,
        }
    }

    /// The next call of its walk.
    pub(crate) fn walk(&mut self, random: &mut Random) -> Request {
        let set = self.set;
        let timeout_ms = *random.one_of(&TIMEOUTS);
        let shadow_copy_set_id = set;
        match self.next {
            Next::Context => Request::SetContext {
                context: *random.one_of(&CONTEXTS),
            },
            Next::Start => Request::StartShadowCopySet {
                client_shadow_copy_set_id: ClientShadowCopySetId(random.uuid()),
            },
            Next::Add => Request::AddToShadowCopySet {
                client_shadow_copy_id: ClientShadowCopyId(random.uuid()),
                shadow_copy_set_id,
                share_name: unc(self.wanted.first().unwrap_or(&"docs")),
            },
            Next::Prepare => Request::PrepareShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            },
            Next::Commit => Request::CommitShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            },
            Next::Expose => Request::ExposeShadowCopySet {
                shadow_copy_set_id,
                timeout_ms,
            },
            Next::Map | Next::Delete if self.mappings.is_empty() => Request::GetSupportedVersion,
            Next::Map => {
                let known = random.one_of(&self.mappings);
                Request::GetShareMapping {
                    shadow_copy_id: known.copy,
                    shadow_copy_set_id: known.set,
                    share_name: known.unc.clone(),
                    level: 1,
                }
            }
            Next::Recover => Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id },
            Next::Delete => delete(random.one_of(&self.mappings)),
        }
    }

    /// The reply to its walk's call.
    pub(crate) fn told(&mut self, request: &Request, response: &Response, random: &mut Random) {
        if !response.status().is_ok() {
            return self.failed(request, response.status(), random);
        }
        self.next = match request {
            Request::SetContext { .. } => Next::Start,
            Request::StartShadowCopySet { .. } => {
                if let Response::StartShadowCopySet {
                    shadow_copy_set_id, ..
                } = response
                {
                    self.set = *shadow_copy_set_id;
                }
                self.mappings.clear();
                let mut shares: Vec<_> = SHARES.iter().map(|(name, _)| *name).collect();
                self.wanted.clear();
                for _ in 0..=random.below(3) {
                    let at = usize::try_from(random.below(shares.len() as u64)).unwrap();
                    self.wanted.push(shares.remove(at));
                }
                Next::Add
            }
            Request::AddToShadowCopySet { share_name, .. } => {
                if let Response::AddToShadowCopySet { shadow_copy_id, .. } = response {
                    self.mappings.push(Known {
                        set: self.set,
                        copy: *shadow_copy_id,
                        unc: share_name.clone(),
                    });
                }
                self.added(random)
            }
            Request::PrepareShadowCopySet { .. } => Next::Commit,
            Request::CommitShadowCopySet { .. } => Next::Expose,
            Request::ExposeShadowCopySet { .. } if random.percent(50) => Next::Map,
            Request::ExposeShadowCopySet { .. } | Request::GetShareMapping { .. } => Next::Recover,
            Request::DeleteShareMapping { share_name, .. } => {
                self.mappings.retain(|known| known.unc != *share_name);
                if self.mappings.is_empty() {
                    Next::Context
                } else {
                    Next::Delete
                }
            }
            Request::RecoveryCompleteShadowCopySet { .. } if random.percent(40) => Next::Delete,
            _ => Next::Context,
        };
    }

    /// The next share, or what follows the last.
    fn added(&mut self, random: &mut Random) -> Next {
        if !self.wanted.is_empty() {
            self.wanted.remove(0);
        }
        match self.wanted.is_empty() {
            false => Next::Add,
            true if random.percent(70) => Next::Prepare,
            true => Next::Commit,
        }
    }

    fn failed(&mut self, request: &Request, status: Status, random: &mut Random) {
        let hopeless = [
            Status::FSRVP_E_SHADOWCOPYSET_ID_MISMATCH,
            Status::E_INVALIDARG,
            Status::FSRVP_E_OBJECT_NOT_FOUND,
        ];
        match request {
            Request::AddToShadowCopySet { .. } if status != Status::FSRVP_E_BAD_STATE => {
                if self.wanted.len() > 1 || !self.mappings.is_empty() {
                    self.next = self.added(random);
                } else if random.percent(50) {
                    self.next = Next::Context;
                }
            }
            // The reply to a call that was carried out got lost.
            _ if status == Status::FSRVP_E_BAD_STATE && random.percent(60) => {
                self.next = match self.next {
                    Next::Commit | Next::Prepare => Next::Expose,
                    Next::Expose => Next::Recover,
                    Next::Context
                    | Next::Start
                    | Next::Add
                    | Next::Map
                    | Next::Recover
                    | Next::Delete => Next::Context,
                };
            }
            _ if hopeless.contains(&status) || random.percent(25) => self.next = Next::Context,
            // It tries again.
            _ => {}
        }
    }
}

/// Any call, with any arguments.
pub(crate) fn nonsense(random: &mut Random, knowledge: &Knowledge) -> Request {
    let set = || knowledge.sets.iter().rev().take(6).copied();
    let mut sets: Vec<_> = set().collect();
    sets.extend([ShadowCopySetId::NULL, ShadowCopySetId(Uuid::from_u128(7))]);
    let shadow_copy_set_id = *random.one_of(&sets);
    let timeout_ms = *random.one_of(&TIMEOUTS);
    let names = [
        r"\\LAB\docs",
        r"\\lab\BELOW\",
        r"\\127.0.0.1\data",
        r"\\elsewhere\docs",
        r"\\LAB\missing",
        r"\\LAB",
        "",
    ];
    let share_name = (*random.one_of(&names)).to_owned();
    let known = if knowledge.mappings.is_empty() || random.percent(20) {
        Known {
            set: shadow_copy_set_id,
            copy: ShadowCopyId(Uuid::from_u128(9)),
            unc: share_name.clone(),
        }
    } else {
        let recent = knowledge.mappings.len().saturating_sub(8);
        random.one_of(&knowledge.mappings[recent..]).clone()
    };
    match random.below(13) {
        0 => Request::GetSupportedVersion,
        1 => Request::SetContext {
            context: *random.one_of(&[0, 0x0040_0009, 0x0040_0002, 0x77]),
        },
        2 => Request::StartShadowCopySet {
            client_shadow_copy_set_id: ClientShadowCopySetId(random.uuid()),
        },
        3 => Request::AddToShadowCopySet {
            client_shadow_copy_id: ClientShadowCopyId(random.uuid()),
            shadow_copy_set_id,
            share_name,
        },
        4 => Request::CommitShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        },
        5 => Request::ExposeShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        },
        6 => Request::RecoveryCompleteShadowCopySet { shadow_copy_set_id },
        7 => Request::AbortShadowCopySet { shadow_copy_set_id },
        8 => Request::IsPathSupported { share_name },
        9 => Request::IsPathShadowCopied { share_name },
        10 => Request::GetShareMapping {
            shadow_copy_id: known.copy,
            shadow_copy_set_id: known.set,
            share_name: known.unc,
            level: *random.one_of(&[1, 1, 0]),
        },
        11 => delete(&known),
        _ => Request::PrepareShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        },
    }
}

pub(crate) fn delete(known: &Known) -> Request {
    Request::DeleteShareMapping {
        shadow_copy_set_id: known.set,
        shadow_copy_id: known.copy,
        share_name: known.unc.clone(),
    }
}

pub(crate) fn unc(share: &str) -> String {
    format!(r"\\LAB\{share}")
}
