//! What could not be removed, and never will be: an operator gives it up.

use super::acts::Done;
use super::{Admin, ApiError, Operator, Routes};
use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use fsrvp_proto::job::Artefact;
use fsrvp_proto::{Order, OrderError};
use std::sync::Arc;

const ACT: &str = "forget debt";

pub(super) fn routes() -> Routes {
    Routes::default().delete("/v1/debts/{server}/{number}", forget)
}

async fn forget(
    State(admin): State<Admin>,
    ConnectInfo(by): ConnectInfo<Operator>,
    Path((server, number)): Path<(String, String)>,
) -> Result<Json<Done>, ApiError> {
    let of_server = admin.server(&server)?;
    let number: u64 = number
        .parse()
        .map_err(|_| ApiError::bad_request(format!("{number:?} is no number of a debt")))?;
    let missing = || ApiError::not_found(format!("server {server} has no debt {number}"));
    let debts = of_server.agent.view().debts;
    let debt = debts.into_iter().find(|debt| debt.number == number);
    let artefact = debt.ok_or_else(missing)?.artefact;
    let target = match &artefact {
        Artefact::Share(name) => format!("share {name}"),
        Artefact::Copy(copy) => format!("snapshot {} of {}", copy.copy, copy.volume),
    };
    let executor = Arc::clone(&of_server.executor);
    let look = move || executor.is_within_reach(&artefact);
    let done = match admin.blocking.look(look).await {
        Err(busy) => Err(busy),
        Ok(Err(failure)) => Err(failure.into()),
        Ok(Ok(true)) => Err(ApiError::conflict(format!(
            "{target} can be reached and is not forgotten: mend what `fsrvpctl status` says of it, \
             then run `fsrvpctl prune`"
        ))),
        Ok(Ok(false)) => match of_server.agent.order(Order::ForgetDebt(number)).await {
            Some(Ok(_)) => Ok(()),
            // Paid while we looked.
            Some(Err(OrderError::NotFound)) => return Err(missing()),
            Some(Err(error)) => Err(error.into()),
            None => Err(super::acts::ends()),
        },
    };
    let outcome = done.as_ref().map(|_| ()).map_err(|error| error as _);
    admin.note_act(&server, &by, ACT, &target, outcome);
    done.map(|()| Json(Done::new(server, ACT, target)))
}
