//! The routes of the HTTP API and what they promise, registered together: [`Api`] gives the router and the OpenAPI 3.1
//! document, so that neither has what the other lacks.
//!
//! Owns how an operation is described ([`Operation`]), how the document is put together, and the one body of every
//! error ([`Problem`]). Knows no handler and nothing of what they work on. Schemas come from the types that are read and
//! written, by their `JsonSchema`.

mod document;
mod operation;
mod problem;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{delete, get, post};

pub use document::{Described, document, index};
pub use operation::Operation;
pub use problem::{Failure, PROBLEM_JSON, Problem};

/// Routes with their descriptions, over a state that comes later.
#[derive(Debug)]
pub struct Api<S> {
    router: Router<S>,
    described: Vec<Described>,
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// No routes yet.
    #[expect(clippy::new_without_default, reason = "an API without routes is a beginning, never a default")]
    pub fn new() -> Self {
        Self { router: Router::new(), described: Vec::new() }
    }

    /// Registers what answers GET (and HEAD).
    pub fn get<H, T>(self, path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.with("get", path, operation, |router| router.route(path, get(handler)))
    }

    /// Registers what answers POST.
    pub fn post<H, T>(self, path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.with("post", path, operation, |router| router.route(path, post(handler)))
    }

    /// Registers what answers DELETE.
    pub fn delete<H, T>(self, path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.with("delete", path, operation, |router| router.route(path, delete(handler)))
    }

    /// Takes the routes of another one in.
    pub fn merge(mut self, other: Api<S>) -> Self {
        self.described.extend(other.described);
        Self { router: self.router.merge(other.router), described: self.described }
    }

    /// What is described, in the order of registration.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// The router.
    pub fn into_router(self) -> Router<S> {
        self.router
    }

    fn with(
        mut self,
        method: &'static str,
        path: &'static str,
        operation: Operation,
        add: impl FnOnce(Router<S>) -> Router<S>,
    ) -> Self {
        self.described.push(Described { method, path, operation });
        Self { router: add(self.router), described: self.described }
    }
}
