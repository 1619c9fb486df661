//! The whole cycle of one share, SetContext to Delete, call by call.

use crate::Result;
use crate::labs::{Labs, Target, share};
use crate::pipe::Pipe;
use crate::report::{Goal, Limit, Report};
use crate::stats::{Series, timed};
use fsrvp_idl::{
    ClientShadowCopyId, ClientShadowCopySetId, Request, Response, ShadowCopyId, ShadowCopySetId,
};
use std::time::Instant;
use uuid::Uuid;

/// FSRVP_CTX_BACKUP: the copy is read-only from the start.
pub(crate) const BACKUP: u32 = 0;
/// FSRVP_CTX_BACKUP | ATTR_AUTO_RECOVERY: the copy is writable until RecoveryComplete.
const AUTO_RECOVERY: u32 = 0x0040_0000;
/// A client's usual time-outs.
const TIMEOUT_MS: u32 = 60_000;

/// The calls in their order.
const CALLS: [&str; 9] = [
    "SetContext",
    "StartShadowCopySet",
    "AddToShadowCopySet",
    "PrepareShadowCopySet",
    "CommitShadowCopySet",
    "ExposeShadowCopySet",
    "GetShareMapping",
    "RecoveryCompleteShadowCopySet",
    "DeleteShareMapping",
];
const EXPOSE: usize = 5;

/// A set in the making.
#[derive(Debug)]
pub(crate) struct Set<'a> {
    pipe: &'a mut Pipe,
    share: String,
    id: ShadowCopySetId,
    copy: ShadowCopyId,
}

impl<'a> Set<'a> {
    /// SetContext, Start and Add.
    pub(crate) fn begin(pipe: &'a mut Pipe, share: &Target, context: u32) -> Result<Self> {
        Self::begin_timed(pipe, share, context, &mut Default::default())
    }

    fn begin_timed(
        pipe: &'a mut Pipe,
        share: &Target,
        context: u32,
        [set_context, start, add]: &mut [Series; 3],
    ) -> Result<Self> {
        timed(set_context, || pipe.call(&Request::SetContext { context }))?;
        let request = Request::StartShadowCopySet {
            client_shadow_copy_set_id: ClientShadowCopySetId(Uuid::new_v4()),
        };
        let id = match timed(start, || pipe.call(&request))? {
            Response::StartShadowCopySet {
                shadow_copy_set_id, ..
            } => shadow_copy_set_id,
            other => return Err(format!("{other:?}").into()),
        };
        let request = Request::AddToShadowCopySet {
            client_shadow_copy_id: ClientShadowCopyId(Uuid::new_v4()),
            shadow_copy_set_id: id,
            share_name: share.unc.clone(),
        };
        let copy = match timed(add, || pipe.call(&request))? {
            Response::AddToShadowCopySet { shadow_copy_id, .. } => shadow_copy_id,
            other => return Err(format!("{other:?}").into()),
        };
        Ok(Self {
            pipe,
            share: share.unc.clone(),
            id,
            copy,
        })
    }

    pub(crate) fn prepare(&mut self) -> Result<()> {
        let (shadow_copy_set_id, timeout_ms) = (self.id, TIMEOUT_MS);
        self.call(&Request::PrepareShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        })
    }

    pub(crate) fn commit(&mut self) -> Result<()> {
        let (shadow_copy_set_id, timeout_ms) = (self.id, TIMEOUT_MS);
        self.call(&Request::CommitShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        })
    }

    fn expose(&mut self) -> Result<()> {
        let (shadow_copy_set_id, timeout_ms) = (self.id, TIMEOUT_MS);
        self.call(&Request::ExposeShadowCopySet {
            shadow_copy_set_id,
            timeout_ms,
        })
    }

    fn mapping(&mut self) -> Result<()> {
        self.call(&Request::GetShareMapping {
            shadow_copy_id: self.copy,
            shadow_copy_set_id: self.id,
            share_name: self.share.clone(),
            level: 1,
        })
    }

    fn recovery_complete(&mut self) -> Result<()> {
        self.call(&Request::RecoveryCompleteShadowCopySet {
            shadow_copy_set_id: self.id,
        })
    }

    fn delete(&mut self) -> Result<()> {
        self.call(&Request::DeleteShareMapping {
            shadow_copy_set_id: self.id,
            shadow_copy_id: self.copy,
            share_name: self.share.clone(),
        })
    }

    /// Expose to Delete: the only end that leaves nothing behind at the peer.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.expose()?;
        self.recovery_complete()?;
        self.delete()
    }

    /// A null call on the same pipe.
    pub(crate) fn null(&mut self) -> Result<()> {
        self.call(&Request::GetSupportedVersion)
    }

    /// Aborts: snapshot and set are gone.
    pub(crate) fn abort(self) -> Result<()> {
        let shadow_copy_set_id = self.id;
        self.pipe
            .call(&Request::AbortShadowCopySet { shadow_copy_set_id })
            .map(drop)
    }

    fn call(&mut self, request: &Request) -> Result<()> {
        self.pipe.call(request).map(drop)
    }
}

/// The times of one agent.
#[derive(Debug, Default)]
struct Times {
    begin: [Series; 3],
    rest: [Series; 6],
    whole: Series,
}

impl Times {
    fn cycle(&mut self, pipe: &mut Pipe, share: &Target, context: u32) -> Result<()> {
        // Each begins with a file system that has nothing to write.
        share.flush()?;
        let start = Instant::now();
        let mut set = Set::begin_timed(pipe, share, context, &mut self.begin)?;
        let [prepare, commit, expose, mapping, recovery_complete, delete] = &mut self.rest;
        timed(prepare, || set.prepare())?;
        timed(commit, || set.commit())?;
        timed(expose, || set.expose())?;
        timed(mapping, || set.mapping())?;
        timed(recovery_complete, || set.recovery_complete())?;
        timed(delete, || set.delete())?;
        self.whole.push_time(start.elapsed());
        Ok(())
    }

    fn medians(&self) -> Vec<f64> {
        self.begin
            .iter()
            .chain(&self.rest)
            .map(Series::median)
            .collect()
    }
}

/// Measures `cycles` of each agent in turns, with both kinds of context.
pub(crate) fn run(labs: &Labs, cycles: usize, report: &mut Report) -> Result<()> {
    for (context, name) in [(BACKUP, "read-only"), (AUTO_RECOVERY, "auto-recovery")] {
        of_context(labs, cycles, context, name, report)?;
    }
    Ok(())
}

fn of_context(
    labs: &Labs,
    cycles: usize,
    context: u32,
    name: &str,
    report: &mut Report,
) -> Result<()> {
    let mut agents = [&labs.ours, &labs.peer, &labs.helperless]
        .map(|lab| (Pipe::open(&lab.pipe()), share(lab), Times::default()));
    for cycle in 0..cycles {
        for (index, (pipe, share, times)) in agents.iter_mut().enumerate() {
            // Without the helper a cycle takes so long that fewer have to do.
            if index < 2 || cycle % 5 == 0 {
                let pipe = pipe.as_mut().map_err(|error| error.to_string())?;
                times.cycle(pipe, share, context)?;
            }
        }
    }
    let [ours, peer, helperless] = agents.map(|(_, _, times)| times);
    let (our_calls, peer_calls) = (ours.medians(), peer.medians());
    let rows = CALLS
        .iter()
        .zip(our_calls.iter().zip(&peer_calls).zip(helperless.medians()))
        .map(|(call, ((ours, peer), helperless))| row(call, *ours, *peer, helperless))
        .chain([row(
            "whole cycle",
            ours.whole.median(),
            peer.whole.median(),
            helperless.whole.median(),
        )]);
    report.table(
        &format!("Whole cycle, one share, {name} context ({context:#x}), ms"),
        [
            "call",
            "ours",
            "rpcd_fsrvp",
            "ours / rpcd_fsrvp",
            "ours without the helper",
        ],
        rows,
    );
    report.note(format!(
        "Medians of {} cycles each ({} without the helper), in turns, on one open pipe.",
        ours.whole.len(),
        helperless.whole.len()
    ));
    let whole = ours.whole.median() / peer.whole.median();
    report.goal(Goal::new(
        format!("whole cycle, {name} context"),
        whole,
        Limit::AtMost(0.8),
    ));
    let expose = our_calls
        .iter()
        .zip(&peer_calls)
        .nth(EXPOSE)
        .map(|(ours, peer)| ours / peer);
    let expose = expose.unwrap_or(f64::NAN);
    report.goal(Goal::new(
        format!("Expose, {name} context"),
        expose,
        Limit::AtMost(0.7),
    ));
    Ok(())
}

fn row(call: &str, ours: f64, peer: f64, helperless: f64) -> [String; 5] {
    [
        call.to_owned(),
        format!("{ours:.3}"),
        format!("{peer:.3}"),
        format!("{:.2}", ours / peer),
        format!("{helperless:.3}"),
    ]
}
