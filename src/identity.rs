//! Who is who: the identities of alerts, scopes, events and incidents.
//!
//! All of them are functions of what happened, never of a clock or a random number, so redoing work after a crash
//! or in a replay gives the same names. The hash is XXH3 (128 bit) over length-prefixed parts, which is stable
//! across builds and machines; see <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The identity of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u128);

/// Which events may ever meet: the hash of the values of the scope labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope(pub u64);

/// A producer's id of a message, within its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey(pub u128);

/// The name of a problem: `PRB-` and thirteen characters of Crockford's base 32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, schemars::JsonSchema)]
#[schemars(with = "String", extend("pattern" = "^PRB-[0-9A-HJKMNP-TV-Z]{13}$"))]
pub struct ProblemId(pub u64);

impl EventKey {
    /// The producer gave no id.
    pub const NONE: EventKey = EventKey(0);
}

/// The name of an incident: `INC-` and thirteen characters of Crockford's base 32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, schemars::JsonSchema)]
#[schemars(with = "String", extend("pattern" = "^INC-[0-9A-HJKMNP-TV-Z]{13}$"))]
pub struct IncidentId(pub u64);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const INCIDENT_CODE_CHARS: usize = 13;
const INCIDENT_PREFIX: &str = "INC-";
const PROBLEM_PREFIX: &str = "PRB-";
const INCIDENT_NAME_BYTES: usize = INCIDENT_PREFIX.len() + INCIDENT_CODE_CHARS;

/// Collects length-prefixed parts and hashes them. Reusable, so that a fingerprint allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Hasher {
    parts: Vec<u8>,
}

impl Hasher {
    /// Forgets all parts; `domain` keeps identities of different kinds apart.
    pub fn reset(&mut self, domain: u8) -> &mut Self {
        self.parts.clear();
        self.parts.push(domain);
        self
    }

    /// Adds a part.
    pub fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.parts.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.parts.extend_from_slice(bytes);
        self
    }

    /// The 128-bit hash of the parts.
    pub fn finish128(&self) -> u128 {
        xxh3_128(&self.parts)
    }

    /// The 64-bit hash of the parts.
    pub fn finish64(&self) -> u64 {
        xxh3_64(&self.parts)
    }
}

/// Keeps identities of different kinds apart.
pub mod domain {
    /// A fingerprint over source and labels.
    pub const LABELS: u8 = 1;
    /// A fingerprint over source and `dedup_key`.
    pub const DEDUP_KEY: u8 = 2;
    /// An event's id within its source.
    pub const EVENT: u8 = 3;
    /// The scope labels.
    pub const SCOPE: u8 = 4;
    /// A rule's name and the values of its group key.
    pub const GROUP: u8 = 5;
    /// An incident.
    pub const INCIDENT: u8 = 6;
    /// What may change about an alert.
    pub const CONTENT: u8 = 7;
    /// A rule's definition.
    pub const RULE: u8 = 8;
    /// A problem: a signature, and the first incident that has it.
    pub const PROBLEM: u8 = 9;
    /// What an incident has in common with the same one at another time.
    pub const SIGNATURE: u8 = 10;
    /// The service catalogue.
    pub const CATALOGUE: u8 = 16;
    /// What a heartbeat expects: its name and the values of its labels.
    pub const HEARTBEAT: u8 = 20;
    /// A silence.
    pub const SILENCE: u8 = 20;
}

/// Alertmanager's fingerprint: FNV-1a (64 bit) over the sorted labels, each name and value followed by `0xff`.
///
/// Source: `github.com/prometheus/common`, `model/signature.go` (`labelSetToFingerprint`).
pub fn alertmanager_fingerprint<'a>(sorted_labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    const OFFSET: u64 = 14_695_981_039_346_656_037;
    const PRIME: u64 = 1_099_511_628_211;
    let add = |hash: u64, bytes: &[u8]| {
        bytes.iter().chain(&[0xff]).fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
    };
    sorted_labels.fold(OFFSET, |hash, (name, value)| add(add(hash, name.as_bytes()), value.as_bytes()))
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl IncidentId {
    /// The name as ASCII, for where so many are written that each must cost little.
    pub fn name(self) -> [u8; INCIDENT_NAME_BYTES] {
        let mut name = *b"INC-0000000000000";
        for (place, slot) in name[INCIDENT_PREFIX.len()..].iter_mut().rev().enumerate() {
            *slot = CROCKFORD[(self.0 >> (5 * place)) as usize & 31];
        }
        name
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.name()).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for IncidentId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value = text.strip_prefix(INCIDENT_PREFIX).and_then(decoded);
        value.map(IncidentId).ok_or_else(|| "an incident id is INC- and 13 letters and digits".to_owned())
    }
}

/// Reads the thirteen characters behind a prefix.
fn decoded(code: &str) -> Option<u64> {
    let mut value: u64 = 0;
    for byte in Some(code).filter(|code| code.len() == INCIDENT_CODE_CHARS)?.bytes() {
        let digit = CROCKFORD.iter().position(|c| *c == byte.to_ascii_uppercase())?;
        value = value.checked_mul(32)? | digit as u64;
    }
    Some(value)
}

impl fmt::Display for ProblemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = IncidentId(self.0).to_string();
        write!(f, "{PROBLEM_PREFIX}{}", &name[INCIDENT_PREFIX.len()..])
    }
}

impl fmt::Debug for ProblemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ProblemId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value = text.strip_prefix(PROBLEM_PREFIX).and_then(decoded);
        value.map(ProblemId).ok_or_else(|| "a problem id is PRB- and 13 letters and digits".to_owned())
    }
}

impl serde::Serialize for ProblemId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl serde::Serialize for IncidentId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_id_reads_back() {
        for id in [0, 1, 31, 32, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(IncidentId(id).to_string().parse(), Ok(IncidentId(id)));
        }
        assert!("INC-ZZZZZZZZZZZZZ".parse::<IncidentId>().is_err(), "more than 64 bits");
        assert!("INC-1".parse::<IncidentId>().is_err());
    }

    #[test]
    fn a_problem_id_reads_back_and_is_no_incident_id() {
        let id = ProblemId(0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().parse::<IncidentId>().is_err());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let hash = |a: &[u8], b: &[u8]| Hasher::default().reset(1).part(a).part(b).finish128();
        assert_ne!(hash(b"ab", b"c"), hash(b"a", b"bc"));
    }

    #[test]
    fn the_alertmanager_fingerprint_is_the_published_one() {
        // The empty label set's fingerprint in prometheus/common is the FNV offset basis.
        assert_eq!(alertmanager_fingerprint(std::iter::empty()), 0xcbf2_9ce4_8422_2325);
    }
}
