//! A YAML file as a tree that remembers where everything stands.
//!
//! Reads the one document of a file, replaces `${NAME}` in its values and finds what is wrong in the syntax:
//! duplicate keys, anchors and tags (refused, so that no file can unfold into a larger one), a second document.
//! Bounded: nesting of 32, a million values, a thousand keys in a mapping; a file is at most 10 MiB.

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::diagnostic::Place;
use super::environment::{self, Lookup};

const DEPTH_MAX: usize = 32;
const NODES_MAX: usize = 1_000_000;
/// Keys are compared one with each, which a thousand of them still bear.
const KEYS_MAX: usize = 1_000;

/// An index into [`Document::nodes`].
pub(super) type NodeId = usize;

/// One value.
#[derive(Debug)]
pub(super) struct Node {
    pub place: Place,
    pub content: Content,
    /// Replaced, at least in part, from the environment.
    pub from_environment: bool,
}

#[derive(Debug)]
pub(super) enum Content {
    Scalar { text: String, plain: bool },
    List(Vec<NodeId>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: NodeId,
}

/// Something wrong at a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub place: Place,
    pub message: String,
}

/// See the module. The last node is the root.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub nodes: Vec<Node>,
    /// Faults that do not keep the rest from being read.
    pub faults: Vec<Fault>,
    /// Nodes that are left out when the document is read: faults were found in them.
    pub skipped: Vec<bool>,
    /// What came from the environment, by name.
    pub used: Vec<(String, String)>,
}

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// The first fault that keeps the text from being read as a tree.
    pub fn parse(text: &str, lookup: Lookup<'_>) -> Result<Self, Fault> {
        let mut builder = Builder { document: Document::default(), open: Vec::new(), documents: 0, lookup };
        for next in Parser::new_from_str(text) {
            let (event, span) = next.map_err(|error| scan_fault(&error, text))?;
            builder.event(event, span)?;
        }
        let mut document = builder.document;
        if document.nodes.is_empty() {
            let message = "the file is empty; without --config the daemon runs on its defaults";
            return Err(Fault { place: Place::START, message: message.to_owned() });
        }
        document.skipped.resize(document.nodes.len(), false);
        Ok(document)
    }

    pub fn root(&self) -> NodeId {
        self.nodes.len() - 1
    }

    /// The entries of a map that are not skipped.
    pub fn entries(&self, id: NodeId) -> impl Iterator<Item = &Entry> {
        let entries: &[Entry] = if let Content::Map(entries) = &self.nodes[id].content { entries } else { &[] };
        entries.iter().filter(|entry| !self.skipped[entry.value])
    }

    /// The items of a list that are not skipped.
    pub fn items(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let items: &[NodeId] = if let Content::List(items) = &self.nodes[id].content { items } else { &[] };
        items.iter().copied().filter(|item| !self.skipped[*item])
    }

    /// The text of a scalar.
    pub fn text(&self, id: NodeId) -> Option<&str> {
        match &self.nodes[id].content {
            Content::Scalar { text, .. } => Some(text),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// Whether a value is there but says nothing: `key:`, `key: ~`, `key: null`.
    pub fn is_null(&self, id: NodeId) -> bool {
        matches!(&self.nodes[id].content, Content::Scalar { text, plain: true } if matches!(&**text, "" | "~" | "null"))
    }

    /// Whether something in a value was left out.
    pub fn has_gap(&self, id: NodeId) -> bool {
        match &self.nodes[id].content {
            _ if self.skipped[id] => true,
            Content::Scalar { .. } => false,
            Content::List(items) => items.iter().any(|item| self.has_gap(*item)),
            Content::Map(entries) => entries.iter().any(|entry| self.has_gap(entry.value)),
        }
    }

    /// All places that a pattern such as `sources.kafka[].format` leads to: the place of the key, and the value.
    pub fn find(&self, pattern: &str) -> Vec<(Place, NodeId)> {
        let mut found = vec![(Place::START, self.root())];
        for part in pattern.split('.') {
            let key = part.trim_end_matches("[]");
            let keyed = found.iter().flat_map(|(_, id)| self.entries(*id)).filter(|entry| entry.key == key);
            found = keyed.map(|entry| (entry.place, entry.value)).collect();
            if part.ends_with("[]") {
                let items = found.iter().flat_map(|(_, id)| self.items(*id));
                found = items.map(|item| (self.nodes[item].place, item)).collect();
            }
        }
        found
    }

    /// Where a path such as `rules[2].match[0]` leads, or as far as the document goes along it: a single value is
    /// pointed at itself, a collection at its key. Skipped nodes do not count, as in what was read.
    pub fn locate(&self, path: &str) -> (Place, NodeId) {
        let mut at = (self.nodes[self.root()].place, self.root());
        for step in steps(path) {
            let next = match step {
                Step::Key(key) => self.entries(at.1).find(|entry| entry.key == key).map(|entry| {
                    let collection = self.text(entry.value).is_none();
                    (if collection { entry.place } else { self.nodes[entry.value].place }, entry.value)
                }),
                Step::Item(index) => self.items(at.1).nth(index).map(|item| (self.nodes[item].place, item)),
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }
}

enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

/// The steps of a path. A key with dots in it is written `["a.b"]`.
fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some((key, after)) = rest.strip_prefix("[\"").and_then(|rest| rest.split_once("\"]")) {
            steps.push(Step::Key(key));
            rest = after;
        } else if let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            steps.push(Step::Item(index.parse().unwrap_or(usize::MAX)));
            rest = after;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(Step::Key(&rest[..end]));
            rest = &rest[end..];
        }
    }
    steps
}

/// A collection that is not closed yet.
struct Open {
    place: Place,
    content: Content,
    /// In a map: the key whose value comes next.
    key: Option<(String, Place)>,
}

struct Builder<'a> {
    document: Document,
    open: Vec<Open>,
    documents: usize,
    lookup: Lookup<'a>,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let place = place(span.start);
        let refuse = |what: &str| Err(Fault { place, message: what.to_owned() });
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return refuse("a second document; a configuration is one document");
                }
            }
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _)
                if anchor != 0 =>
            {
                return refuse("anchors are not supported; write the value out");
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => {
                let place = span.tag_start.map_or(place, self::place);
                return Err(Fault { place, message: "tags are not supported; write the value without one".to_owned() });
            }
            Event::Alias(_) => return refuse("aliases are not supported; write the value out"),
            Event::Scalar(text, style, ..) => return self.scalar(text.into_owned(), style, place),
            Event::SequenceStart(..) => return self.start(Content::List(Vec::new()), place),
            Event::MappingStart(..) => return self.start(Content::Map(Vec::new()), place),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { place, content, .. }) = self.open.pop() {
                    return self.value(Node { place, content, from_environment: false });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, content: Content, place: Place) -> Result<(), Fault> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Fault { place, message: format!("nested deeper than {DEPTH_MAX}") });
        }
        if let Some(Open { content: Content::Map(_), key: None, .. }) = self.open.last() {
            return Err(Fault { place, message: "a key is a single word, not a list or a mapping".to_owned() });
        }
        self.open.push(Open { place, content, key: None });
        Ok(())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, place: Place) -> Result<(), Fault> {
        if let Some(Open { content: Content::Map(entries), key: key @ None, .. }) = self.open.last_mut() {
            if entries.len() >= KEYS_MAX {
                return Err(Fault { place, message: format!("more than {KEYS_MAX} keys in one mapping") });
            }
            if let Some(first) = entries.iter().find(|entry| entry.key == text) {
                let message = format!("duplicate key `{text}`, first on line {}", first.place.line);
                self.document.faults.push(Fault { place, message });
            }
            *key = Some((text, place));
            return Ok(());
        }
        let used = self.document.used.len();
        let (text, failed) = match environment::expand(&text, self.lookup, &mut self.document.used) {
            Ok(text) => (text, false),
            Err(message) => {
                self.document.faults.push(Fault { place, message });
                (String::new(), true)
            }
        };
        let plain = style == ScalarStyle::Plain;
        let from_environment = self.document.used.len() > used;
        self.value(Node { place, content: Content::Scalar { text, plain }, from_environment })?;
        if failed {
            self.document.skipped.resize(self.document.nodes.len(), false);
            self.document.skipped[self.document.nodes.len() - 1] = true;
        }
        Ok(())
    }

    /// Hands a complete value to the collection that it belongs to.
    fn value(&mut self, node: Node) -> Result<(), Fault> {
        if self.document.nodes.len() >= NODES_MAX {
            return Err(Fault { place: node.place, message: format!("more than {NODES_MAX} values") });
        }
        let id = self.document.nodes.len();
        self.document.nodes.push(node);
        match self.open.last_mut() {
            Some(Open { content: Content::List(items), .. }) => items.push(id),
            Some(Open { content: Content::Map(entries), key, .. }) => {
                let (key, place) = key.take().expect("a key comes before its value");
                if !entries.iter().any(|entry| entry.key == key) {
                    entries.push(Entry { key, place, value: id });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn place(marker: Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

/// A tab is named where it is the likely reason: in front of what could not be read.
fn scan_fault(error: &ScanError, text: &str) -> Fault {
    let place = place(*error.marker());
    let before = text.lines().take(place.line).enumerate().skip(place.line.saturating_sub(2));
    for (index, line) in before {
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some(column) = indent.chars().position(|char| char == '\t') {
            let place = Place { line: index + 1, column: column + 1 };
            return Fault { place, message: "a tab cannot indent in YAML; use spaces".to_owned() };
        }
    }
    Fault { place, message: error.info() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document, Fault> {
        Document::parse(text, &|_| None)
    }

    #[test]
    fn a_path_leads_to_its_place_or_as_far_as_the_document_goes() {
        let text = "a: 1\nrules:\n  - name: x\n    match: [\"b=c\", 'd=e']\n  - client: { \"f.g\": h }\n";
        let document = parse(text).expect("valid");
        for (path, line, column) in [
            ("a", 1, 4),
            ("rules", 2, 1),
            ("rules[0]", 3, 5),
            ("rules[0].name", 3, 11),
            ("rules[0].match[1]", 4, 20),
            ("rules[0].window", 3, 5),
            ("rules[1].client[\"f.g\"]", 5, 22),
            ("rules[7].name", 2, 1),
            ("b.c", 1, 1),
        ] {
            assert_eq!(document.locate(path).0, Place { line, column }, "{path}");
        }
    }

    #[test]
    fn nothing_unfolds_and_nothing_nests_without_end() {
        for (text, message) in [
            ("a: &b [1]\nc: *b", "anchors are not supported"),
            ("a: !!str 1", "tags are not supported"),
            ("a: 1\n---\nb: 2", "a second document"),
            ("? [a]\n: b", "a key is a single word"),
            (&format!("{}{}", "[".repeat(33), "]".repeat(33)), "nested deeper than 32"),
            (&"[".repeat(100_000), "limit"),
            (&"a:\n".repeat(3), ""),
            ("# nothing\n", "the file is empty"),
        ] {
            let message_found = parse(text).map_or_else(|fault| fault.message, |_| String::new());
            assert!(message_found.contains(message), "{text:.20}: {message_found}");
        }
    }
}
