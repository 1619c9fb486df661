//! Refusals of the admin socket: a status, a word for programs, a sentence for people.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use fsrvp_proto::OrderError;
use fsrvp_proto::job::{Failure, FailureKind};
use serde::Serialize;
use std::fmt;

/// A refusal.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'static str,
    message: &'a str,
}

impl ApiError {
    /// Nothing of that name exists.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// It is not possible in the present state.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "bad_state", message)
    }

    /// The work failed.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message)
    }

    /// Something went wrong that has nothing to do with the request.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// Something before it hangs, or it does itself; it may be asked again.
    #[must_use]
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(super) async fn no_such_path(uri: Uri) -> Self {
        Self::not_found(format!("there is nothing at {}", uri.path()))
    }

    pub(super) async fn wrong_verb(method: Method, uri: Uri) -> Self {
        let message = format!("{method} is not possible on {}", uri.path());
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_verb", message)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = Inner {
            code: self.code,
            message: &self.message,
        };
        (self.status, Json(Body { error })).into_response()
    }
}

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        let message = error.to_string();
        match error {
            OrderError::NotFound => Self::not_found(message),
            OrderError::BadState { .. } => Self::conflict(message),
            OrderError::Failed(failure) => failure.into(),
            _ => Self::failed(message),
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            FailureKind::NotFound => Self::not_found(failure.detail),
            _ => Self::failed(failure.detail),
        }
    }
}
