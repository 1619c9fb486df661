//! Routes that remember what they are.

use super::{Admin, ApiError};
use axum::Router;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

/// One verb on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// In lower case, as OpenAPI writes it.
    pub verb: &'static str,
    /// With its parameters in braces.
    pub path: &'static str,
}

/// The routes of a subject.
#[derive(Debug, Default)]
pub struct Routes {
    router: Router<Admin>,
    endpoints: Vec<Endpoint>,
}

impl Routes {
    /// `GET path`
    #[must_use]
    pub fn get<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Admin>,
        T: 'static,
    {
        self.add("get", path, routing::get(handler))
    }

    /// `POST path`
    #[must_use]
    pub fn post<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Admin>,
        T: 'static,
    {
        self.add("post", path, routing::post(handler))
    }

    /// `PUT path`
    #[must_use]
    pub fn put<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Admin>,
        T: 'static,
    {
        self.add("put", path, routing::put(handler))
    }

    /// `DELETE path`
    #[must_use]
    pub fn delete<H, T>(self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Admin>,
        T: 'static,
    {
        self.add("delete", path, routing::delete(handler))
    }

    fn add(mut self, verb: &'static str, path: &'static str, handler: MethodRouter<Admin>) -> Self {
        self.router = self.router.route(path, handler);
        self.endpoints.push(Endpoint { verb, path });
        self
    }

    /// These and others.
    #[must_use]
    pub fn merge(mut self, others: Self) -> Self {
        self.router = self.router.merge(others.router);
        self.endpoints.extend(others.endpoints);
        self
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    pub(super) fn into_router(self) -> Router<Admin> {
        self.router
            .method_not_allowed_fallback(ApiError::wrong_verb)
    }
}
