//! What an operator orders: through the agent, under its rules, and logged with who did it.

use super::sets::{guid, set_id};
use super::{Admin, ApiError, Operator, Routes};
use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use fsrvp_idl::{ShadowCopyId, ShadowCopySetId};
use fsrvp_proto::{Order, OrderDone, OrderError, Retention};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn routes() -> Routes {
    Routes::default()
        .delete("/v1/sets/{set}", delete)
        .post("/v1/sets/{set}/abort", abort)
        .post("/v1/sets/{set}/seal", seal)
        .delete("/v1/copies/{copy}", delete_copy)
        .post("/v1/prune", prune)
}

/// What was done.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    server: String,
    act: &'static str,
    target: String,
}

impl Done {
    pub(super) const fn new(server: String, act: &'static str, target: String) -> Self {
        Self {
            server,
            act,
            target,
        }
    }
}

/// Body of `POST /v1/prune`: the rule of this one look; without any, the configured one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PruneRule {
    age_seconds: Option<u64>,
    count: Option<usize>,
}

/// `POST /v1/prune`
#[derive(Debug, Serialize)]
struct Pruned {
    servers: BTreeMap<String, PrunedServer>,
}

#[derive(Debug, Serialize)]
struct PrunedServer {
    /// Recovered sets that go unless they are in use.
    sets: Vec<ShadowCopySetId>,
    /// Debts that are tried again.
    debts: usize,
}

type Answer = Result<Json<Done>, ApiError>;
type By = ConnectInfo<Operator>;

async fn abort(State(admin): State<Admin>, by: By, Path(id): Path<String>) -> Answer {
    let id = set_id(&id)?;
    admin
        .order(&by.0, "abort", id.to_string(), Order::Abort(id))
        .await
}

async fn seal(State(admin): State<Admin>, by: By, Path(id): Path<String>) -> Answer {
    let id = set_id(&id)?;
    admin
        .order(&by.0, "seal", id.to_string(), Order::Seal(id))
        .await
}

async fn delete(State(admin): State<Admin>, by: By, Path(id): Path<String>) -> Answer {
    let id = set_id(&id)?;
    admin
        .order(&by.0, "delete", id.to_string(), Order::Delete(id))
        .await
}

async fn delete_copy(State(admin): State<Admin>, by: By, Path(id): Path<String>) -> Answer {
    let id = ShadowCopyId(guid(&id)?);
    admin
        .order(&by.0, "delete copy", id.to_string(), Order::DeleteCopy(id))
        .await
}

async fn prune(
    State(admin): State<Admin>,
    by: By,
    rule: Option<Json<PruneRule>>,
) -> Result<Json<Pruned>, ApiError> {
    let rule = rule.map(|Json(rule)| rule).unwrap_or_default();
    if rule.age_seconds == Some(0) || rule.count == Some(0) {
        return Err(ApiError::bad_request(
            "age and count must be at least 1; to remove a set whatever its age, delete it",
        ));
    }
    let retention = Retention {
        age: rule.age_seconds.map(Duration::from_secs),
        count: rule.count,
    };
    let retention = (!retention.is_off()).then_some(retention);
    let mut servers = BTreeMap::new();
    for (name, server) in admin.servers() {
        let answer = server.agent.order(Order::Prune(retention)).await;
        let OrderDone { sets, debts } = answer.ok_or_else(ends)??;
        admin.note_act(
            name,
            &by.0,
            "prune",
            &format!("{} sets", sets.len()),
            Ok(()),
        );
        servers.insert(name.clone(), PrunedServer { sets, debts });
    }
    // A volume of one server that hangs keeps no other from its order.
    for server in admin.servers().map(|(_, server)| server) {
        let executor = Arc::clone(&server.executor);
        let now = server.agent.now();
        // Whoever orders it has seen the ages.
        admin
            .blocking
            .act(move || executor.prune_kept(now, true))
            .await?;
    }
    Ok(Json(Pruned { servers }))
}

pub(super) fn ends() -> ApiError {
    ApiError::internal("the daemon ends")
}

impl Admin {
    /// Gives an order about a set or copy to the server that has it.
    async fn order(
        &self,
        by: &Operator,
        act: &'static str,
        target: String,
        order: Order,
    ) -> Answer {
        for (name, server) in self.servers() {
            match server.agent.order(order.clone()).await {
                Some(Err(OrderError::NotFound)) => {}
                Some(Ok(_)) => {
                    self.note_act(name, by, act, &target, Ok(()));
                    let server = name.clone();
                    return Ok(Json(Done {
                        server,
                        act,
                        target,
                    }));
                }
                Some(Err(error)) => {
                    self.note_act(name, by, act, &target, Err(&error));
                    return Err(error.into());
                }
                None => return Err(ends()),
            }
        }
        let kind = if act == "delete copy" { "copy" } else { "set" };
        Err(ApiError::not_found(format!("there is no {kind} {target}")))
    }
}
