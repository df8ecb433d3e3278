//! incidentd turns a flood of monitoring events into the few incidents that matter, exactly and at once.
//!
//! ```text
//!  Kafka ─┐           ┌──── pure, stateless ────┐
//!  gRPC  ─┼─ ingest ─►│ formats ► normalise     │─► runtime::router ─► one task per shard
//!  HTTP  ─┘           └─────────────────────────┘      by scope         engine::Shard::apply(now, batch)
//!                                                                            │ decisions
//!  sinks ◄─ outbox ◄─ store.commit (one transaction per group of batches) ◄──┘
//!                        └──► then the source is acknowledged
//! ```
//!
//! The modules below are in reading order.

// The vocabulary.
pub mod event;
pub mod identity;
pub mod delivery;

// Bytes to events.
pub mod proto;
pub mod formats;
pub mod rules;
pub mod normalise;

// The decisions.
pub mod engine;

// What the routes promise.
pub mod openapi;

// Edges in.
pub mod ingest;

// Running it.
pub mod runtime;

// What survives.
pub mod store;

// Edges out.
pub mod outbox;
pub mod sinks;

// Operating it.
pub mod api;
pub mod cli;
pub mod app;
pub mod config;
pub mod metrics;
pub mod telemetry;
pub mod clock;
