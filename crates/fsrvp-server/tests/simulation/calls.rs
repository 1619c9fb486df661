//! What goes into the agent from its clients, and what comes out of it.

use crate::client;
use crate::drive::Simulation;
use crate::invariants;
use crate::life::{OpenCall, RunningJob};
use crate::random::Draw;
use crate::witness::{self, MappingKey};
use fsrvp_idl::{Request, Response};
use fsrvp_proto::job::Job;
use fsrvp_proto::{Action, Call, CallId, Caller};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Simulation {
    pub(crate) fn somebody_calls(&mut self) -> Result<(), String> {
        let at = usize::try_from(self.random.below(self.clients.len() as u64)).unwrap_or(0);
        let walks = self.clients[at].waits_for.is_none();
        if !walks && !self.random.percent(self.plan.nonsense) {
            return Ok(());
        }
        if walks && !self.random.percent(self.plan.nonsense) {
            let request = self.clients[at].walk(&mut self.random);
            self.clients[at].waits_for = Some(self.next_call);
            return self.call(at, request);
        }
        let request = client::nonsense(&mut self.random, &self.knowledge);
        self.call(at, request)
    }

    pub(crate) fn call(&mut self, client: usize, request: Request) -> Result<(), String> {
        let now = self.now;
        let number = self.next_call;
        self.next_call += 1;
        self.note(format_args!(
            "call {number} of client {client}: {request:?}"
        ));
        self.witness.called(&request);
        let call = Call {
            id: CallId(number),
            caller: Caller {
                address: Some(self.clients[client].address),
                ..Caller::default()
            },
            request: request.clone(),
        };
        let life = self.life();
        let open = OpenCall {
            client,
            request,
            arrived: now.at,
        };
        life.calls.insert(number, open);
        life.agent.handle_call(now, call);
        self.pump()
    }

    /// Performs what the agent asks for, as `AgentCell` does.
    pub(crate) fn pump(&mut self) -> Result<(), String> {
        let world = Arc::clone(&self.world);
        while let Some(action) = self.life().agent.poll_action() {
            match action {
                Action::Persist { id, edits } => self.life().commits.push_back((id, edits)),
                Action::Run { id, job } => {
                    self.note(format_args!("job {}: {}", id.0, describe(&job)));
                    self.asks_about(&job)?;
                    if let Job::Commit { set, .. } = &job {
                        self.stamp += 1;
                        world.stamp(self.stamp);
                        self.witness.cut.insert(*set, self.stamp);
                    }
                    if let Job::Expose { set, .. } = &job {
                        self.life().shares_made.remove(set);
                    }
                    self.life().start_job(&world, id, job);
                }
                Action::Cancel { id } => {
                    self.note(format_args!("job {} is told to stop", id.0));
                    if let Some(job) = self.life().jobs.get(&id) {
                        job.cancelled.store(true, Ordering::Relaxed);
                    }
                }
                Action::Reply { id, response } => self.replied(id, &response)?,
                Action::Answer { id, .. } => return Err(format!("{id:?} was no order")),
                Action::Report(event) => {
                    self.keeping.told(&event);
                    self.note(format_args!("event: {event:?}"));
                }
            }
        }
        Ok(())
    }

    /// While the store hangs or a share is still being withdrawn, what was refused may come about
    /// in the end.
    fn deletion_refused(&mut self, key: MappingKey, request: &Request) {
        let is_in_doubt = self.world.store.is_in_doubt();
        let life = self.life();
        let removes = |job: &RunningJob| matches!(job.job, Job::Remove { .. });
        if is_in_doubt || !life.commits.is_empty() || life.jobs.values().any(removes) {
            return self.witness.refused_in_doubt(key);
        }
        let again = |other: &OpenCall| witness::deletion(&other.request).as_ref() == Some(&key);
        if !life.calls.values().any(again) {
            self.witness.refused(request);
        }
    }

    fn replied(&mut self, id: CallId, response: &Response) -> Result<(), String> {
        self.note(format_args!("call {}: {response:?}", id.0));
        let Some(call) = self.life().calls.remove(&id.0) else {
            return Err(format!("exactly one reply: another one to call {}", id.0));
        };
        self.last_reply = Some((id.0, response.status()));
        self.read_tables();
        let is_last = id.0 + 1 == self.next_call;
        invariants::reply_implies_durable(&self.facts(), &call, response, (self.now, is_last))?;
        if !response.status().is_ok()
            && let Some(key) = witness::deletion(&call.request)
        {
            self.deletion_refused(key, &call.request);
        }
        if let Response::StartShadowCopySet {
            shadow_copy_set_id, ..
        } = response
            && response.status().is_ok()
        {
            self.knowledge.sets.push(*shadow_copy_set_id);
        }
        if let Request::RecoveryCompleteShadowCopySet { .. } = call.request {
            self.knowledge.mappings = invariants::mappings(self.facts().durable);
        }
        if let Some(client) = self.clients.get_mut(call.client)
            && client.waits_for == Some(id.0)
        {
            client.waits_for = None;
            client.told(&call.request, response, &mut self.random);
        }
        Ok(())
    }
}

fn describe(job: &Job) -> String {
    match job {
        Job::Locate { share } => format!("locate {share}"),
        Job::Prepare { copies, .. } => format!("prepare {} copies", copies.len()),
        Job::Commit { set, copies, .. } => format!("commit {} copies of {set}", copies.len()),
        Job::Expose { set, shares } => format!("expose {} shares of {set}", shares.len()),
        Job::Reach { share } => format!("reach {}", share.name),
        Job::Seal { set, shares } => format!("seal {} shares of {set}", shares.len()),
        Job::Remove { artefacts } => format!("remove {artefacts:?}"),
        Job::Keep { set, copies } => format!("keep {} copies of {set}", copies.len()),
        Job::InUse { shares } => format!("ask about {} shares", shares.len()),
    }
}
