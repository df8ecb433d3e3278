//! Generated code: the gRPC messages and client, the raw-bytes server, and the descriptors for reflection.

#![expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/incidentd/v1/events.proto, documented there"
)]

tonic::include_proto!("incidentd.v1");

/// The server side; its methods take and give the raw bytes of messages.
pub mod raw {
    include!(concat!(env!("OUT_DIR"), "/raw/incidentd.v1.EventService.rs"));
}

/// The encoded `FileDescriptorSet`, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incidentd.descriptors"));
