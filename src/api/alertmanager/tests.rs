//! The pure parts; the routes are held against a real Alertmanager in `tests/it/differential`.

use axum::body::to_bytes;
use serde_json::Value;

use super::*;

#[test]
fn an_instant_has_three_digits_of_milliseconds_cut_off() {
    let text = |micros: i64| serde_json::to_string(&Millis(Timestamp::from_micros(micros))).unwrap();
    assert_eq!(text(0), "\"1970-01-01T00:00:00.000Z\"");
    assert_eq!(text(1_800_000_000_123_999), "\"2027-01-15T08:00:00.123Z\"");
    assert_eq!(text(-1), "\"1969-12-31T23:59:59.999Z\"");
    assert!(text(i64::MAX).starts_with("\"9999-12-31"), "beyond what RFC 3339 can name");
}

#[tokio::test]
async fn an_error_is_a_message_or_an_object_with_a_code() {
    let body = async |fault: Fault| {
        let response = fault.into_response();
        assert_eq!(response.headers()["content-type"], "application/json");
        let bytes = to_bytes(response.into_body(), 1_000).await.unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    assert_eq!(body(Fault::bad("no \"good\"")).await, json!("no \"good\""));
    let invalid = body(Fault::invalid(code::REQUIRED, "comment in body is required")).await;
    assert_eq!(invalid, json!({"code": 602, "message": "comment in body is required"}));
    let kind = Fault::unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE, "?");
    assert_eq!(body(kind).await["code"], 415);
}

#[tokio::test(start_paused = true)]
async fn a_listing_beyond_the_room_waits_and_then_is_refused() {
    let listings = Listings::default();
    let mut held = Vec::new();
    for _ in 0..LISTINGS_MAX {
        held.push(listings.enter().await.unwrap());
    }
    assert_eq!(listings.enter().await.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
    held.pop();
    assert!(listings.enter().await.is_ok());
}
