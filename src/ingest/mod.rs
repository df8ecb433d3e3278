//! Edges in: the doors through which events come.
//!
//! Each door reads bytes within bounds and hands them to the one [`Intake`]; a transport names a format, it never
//! is one. Nothing is acknowledged before its effects are durable; when there is no room a door waits a little and
//! then refuses (HTTP, gRPC) or stops reading (streams, Kafka). No door queues beyond what is written in its file.

mod body;
mod codec;
pub mod grpc;
pub mod http;
mod intake;
pub mod kafka;
mod memos;
mod problem;
mod promise;
mod response;
mod sampler;
mod status;

use std::sync::Arc;

pub use codec::RawCodec;
pub use intake::{Intake, Origin, Settings, Submitted, Taken};
pub use memos::Memos;
pub use problem::Problem;
pub use response::{Answer, Fate};

/// A request extension: the source of events that name none, known from the token that the request came with.
#[derive(Clone, Debug)]
pub struct KnownSource(pub Arc<str>);
