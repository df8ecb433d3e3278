//! Generates the gRPC messages, client and server from `proto/` without a system `protoc`.

use prost::Message;
use tonic_build::manual;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = protox::compile(["incidentd/v1/events.proto"], ["proto"])?;
    std::fs::write(out.join("incidentd.descriptors"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().build_server(false).compile_well_known_types(false).compile_fds(descriptors)?;

    // The server takes the raw bytes of a request: events are read in place, not through owned messages.
    let method = |name: &str, route: &str| {
        manual::Method::builder()
            .name(name)
            .route_name(route)
            .input_type("bytes::Bytes")
            .output_type("bytes::Bytes")
            .codec_path("crate::ingest::RawCodec")
    };
    let service = manual::Service::builder()
        .name("EventService")
        .package("incidentd.v1")
        .method(method("push", "Push").build())
        .method(method("push_stream", "PushStream").client_streaming().server_streaming().build())
        .build();
    std::fs::create_dir_all(out.join("raw"))?;
    manual::Builder::new().build_client(false).out_dir(out.join("raw")).compile(&[service]);
    Ok(())
}
