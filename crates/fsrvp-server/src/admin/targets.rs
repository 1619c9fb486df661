//! File lists: which files of a share the next copy, or every copy, has to hold.

use super::{Admin, Administered, ApiError, Operator, Routes};
use crate::targets::{FileList, TargetsError};
use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, State};
use fsrvp_idl::ShareName;
use serde::{Deserialize, Serialize};

const PATH: &str = "/v1/shares/{share}/targets";

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/targets", all)
        .get(PATH, shown)
        .put(PATH, put)
        .delete(PATH, delete)
}

/// Which server is meant, where several have a share of the name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    server: Option<String>,
}

/// Body of `PUT`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    files: Vec<String>,
    #[serde(default)]
    standing: bool,
}

/// A list as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    server: String,
    share: String,
    files: Vec<String>,
    standing: bool,
}

/// `GET /v1/targets`
#[derive(Debug, Serialize)]
struct All {
    targets: Vec<Shown>,
}

impl Shown {
    fn of(server: String, list: FileList) -> Self {
        Self {
            server,
            share: list.share.as_str().to_owned(),
            files: list.files,
            standing: list.standing,
        }
    }
}

type Answer = Result<Json<Shown>, ApiError>;

async fn all(State(admin): State<Admin>) -> Json<All> {
    let of = |(name, server): (&String, &Administered)| {
        let name = name.clone();
        let lists = server.targets.all().into_iter();
        lists.map(move |list| Shown::of(name.clone(), list))
    };
    let targets = admin.servers().flat_map(of).collect();
    Json(All { targets })
}

async fn shown(
    State(admin): State<Admin>,
    Path(share): Path<String>,
    Query(which): Query<Which>,
) -> Answer {
    let (name, server, share) = admin.with_share(share, which).await?;
    match server.targets.list(&share) {
        Some(list) => Ok(Json(Shown::of(name, list))),
        None => Err(no_list(&share)),
    }
}

async fn put(
    State(admin): State<Admin>,
    ConnectInfo(by): ConnectInfo<Operator>,
    Path(share): Path<String>,
    Query(which): Query<Which>,
    Json(wanted): Json<Wanted>,
) -> Answer {
    let (name, server, share) = admin.with_share(share, which).await?;
    let list = FileList {
        share: share.clone(),
        files: wanted.files,
        standing: wanted.standing,
    };
    let stored = admin
        .blocking
        .act(move || {
            list.check()?;
            obeyed(&server, &list.share)?;
            server.targets.put(list.clone())?;
            Ok::<_, ApiError>(list)
        })
        .await?;
    note(&admin, &name, &by, "set", &share, &stored);
    Ok(Json(Shown::of(name, stored?)))
}

async fn delete(
    State(admin): State<Admin>,
    ConnectInfo(by): ConnectInfo<Operator>,
    Path(share): Path<String>,
    Query(which): Query<Which>,
) -> Answer {
    let (name, server, share) = admin.with_share(share, which).await?;
    let wanted = share.clone();
    let deleted = admin
        .blocking
        .act(move || {
            let deleted = server.targets.delete(&wanted).map_err(ApiError::from)?;
            deleted.ok_or_else(|| no_list(&wanted))
        })
        .await?;
    note(&admin, &name, &by, "delete", &share, &deleted);
    Ok(Json(Shown::of(name, deleted?)))
}

fn note(
    admin: &Admin,
    server: &str,
    by: &Operator,
    act: &'static str,
    share: &ShareName,
    outcome: &Result<FileList, ApiError>,
) {
    let target = format!("file list of {share}");
    let outcome = match outcome {
        Ok(_) => Ok(()),
        Err(error) => Err(error as &dyn std::fmt::Display),
    };
    admin.note_act(server, by, act, &target, outcome);
}

fn no_list(share: &ShareName) -> ApiError {
    ApiError::not_found(format!("share {share} has no file list"))
}

/// A list for a share whose backend copies whole volumes would be a promise that nobody keeps. A
/// share that is refused as a whole may be one that a list makes possible.
fn obeyed(server: &Administered, share: &ShareName) -> Result<(), ApiError> {
    match server.executor.select(share) {
        Ok((_, selected)) if selected.name.0 != "clone" => Err(ApiError::conflict(format!(
            "share {share} is copied by the backend {}, which copies all of it: file lists are for \
             clones",
            selected.name
        ))),
        _ => Ok(()),
    }
}

impl From<TargetsError> for ApiError {
    fn from(error: TargetsError) -> Self {
        match &error {
            TargetsError::Path(_) | TargetsError::TooMany(_) => {
                Self::bad_request(error.to_string())
            }
            TargetsError::Store(_) => Self::failed(error.to_string()),
            TargetsError::Ending => Self::internal(error.to_string()),
        }
    }
}

impl Admin {
    /// The server that has a share of this name, and the share as it spells it.
    pub(super) async fn with_share(
        &self,
        share: String,
        which: Which,
    ) -> Result<(String, Administered, ShareName), ApiError> {
        let wanted = ShareName::new(share.as_str());
        if let Some(meant) = &which.server {
            self.server(meant)?;
        }
        let mut found = Vec::new();
        for (name, server) in self.servers() {
            let meant = which.server.as_ref();
            if meant.is_some_and(|meant| !meant.eq_ignore_ascii_case(name)) {
                continue;
            }
            let (directory, share) = (server.directory.clone(), wanted.clone());
            let base = self.blocking.look(move || directory.lookup(&share)).await?;
            if let Ok(base) = base {
                found.push((name.clone(), server.clone(), base.name));
            }
        }
        if found.len() > 1 {
            return Err(ApiError::conflict(format!(
                "several servers have a share {wanted}: say which (--server NAME, ?server=NAME)"
            )));
        }
        found
            .pop()
            .ok_or_else(|| ApiError::not_found(format!("there is no share {wanted}")))
    }
}
