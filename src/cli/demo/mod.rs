//! (stub)
use super::Failure;
/// Demo.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {}
pub async fn demo(_: DemoArgs) -> Result<(), Failure> {
    Ok(())
}
