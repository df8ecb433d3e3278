//! Standard Webhooks signatures: `v1,<base64 of HMAC-SHA256 over id.timestamp.body>`.
//!
//! The specification: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
//! Secrets come from a file with one secret per line; while a secret is being changed the file holds both, and every
//! body is signed with each. Nothing here is printable.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

const PREFIX: &str = "whsec_";
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The keys of a secret file.
pub(super) struct Keys(Vec<hmac::Key>);

impl Keys {
    /// Reads a secret file.
    ///
    /// # Errors
    /// When it is missing, empty, or not what it claims to be. Never says what it holds.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let bytes = std::fs::metadata(path).map_err(|error| format!("cannot read {name}: {error}"))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(format!("{name} is too large for a secret"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        Self::parse(&text).map_err(|error| format!("{name} {error}"))
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let secrets = text.lines().filter(|line| !line.is_empty()).map(|line| match line.strip_prefix(PREFIX) {
            Some(code) => STANDARD.decode(code.trim_end()).map_err(|_| "holds a whsec_ secret that is no base64"),
            None => Ok(line.as_bytes().to_vec()),
        });
        let keys = secrets.map(|secret| secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, &secret)));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err("is empty".to_owned()) } else { Ok(Self(keys)) }
    }

    /// The value of `webhook-signature`: one signature per key, separated by spaces.
    pub(super) fn sign(&self, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{timestamp_seconds}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

/// A secret file that is read again for every attempt, so that a changed secret needs no restart. While it cannot be
/// read, the last good one serves.
pub(super) struct SecretFile {
    path: PathBuf,
    last_good: Mutex<Arc<Keys>>,
}

impl SecretFile {
    /// # Errors
    /// As [`Keys::read`].
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        Ok(Self { path: path.to_owned(), last_good: Mutex::new(Arc::new(Keys::read(path)?)) })
    }

    /// The keys as of now.
    pub(super) async fn keys(&self) -> Arc<Keys> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || Keys::read(&path)).await;
        let mut last_good = self.last_good.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(Ok(keys)) => *last_good = Arc::new(keys),
            Ok(Err(error)) => tracing::debug!(error, "the last good secret is used"),
            Err(error) => tracing::debug!(%error, "the last good secret is used"),
        }
        last_good.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_published_example() {
        let keys = Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a secret");
        let signature = keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_make_two_signatures_and_a_broken_one_is_refused() {
        let sign = |text: &str| Keys::parse(text).map(|keys| keys.sign("a", 1, b"{}"));
        let both = sign("old\r\nwhsec_bmV3\n").expect("two");
        assert_eq!(both, format!("{} {}", sign("old").expect("one"), sign("new\n").expect("one")));
        assert_eq!(sign("\n"), Err("is empty".to_owned()));
        assert!(sign("whsec_?").is_err());
    }
}
