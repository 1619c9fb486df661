//! What the daemon works on: jobs, debts, connections.

use super::{Admin, Routes};
use crate::connections::ConnectionView;
use axum::Json;
use axum::extract::State;
use fsrvp_proto::view::{DebtView, JobView};
use serde::Serialize;

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/jobs", jobs)
        .get("/v1/debts", debts)
        .get("/v1/connections", connections)
}

/// Something of one server.
#[derive(Debug, Serialize)]
struct Of<T> {
    server: String,
    #[serde(flatten)]
    item: T,
}

#[derive(Debug, Serialize)]
struct Jobs {
    jobs: Vec<Of<JobView>>,
}

#[derive(Debug, Serialize)]
struct Debts {
    debts: Vec<Of<DebtView>>,
}

#[derive(Debug, Serialize)]
struct Open {
    connections: Vec<Of<ConnectionView>>,
}

async fn jobs(State(admin): State<Admin>) -> Json<Jobs> {
    let jobs = admin.each(|server| server.agent.view().jobs);
    Json(Jobs { jobs })
}

async fn debts(State(admin): State<Admin>) -> Json<Debts> {
    let debts = admin.each(|server| server.agent.view().debts);
    Json(Debts { debts })
}

async fn connections(State(admin): State<Admin>) -> Json<Open> {
    let connections = admin.each(|server| server.connections.view());
    Json(Open { connections })
}

impl Admin {
    fn each<T>(&self, items: impl Fn(&super::Administered) -> Vec<T>) -> Vec<Of<T>> {
        let mut all = Vec::new();
        for (name, server) in self.servers() {
            all.extend(items(server).into_iter().map(|item| Of {
                server: name.clone(),
                item,
            }));
        }
        all
    }
}
