//! Known sets, such as the hosts of each rack, and shares of them.
//!
//! Owns the configuration and its compiled form: per key the members, as hashes of 64 bits (8 to 18 bytes each). At most
//! 1,000,000 members in all sets together; more is an error. A file that a set names is read by whoever reads the
//! configuration, which puts what it found into [`SetConfig::read`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::validate::{Problem, check_name};
use crate::identity::{Hasher, domain};

const SETS_MAX: usize = 1_000;
/// Members of all sets together.
pub const MEMBERS_MAX: usize = 1_000_000;

/// The members of each key.
pub type Members = BTreeMap<String, Vec<String>>;

/// One known set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetConfig {
    /// Unique name.
    pub name: String,
    /// The label whose values are the keys, such as `rack`; a rule that asks for a share groups by it.
    pub label: String,
    /// The members of each key, such as `r1: [h1, h2]`. Either this or `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Members>,
    /// A file with the members: `.csv` with lines `key,member`, or `.yaml` with a list of members for each key. Read
    /// again with every reload. At most 64 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What the file holds.
    #[serde(skip)]
    #[schemars(skip)]
    pub read: Option<Arc<Members>>,
}

/// A set, compiled.
#[derive(Debug)]
pub struct MemberSet {
    /// The label whose values are the keys.
    pub label: Arc<str>,
    /// Equal for sets that hold the same.
    pub hash: u64,
    members: HashMap<Box<str>, HashSet<u64>>,
}

impl MemberSet {
    fn compile(config: &SetConfig) -> Self {
        let mut hasher = Hasher::default();
        let nothing = Members::new();
        let given = config.read.as_deref().or(config.members.as_ref()).unwrap_or(&nothing);
        let mut sum = Hasher::default();
        sum.reset(domain::RULE).part(config.label.as_bytes());
        let mut members: HashMap<Box<str>, HashSet<u64>> = HashMap::new();
        for (key, names) in given {
            let mut items: Vec<u64> = names.iter().map(|name| Self::item(&mut hasher, name)).collect();
            items.sort_unstable();
            items.dedup();
            let bytes: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
            sum.part(key.as_bytes()).part(&bytes);
            members.insert(key.as_str().into(), items.into_iter().collect());
        }
        Self { label: config.label.as_str().into(), hash: sum.finish64(), members }
    }

    /// What stands for a value of a label: two that differ share it once in 2^64.
    pub fn item(hasher: &mut Hasher, value: &str) -> u64 {
        hasher.reset(domain::CONTENT).part(value.as_bytes()).finish64()
    }

    /// How many members a key has, `None` where it is not known.
    pub fn size(&self, key: &str) -> Option<usize> {
        self.members.get(key).map(HashSet::len)
    }

    /// Whether it is a member of the key.
    pub fn has(&self, key: &str, item: u64) -> bool {
        self.members.get(key).is_some_and(|members| members.contains(&item))
    }
}

/// A part of a whole, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct Share(u32);

const WHOLE: u32 = 1_000_000;

impl Share {
    /// 50%.
    pub const HALF: Share = Share(WHOLE / 2);
    /// 80%.
    pub const MOST: Share = Share(WHOLE / 10 * 8);

    /// Reads a percentage with up to four decimals.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("a share is a percentage over 0% to 100%, such as 30% or 12.5%, not \"{text}\"");
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || decimals.len() > 4 || !digits(whole) || !digits(decimals) {
            return Err(wrong());
        }
        let millionths = format!("{whole}{decimals:0<4}").parse().map_err(|_| wrong())?;
        if (1..=WHOLE).contains(&millionths) { Ok(Self(millionths)) } else { Err(wrong()) }
    }

    /// How many of so many, rounded up, at least one.
    pub fn of(self, size: usize) -> u32 {
        let members = (size as u64 * u64::from(self.0)).div_ceil(u64::from(WHOLE));
        u32::try_from(members).unwrap_or(u32::MAX).max(1)
    }

    /// So much of a time, to the microsecond below.
    pub fn of_time(self, whole: Duration) -> Duration {
        let micros = whole.as_micros() * u128::from(self.0) / u128::from(WHOLE);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// For the journal; never 0.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// The inverse; none where that is no share.
    pub fn from_millionths(millionths: u32) -> Option<Self> {
        (1..=WHOLE).contains(&millionths).then_some(Self(millionths))
    }

    /// Whether it is at least and at most so many percent.
    pub fn is_between_percents(self, min: u32, max: u32) -> bool {
        (min * 10_000..=max * 10_000).contains(&self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!(".{:04}", self.0 % 10_000);
        write!(f, "{}{}%", self.0 / 10_000, decimals.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}.{:04}%", self.0 / 10_000, self.0 % 10_000))
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// All sets, by name.
#[derive(Debug, Default)]
pub(super) struct Sets {
    named: BTreeMap<String, Arc<MemberSet>>,
}

impl Sets {
    pub(super) fn compile(configs: &[SetConfig]) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut sets = Sets::default();
        if configs.len() > SETS_MAX {
            problems.push(Problem::error("sets", format!("at most {SETS_MAX} sets, not {}", configs.len())));
            return (sets, problems);
        }
        let mut members = 0;
        for (place, config) in configs.iter().enumerate() {
            members += check(place, config, &mut problems);
            if sets.named.contains_key(&config.name) {
                let message = format!("another set is named \"{}\" already", config.name);
                problems.push(Problem::error(format!("sets[{place}].name"), message));
            }
            if members > MEMBERS_MAX {
                let message = format!("sets have at most {MEMBERS_MAX} members in all");
                problems.push(Problem::error(format!("sets[{place}]"), message));
                return (sets, problems);
            }
            sets.named.entry(config.name.clone()).or_insert_with(|| Arc::new(MemberSet::compile(config)));
        }
        (sets, problems)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<MemberSet>> {
        self.named.get(name)
    }

    pub(super) fn label_of(&self, name: &str) -> Option<&str> {
        self.named.get(name).map(|set| &*set.label)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.named.keys().map(String::as_str)
    }
}

/// Says what is wrong, and how many members there are.
fn check(place: usize, config: &SetConfig, problems: &mut Vec<Problem>) -> usize {
    let mut error = |field: &str, message: &str| {
        problems.push(Problem::error(format!("sets[{place}]{field}"), message));
    };
    if let Err(wrong) = check_name(&config.name) {
        error(".name", &wrong);
    }
    if config.label.is_empty() {
        error(".label", "a label's name is not empty");
    }
    if config.members.is_some() == config.file.is_some() {
        error("", "a set has either `members` or a `file`");
    }
    let given = config.read.as_deref().or(config.members.as_ref());
    given.map_or(0, |members| members.values().map(Vec::len).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(yaml: &str) -> (Sets, Vec<String>) {
        let configs: Vec<SetConfig> = serde_saphyr::from_str(yaml).expect(yaml);
        let (sets, problems) = Sets::compile(&configs);
        (sets, problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect())
    }

    #[test]
    fn a_share_is_rounded_up_to_whole_members() {
        for (share, size, need) in
            [("30%", 10, 3), ("30%", 11, 4), ("0.0001%", 5, 1), ("100%", 7, 7), ("12.5%", 16, 2), ("33.3%", 0, 1)]
        {
            assert_eq!(Share::parse(share).expect(share).of(size), need, "{share} of {size}");
        }
        for wrong in ["30", "0%", "101%", "-5%", "1.00001%", "%", "x%", "1e1%", "1000%", ".5%"] {
            assert!(Share::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_set_knows_its_members_once_each() {
        let (sets, problems) = compile("[{name: racks, label: rack, members: {r1: [h1, h2, h1], r2: []}}]");
        assert_eq!(problems, [""; 0]);
        let set = sets.named("racks").expect("a set");
        assert_eq!((set.size("r1"), set.size("r2"), set.size("r3")), (Some(2), Some(0), None));
        let mut hasher = Hasher::default();
        let items = ["h1", "h2", "h3"].map(|name| MemberSet::item(&mut hasher, name));
        assert_eq!(items.map(|item| set.has("r1", item)), [true, true, false]);
        assert!(!set.has("r2", items[0]));
    }

    #[test]
    fn the_hash_follows_what_a_set_holds_and_not_how_it_is_written() {
        let hash = |yaml| compile(yaml).0.named("a").expect("a set").hash;
        let one = hash("[{name: a, label: rack, members: {r1: [h1, h2]}}]");
        assert_eq!(one, hash("[{name: a, label: rack, members: {r1: [h2, h1, h1]}}]"));
        assert_ne!(one, hash("[{name: a, label: rack, members: {r1: [h1, h3]}}]"));
        assert_ne!(one, hash("[{name: a, label: row, members: {r1: [h1, h2]}}]"));
    }

    #[test]
    fn what_is_wrong_in_a_set_is_said() {
        let (_, problems) = compile(
            "[{name: A, label: '', members: {}}, {name: b, label: x}, {name: b, label: x, members: {}, file: a.csv}]",
        );
        assert_eq!(
            problems,
            [
                "sets[0].name: a name has up to 63 of a-z, 0-9 and -, not first -, so it cannot be \"A\"",
                "sets[0].label: a label's name is not empty",
                "sets[1]: a set has either `members` or a `file`",
                "sets[2]: a set has either `members` or a `file`",
                "sets[2].name: another set is named \"b\" already",
            ]
        );
        let many = SetConfig {
            name: "many".to_owned(),
            label: "rack".to_owned(),
            members: None,
            file: Some("hosts.csv".into()),
            read: Some(Arc::new(Members::from([("r1".to_owned(), vec![String::new(); MEMBERS_MAX + 1])]))),
        };
        let (_, problems) = Sets::compile(&[many]);
        assert_eq!(problems, [Problem::error("sets[0]", "sets have at most 1000000 members in all")]);
    }
}
