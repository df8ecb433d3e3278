//! What went wrong with a gRPC call, as a status with details (`grpc-status-details-bin`, google.rpc.Status).
//!
//! A call that may be tried again as it is carries a `RetryInfo`; one that must be changed first carries none, so a
//! client can tell the two kinds of `RESOURCE_EXHAUSTED` apart. The code of a reject travels in an `ErrorInfo`.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tonic::Status;

use crate::event::{Code, Reject};
use crate::runtime::Refused;

/// google.rpc.Status.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// google.rpc.RetryInfo.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// google.rpc.ErrorInfo, without its metadata.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

/// A request of which nothing could be read, or that holds too many events. Sending it again as it is does not help.
pub fn unreadable(reject: &Reject) -> Status {
    let code = match reject.code {
        Code::TooLarge => tonic::Code::ResourceExhausted,
        _ => tonic::Code::InvalidArgument,
    };
    with_details(code, reject.to_string(), reject.code.as_str(), None)
}

/// A message larger than allowed.
pub fn too_large(bytes: usize, limit: usize) -> Status {
    let message = format!("the message has {bytes} bytes, more than {limit} (limits.body_bytes); send fewer events");
    with_details(tonic::Code::ResourceExhausted, message, Code::TooLarge.as_str(), None)
}

/// A request that was readable and not taken; try again.
pub fn refused(refused: &Refused) -> Status {
    let (code, reason, retry_after) = match refused {
        Refused::Overloaded { retry_after } => (tonic::Code::ResourceExhausted, "E_OVERLOADED", *retry_after),
        Refused::StoreDown => (tonic::Code::Unavailable, "E_STORE_DOWN", Duration::from_secs(5)),
        Refused::Stopping => (tonic::Code::Unavailable, "E_STOPPING", Duration::from_secs(1)),
    };
    with_details(code, refused.to_string(), reason, Some(retry_after))
}

fn with_details(code: tonic::Code, message: String, reason: &str, retry_after: Option<Duration>) -> Status {
    let info = ErrorInfo { reason: reason.to_owned(), domain: "incidentd".to_owned() };
    let mut details = vec![any("ErrorInfo", &info)];
    if let Some(after) = retry_after {
        let delay = prost_types::Duration { seconds: after.as_secs() as i64, nanos: after.subsec_nanos() as i32 };
        details.push(any("RetryInfo", &RetryInfo { retry_delay: Some(delay) }));
    }
    let status = RpcStatus { code: code as i32, message: message.clone(), details };
    Status::with_details(code, message, Bytes::from(status.encode_to_vec()))
}

fn any(name: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any { type_url: format!("type.googleapis.com/google.rpc.{name}"), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(status: &Status) -> Vec<String> {
        let decoded = RpcStatus::decode(status.details()).unwrap();
        assert_eq!(decoded.code, status.code() as i32);
        decoded.details.into_iter().map(|detail| detail.type_url).collect()
    }

    #[test]
    fn an_overload_tells_when_to_retry() {
        let status = refused(&Refused::Overloaded { retry_after: Duration::from_millis(1_500) });
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        let decoded = RpcStatus::decode(status.details()).unwrap();
        let retry = RetryInfo::decode(&*decoded.details[1].value).unwrap();
        assert_eq!(retry.retry_delay, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(decoded.details[1].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    }

    #[test]
    fn what_must_be_changed_first_has_no_retry_info() {
        let many = unreadable(&Reject::new(0, Code::TooLarge, "", "more than 10000 events in one request"));
        assert_eq!(many.code(), tonic::Code::ResourceExhausted);
        assert_eq!(details(&many), ["type.googleapis.com/google.rpc.ErrorInfo"]);
        assert_eq!(details(&too_large(11, 10)), ["type.googleapis.com/google.rpc.ErrorInfo"]);
        let garbage = unreadable(&Reject::new(0, Code::Schema, "/events", "field 1 has wire type 0"));
        assert_eq!(garbage.code(), tonic::Code::InvalidArgument);
        assert!(garbage.message().contains("wire type 0"));
    }
}
