//! Reads the source tree: files, tokens, paths, functions, and which code is test code.
//!
//! A lexer rather than a parser: the rules look at words in order, and neither comments nor the
//! insides of literals may count as words. It never fails; what is no Rust is for the compiler.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

pub struct Tree {
    pub files: Vec<File>,
}

pub struct File {
    /// Relative to the root, with forward slashes.
    pub path: String,
    pub text: String,
    /// Empty unless the file is Rust.
    pub tokens: Vec<Token>,
}

pub struct Token {
    /// A word, `::`, one punctuation mark, or the inside of a literal.
    pub text: String,
    pub line: usize,
    pub literal: bool,
    /// Inside `#[cfg(test)]`, or in a file that only tests see.
    pub test: bool,
}

/// A path such as `a::b::c`; a group `a::{b, c}` gives one for each branch.
pub struct CodePath<'a> {
    pub segments: Vec<&'a str>,
    /// The index of the token that the path, or its branch, starts with.
    pub at: usize,
}

pub struct Function<'a> {
    pub name: &'a str,
    pub line: usize,
    /// From the line of `fn` to the closing brace, both counted.
    pub lines: usize,
    pub test: bool,
}

impl Tree {
    /// Everything below `root` that is text and that `.gitignore` does not name.
    pub fn read(root: &Path) -> Tree {
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let mut files = Vec::new();
        collect(root, "", &ignored, &mut files);
        Tree::of(files)
    }

    pub fn of(files: impl IntoIterator<Item = (String, String)>) -> Tree {
        let mut files: Vec<File> = files.into_iter().map(File::new).collect();
        let test_modules: Vec<String> = files.iter_mut().flat_map(File::mark_tests).collect();
        for file in &mut files {
            let stem = file.path.trim_end_matches(".rs").trim_end_matches("/mod");
            let in_module = |module: &String| {
                stem.strip_prefix(module.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if stem.starts_with("tests/") || test_modules.iter().any(in_module) {
                file.tokens.iter_mut().for_each(|token| token.test = true);
            }
        }
        Tree { files }
    }

    /// The Rust files below a folder that is given with its slash.
    pub fn rust<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.is_rust() && file.path.starts_with(folder))
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn collect(folder: &Path, prefix: &str, ignored: &str, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry of a folder that was just listed"))
        .collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().expect("the type of a listed entry");
        if path == ".git" || is_ignored(&path, ignored) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), ignored, files);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push((path, text));
        }
    }
}

/// The forms of `.gitignore` in use here: `/path`, `*.suffix` and `name`.
fn is_ignored(path: &str, ignored: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    ignored.lines().map(|line| line.trim().trim_end_matches('/')).any(|pattern| {
        if let Some(rooted) = pattern.strip_prefix('/') {
            path == rooted
        } else if let Some(suffix) = pattern.strip_prefix('*') {
            !suffix.is_empty() && name.ends_with(suffix)
        } else {
            name == pattern
        }
    })
}

impl File {
    fn new((path, text): (String, String)) -> File {
        let tokens = if path.ends_with(".rs") { lex(&text) } else { Vec::new() };
        File { path, text, tokens }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The module path below `src/`; the crate's root has none.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
    }

    /// A finding, in the form that editors jump to.
    pub fn at(&self, line: usize, finding: impl AsRef<str>) -> String {
        format!("{}:{line}: {}", self.path, finding.as_ref())
    }

    pub fn is(&self, index: usize, text: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| !token.literal && token.text == text)
    }

    pub fn is_any(&self, index: usize, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.is(index, text))
    }

    fn is_word(&self, index: usize) -> bool {
        let first = self.tokens.get(index).filter(|token| !token.literal).map(|token| token.text.as_bytes()[0]);
        first.is_some_and(is_word)
    }

    /// Where this sequence of tokens starts.
    pub fn find<'a>(&'a self, sequence: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        (0..self.tokens.len())
            .filter(move |&start| sequence.iter().enumerate().all(|(i, text)| self.is(start + i, text)))
    }

    /// The bracket that closes the one at `open`.
    pub fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for index in open..self.tokens.len() {
            if self.is_any(index, &["(", "[", "{"]) {
                depth += 1;
            } else if self.is_any(index, &[")", "]", "}"]) {
                depth -= 1;
                if depth == 0 {
                    return index;
                }
            }
        }
        self.tokens.len().saturating_sub(1)
    }

    /// The innermost bracket that is open at `index`.
    pub fn opening(&self, index: usize) -> Option<usize> {
        let mut depth = 0;
        (0..index).rev().find(|&i| {
            depth += i32::from(self.is_any(i, &[")", "]", "}"]));
            let opens = self.is_any(i, &["(", "[", "{"]);
            depth -= i32::from(opens);
            opens && depth < 0
        })
    }

    /// Where an item's body opens, or the semicolon that stands in its place.
    fn body(&self, item: usize) -> usize {
        let mut index = item;
        while index < self.tokens.len() && !self.is_any(index, &["{", ";", "}", ")"]) {
            index = if self.is_any(index, &["(", "["]) { self.closing(index) + 1 } else { index + 1 };
        }
        index
    }

    /// The token ranges of attributes, from `#` to `]`.
    pub fn attributes(&self) -> impl Iterator<Item = RangeInclusive<usize>> {
        (0..self.tokens.len()).filter(|&at| self.is(at, "#")).filter_map(|at| {
            let open = if self.is(at + 1, "!") { at + 2 } else { at + 1 };
            self.is(open, "[").then(|| at..=self.closing(open))
        })
    }

    /// Marks what is compiled for tests only; returns the modules in other files that are, too.
    fn mark_tests(&mut self) -> Vec<String> {
        let mut modules = Vec::new();
        let mut ranges = Vec::new();
        for attribute in self.attributes().filter(|range| self.is_cfg_test(range)) {
            let (start, end) = attribute.into_inner();
            if self.is(start + 1, "!") {
                ranges.push(0..=self.tokens.len() - 1);
                continue;
            }
            let body = self.body(self.after_attributes(end + 1));
            if self.is(body, "{") {
                ranges.push(start..=self.closing(body));
            } else if self.is(body, ";") && self.is(body - 2, "mod") {
                let folder = ["src"].into_iter().chain(self.module()).collect::<Vec<_>>().join("/");
                modules.push(format!("{folder}/{}", self.tokens[body - 1].text));
            } else {
                ranges.push(start..=body.min(self.tokens.len() - 1));
            }
        }
        for index in ranges.into_iter().flatten() {
            self.tokens[index].test = true;
        }
        modules
    }

    fn is_cfg_test(&self, attribute: &RangeInclusive<usize>) -> bool {
        let is_test = |i: usize| self.is(i, "test") && !(self.is(i - 2, "not") && self.is(i - 1, "("));
        attribute.clone().any(|i| self.is(i, "cfg")) && attribute.clone().any(is_test)
    }

    fn after_attributes(&self, mut index: usize) -> usize {
        while self.is(index, "#") && self.is(index + 1, "[") {
            index = self.closing(index + 1) + 1;
        }
        index
    }

    pub fn paths(&self) -> Vec<CodePath<'_>> {
        let mut found = Vec::new();
        let mut index = 0;
        while index < self.tokens.len() {
            let continues =
                index >= 2 && self.is(index - 1, "::") && (self.is_word(index - 2) || self.is(index - 2, ">"));
            let starts = self.is_word(index) && self.is(index + 1, "::") && !continues;
            index = if starts { self.path(index, &[], &mut found) } else { index + 1 };
        }
        found
    }

    /// Reads the path at `at` with all its branches; returns the index after it.
    fn path<'a>(&'a self, at: usize, prefix: &[&'a str], found: &mut Vec<CodePath<'a>>) -> usize {
        let mut segments = prefix.to_vec();
        let mut index = at;
        loop {
            if self.is(index, "{") {
                let close = self.closing(index);
                index += 1;
                while index < close {
                    let separates = self.is(index, ",");
                    index = if separates { index + 1 } else { self.path(index, &segments, found) };
                }
                return close + 1;
            }
            segments.push(&self.tokens[index].text);
            index += 1;
            let goes_on = self.is(index, "::") && (self.is_word(index + 1) || self.is_any(index + 1, &["{", "*"]));
            if !goes_on {
                break;
            }
            index += 1;
        }
        let renames = !prefix.is_empty() && self.is(index, "as");
        found.push(CodePath { segments, at });
        if renames { index + 2 } else { index }
    }

    /// How many modules the token is inside of, counted from the crate's root.
    pub fn module_depth(&self, index: usize) -> usize {
        let holds = |at: &usize| self.is(at + 2, "{") && (at + 2..self.closing(at + 2)).contains(&index);
        self.module().len() + self.find(&["mod"]).filter(holds).count()
    }

    /// Every function that has a body.
    pub fn functions(&self) -> impl Iterator<Item = Function<'_>> {
        self.find(&["fn"]).filter(|&at| self.is_word(at + 1)).filter_map(|at| {
            let (start, body) = (&self.tokens[at], self.body(at));
            self.is(body, "{").then(|| Function {
                name: &self.tokens[at + 1].text,
                line: start.line,
                lines: self.tokens[self.closing(body)].line - start.line + 1,
                test: start.test,
            })
        })
    }

    /// The comments and attributes directly above a line, nearest first.
    pub fn above(&self, line: usize) -> impl Iterator<Item = &str> {
        let before: Vec<&str> = self.text.lines().take(line - 1).map(str::trim).collect();
        before.into_iter().rev().take_while(|line| line.starts_with("//") || line.starts_with("#["))
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn lex(text: &str) -> Vec<Token> {
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < text.len() {
        let (length, piece) = piece(&text[at..]);
        if let Some((text, literal)) = piece {
            tokens.push(Token { text: text.to_owned(), line, literal, test: false });
        }
        line += text[at..at + length].matches('\n').count();
        at += length;
    }
    tokens
}

/// The length of what comes next, and its text unless it is space, a comment or a lifetime.
fn piece(rest: &str) -> (usize, Option<(&str, bool)>) {
    let first = rest.as_bytes()[0];
    let word = rest.bytes().take_while(|&byte| is_word(byte)).count();
    if first.is_ascii_whitespace() {
        (1, None)
    } else if rest.starts_with("//") {
        (rest.find('\n').unwrap_or(rest.len()), None)
    } else if rest.starts_with("/*") {
        (block_comment(rest), None)
    } else if let Some((length, inside)) = string(rest, word) {
        (length, Some((inside, true)))
    } else if first == b'\'' {
        character(rest)
    } else if word > 0 {
        (word, Some((&rest[..word], false)))
    } else {
        let length = if rest.starts_with("::") { 2 } else { 1 };
        (length, Some((&rest[..length], false)))
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        match rest.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            Some(_) => at += 1,
            None => return rest.len(),
        }
        if depth == 0 {
            return at;
        }
    }
}

/// A string of any kind, behind a prefix of `prefix` bytes: its length and its inside.
fn string(rest: &str, prefix: usize) -> Option<(usize, &str)> {
    let (prefix, body) = rest.split_at(prefix);
    let hashes = body.bytes().take_while(|&byte| byte == b'#').count();
    let raw = matches!(prefix, "r" | "br" | "cr");
    let open = if raw { hashes + 1 } else { 1 };
    if !body[open - 1..].starts_with('"') || !(raw || matches!(prefix, "" | "b" | "c")) {
        return None;
    }
    let inside = &body[open..];
    let end = if raw { inside.find(&format!("\"{}", "#".repeat(hashes))) } else { unescaped_quote(inside) };
    let end = end.unwrap_or(inside.len());
    Some(((prefix.len() + 2 * open + end).min(rest.len()), &inside[..end]))
}

fn unescaped_quote(inside: &str) -> Option<usize> {
    let mut escaped = false;
    inside.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// A character literal, or a lifetime, which is passed over.
fn character(rest: &str) -> (usize, Option<(&str, bool)>) {
    let inside = &rest[1..];
    let first = inside.chars().next().map_or(0, char::len_utf8);
    let length = if inside.starts_with('\\') {
        inside.get(2..).and_then(|escape| escape.find('\'')).map(|end| end + 2)
    } else {
        inside[first..].starts_with('\'').then_some(first)
    };
    match length {
        Some(length) => (length + 2, Some((&inside[..length], true))),
        None => (1 + inside.bytes().take_while(|&byte| is_word(byte)).count(), None),
    }
}
