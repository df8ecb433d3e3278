//! The services that an incident concerns: which they are, how many, how many use them, and which is the gravest.
//!
//! What is concerned stays concerned: services are added, never taken off, in whichever order they come. At most
//! [`SERVICES_MAX`] different ones are counted, 16 bytes each, and the first [`NAMES_MAX`] by name are kept; what comes
//! beyond that is not counted any more.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::engine::journal::{Fault, Reader, Writer, read_maybe_text, write_maybe_text};
use crate::rules::Level;

/// Different services that are counted.
pub(super) const SERVICES_MAX: usize = 1_000;
/// Those of them that are named.
const NAMES_MAX: usize = 100;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Concerned {
    /// Hashes of the names, ascending, and how many use each.
    seen: SmallVec<[(u64, u32); 1]>,
    /// Ascending.
    names: SmallVec<[Arc<str>; 1]>,
    users: u64,
    gravest: Option<Gravest>,
    /// What the environments of its alerts allow at most.
    ceiling: Level,
}

/// The service that hurts most.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gravest {
    /// Its impact where it is, which its environment may keep down.
    pub(super) impact: Level,
    /// Whether it is the incident's own: of equally grave ones that one is named.
    own: bool,
    pub(super) service: Option<Arc<str>>,
    /// Its impact by the catalogue.
    pub(super) said: Option<Level>,
    pub(super) users: Option<u32>,
}

/// What one alert concerns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sign<'a> {
    /// The service and the hash of its name.
    pub(super) service: Option<(&'a str, u64)>,
    /// The same, where it is the incident's own.
    pub(super) own: Option<&'a Arc<str>>,
    pub(super) said: Option<Level>,
    pub(super) users: Option<u32>,
    /// What its environment allows at most.
    pub(super) ceiling: Level,
}

impl Default for Concerned {
    fn default() -> Self {
        Self { seen: SmallVec::new(), names: SmallVec::new(), users: 0, gravest: None, ceiling: Level::Low }
    }
}

impl Gravest {
    /// Which of two is graver does not depend on which came first.
    fn rank(&self) -> (Level, bool, Option<&str>) {
        (self.impact, !self.own, self.service.as_deref())
    }
}

impl Concerned {
    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        if self.names.len() <= 1 {
            // Inline, and a text that is the incident's as well.
            return 0;
        }
        let names: usize = self.names.iter().map(|name| name.len() + 2 * size_of::<usize>()).sum();
        self.seen.capacity() * size_of::<(u64, u32)>() + self.names.capacity() * size_of::<Arc<str>>() + names
    }

    /// Different services, at most [`SERVICES_MAX`].
    pub(super) fn count(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn users(&self) -> u64 {
        self.users
    }

    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    pub(super) fn gravest(&self) -> Option<&Gravest> {
        self.gravest.as_ref()
    }

    pub(super) fn ceiling(&self) -> Level {
        self.ceiling
    }

    /// An alert is linked. Says whether that is news.
    pub(super) fn add(&mut self, sign: &Sign<'_>) -> bool {
        let text = |name: &str| sign.own.cloned().unwrap_or_else(|| name.into());
        let new = sign.service.is_some_and(|(name, hash)| self.insert(hash, sign.users, || text(name)));
        let impact = sign.said.unwrap_or_default().max(sign.ceiling);
        let (name, own) = (sign.service.map(|(name, _)| name), sign.own.is_some());
        let graver = self.gravest.as_ref().is_none_or(|gravest| (impact, !own, name) < gravest.rank());
        if graver {
            let (said, users) = (sign.said, sign.users);
            self.gravest = Some(Gravest { impact, own, service: name.map(text), said, users });
        }
        let freer = sign.ceiling < self.ceiling;
        self.ceiling = self.ceiling.min(sign.ceiling);
        new || graver || freer
    }

    /// What another incident concerns, this one does as well. Says whether that is news.
    pub(super) fn absorb(&mut self, other: &Concerned) -> bool {
        let mut news = false;
        for (hash, users) in &other.seen {
            news |= self.note(*hash, *users);
        }
        for name in &other.names {
            news |= self.name(name.clone());
        }
        let gravest = other.gravest.clone().map(|gravest| Gravest { own: false, ..gravest });
        if let Some(gravest) = gravest
            && self.gravest.as_ref().is_none_or(|known| gravest.rank() < known.rank())
        {
            self.gravest = Some(gravest);
            news = true;
        }
        let freer = other.ceiling < self.ceiling;
        self.ceiling = self.ceiling.min(other.ceiling);
        news || freer
    }

    fn insert(&mut self, hash: u64, users: Option<u32>, name: impl FnOnce() -> Arc<str>) -> bool {
        let new = self.note(hash, users.unwrap_or(0));
        if new {
            self.name(name());
        }
        new
    }

    fn note(&mut self, hash: u64, users: u32) -> bool {
        let Err(place) = self.seen.binary_search_by_key(&hash, |(hash, _)| *hash) else { return false };
        if self.seen.len() >= SERVICES_MAX {
            return false;
        }
        self.seen.insert(place, (hash, users));
        self.users += u64::from(users);
        true
    }

    fn name(&mut self, name: Arc<str>) -> bool {
        let Err(place) = self.names.binary_search(&name) else { return false };
        self.names.insert(place, name);
        self.names.truncate(NAMES_MAX);
        place < NAMES_MAX
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.number(self.seen.len() as u64);
        for (hash, users) in &self.seen {
            writer.fixed(*hash);
            writer.number(u64::from(*users));
        }
        writer.number(self.names.len() as u64);
        self.names.iter().for_each(|name| writer.text(name));
        writer.byte(self.ceiling as u8);
        writer.byte(u8::from(self.gravest.is_some()));
        if let Some(Gravest { impact, own, service, said, users }) = &self.gravest {
            writer.byte(*impact as u8);
            writer.byte(u8::from(*own));
            write_maybe_text(writer, service.as_deref());
            writer.byte(said.map_or(u8::MAX, |said| said as u8));
            writer.number(users.map_or(0, |users| u64::from(users) + 1));
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let seen = reader.count()?;
        let seen: SmallVec<[(u64, u32); 1]> =
            (0..seen).map(|_| Ok((reader.fixed()?, reader.small()?))).collect::<Result<_, Fault>>()?;
        let names = reader.count()?;
        let names = (0..names).map(|_| Ok(Arc::from(reader.text()?))).collect::<Result<_, Fault>>()?;
        let ceiling = read_level(reader)?;
        let gravest = if reader.flag()? {
            let (impact, own) = (read_level(reader)?, reader.flag()?);
            let service = read_maybe_text(reader)?.map(Arc::from);
            let said = Level::from_byte(reader.byte()?);
            let users = reader.number()?.checked_sub(1).and_then(|users| u32::try_from(users).ok());
            Some(Gravest { impact, own, service, said, users })
        } else {
            None
        };
        let users = seen.iter().map(|(_, users)| u64::from(*users)).sum();
        Ok(Self { seen, names, users, gravest, ceiling })
    }
}

pub(super) fn read_level(reader: &mut Reader<'_>) -> Result<Level, Fault> {
    Level::from_byte(reader.byte()?).ok_or_else(|| reader.fault("unknown level"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(name: &str, said: Level, users: u32, ceiling: Level) -> Sign<'_> {
        let hash = name.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Sign { service: Some((name, hash)), own: None, said: Some(said), users: Some(users), ceiling }
    }

    #[test]
    fn the_order_in_which_services_come_does_not_matter() {
        use Level::{High, Low, Medium};
        let signs = [
            sign("c", High, 7, Low),
            sign("a", Medium, 5, High),
            sign("b", Medium, 3, High),
            sign("a", Medium, 5, High),
        ];
        let (mut one, mut other) = (Concerned::default(), Concerned::default());
        assert!(signs.iter().filter(|sign| one.add(sign)).count() >= 3);
        assert!(signs.iter().rev().filter(|sign| other.add(sign)).count() >= 3);
        assert_eq!(one, other);
        assert_eq!((one.count(), one.users(), one.ceiling()), (3, 15, High));
        let gravest = one.gravest().expect("the gravest");
        assert_eq!(
            (gravest.impact, gravest.service.as_deref()),
            (Medium, Some("a")),
            "c is kept down by its environment"
        );
        assert!(!one.absorb(&other), "nothing new");
    }

    #[test]
    fn a_hundred_are_named_and_a_thousand_counted() {
        let names: Vec<String> = (0..1_200).rev().map(|number| format!("svc-{number:04}")).collect();
        let mut concerned = Concerned::default();
        let news = names.iter().filter(|name| concerned.add(&sign(name, Level::Low, 1, Level::High))).count();
        assert!(news >= SERVICES_MAX);
        assert_eq!((concerned.count(), concerned.users(), concerned.names().len()), (1_000, 1_000, 100));
        let mut writer = Writer::default();
        concerned.write(&mut writer);
        assert_eq!(Concerned::read(&mut Reader::new(&writer.bytes)), Ok(concerned.clone()));
        let mut other = Concerned::default();
        assert!(other.absorb(&concerned) && !other.absorb(&concerned));
        assert_eq!(other, concerned);
    }
}
