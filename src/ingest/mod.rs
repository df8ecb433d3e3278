//! (being written)
/// Placeholder.
pub type RawCodec = tonic_prost::ProstCodec<Vec<u8>, Vec<u8>>;
