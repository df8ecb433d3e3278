//! The doors, with the real runtime behind them: HTTP, gRPC and Kafka (librdkafka's mock cluster) in one process.

mod http_and_grpc;
mod kafka;
mod world;
