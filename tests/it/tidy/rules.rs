//! The rules: each looks at a whole tree and returns what it found, with the remedy.

use super::scan::{File, Token, Tree};

pub type Findings = Vec<String>;

/// Who may use whom, from the bottom up: a module uses only what its row grants, and a row grants
/// only rows above it (the three of the vocabulary know each other). Everything may use itself.
pub const GRANTS: &str = "
    event      | identity delivery
    identity   | event delivery
    delivery   | event identity
    clock      | event
    metrics    | clock
    telemetry  | clock
    proto      |
    openapi    |
    rules      | event identity
    formats    | event identity
    normalise  | event identity delivery rules
    engine     | event identity delivery rules
    store      | event identity delivery engine metrics clock
    sinks      | event identity delivery engine metrics clock
    outbox     | event identity delivery store sinks metrics clock
    runtime    | event identity delivery rules engine store metrics clock
    ingest     | event identity formats normalise engine runtime metrics clock proto openapi
    api        | event identity delivery rules engine store outbox runtime ingest metrics clock proto openapi
    config     | event identity formats normalise rules engine store outbox sinks ingest runtime api telemetry
    app        | *
    cli        | app config event identity rules formats normalise engine store clock proto telemetry
";

pub const VOCABULARY: &[&str] = &["event", "identity", "delivery"];

pub const PURE: &[&str] = &["event", "identity", "delivery", "rules", "formats", "normalise", "engine"];

/// The rows of the table; `*` stands for all rows above.
pub fn grants() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut rows: Vec<(&str, Vec<&str>)> = Vec::new();
    for (module, granted) in GRANTS.lines().filter_map(|line| line.split_once('|')) {
        let granted = match granted.trim() {
            "*" => rows.iter().map(|row| row.0).collect(),
            names => names.split_whitespace().collect(),
        };
        rows.push((module.trim(), granted));
    }
    rows
}

pub fn dependencies(tree: &Tree) -> Findings {
    let grants = grants();
    let mut findings = Findings::new();
    for file in tree.rust("src/").filter(|file| !file.module().is_empty()) {
        let module = file.module()[0];
        let Some((_, granted)) = grants.iter().find(|row| row.0 == module) else {
            findings.push(file.at(1, format!("`{module}` has no row in GRANTS; give it one")));
            continue;
        };
        for (line, target) in uses(file) {
            if target != module && !granted.contains(&target) {
                let remedy = "move the code, pass the value in, or change GRANTS with its reason";
                findings.push(file.at(line, format!("`{module}` may not use `{target}`; {remedy}")));
            }
        }
    }
    findings
}

/// The top-level items of the crate that production code in this file refers to.
fn uses(file: &File) -> Vec<(usize, &str)> {
    let mut uses = Vec::new();
    for path in file.paths().iter().filter(|path| !file.tokens[path.at].test) {
        let segments = path.segments.strip_prefix(&["self"]).unwrap_or(&path.segments);
        let ups = segments.iter().take_while(|segment| **segment == "super").count();
        let from_root = match segments.first() {
            Some(&"crate") => &segments[1..],
            Some(&"super") if ups == file.module_depth(path.at) => &segments[ups..],
            _ => continue,
        };
        if let Some(target) = from_root.first().filter(|target| **target != "self") {
            uses.push((file.tokens[path.at].line, *target));
        }
    }
    uses
}

pub fn impurities(tree: &Tree) -> Findings {
    const FOREIGN: &[&[&str]] = &[
        &["tokio"],
        &["metrics"],
        &["tracing"],
        &["rand"],
        &["std", "env"],
        &["std", "fs"],
        &["std", "process"],
        &["std", "thread"],
        &["std", "time", "Instant"],
        &["std", "time", "SystemTime"],
        &["SystemTime", "now"],
        &["Instant", "now"],
        &["Timestamp", "now"],
        &["Zoned", "now"],
    ];
    let remedy = "inputs and `now` go in, decisions come out; do this at the edge";
    let mut findings = Findings::new();
    for file in tree.rust("src/").filter(|file| file.module().first().is_some_and(|m| PURE.contains(m))) {
        let mut report = |at: usize, what: &str| {
            if !file.tokens[at].test {
                findings.push(file.at(file.tokens[at].line, format!("`{what}` in a pure module; {remedy}")));
            }
        };
        for path in file.paths() {
            let path_ends_in_now =
                |foreign: &[&str]| foreign.last() == Some(&"now") && path.segments.ends_with(foreign);
            if FOREIGN.iter().any(|foreign| path.segments.starts_with(foreign) || path_ends_in_now(foreign)) {
                report(path.at, &path.segments.join("::"));
            }
        }
        file.find(&["async"]).for_each(|at| report(at, "async"));
    }
    findings
}

pub fn missing_module_docs(tree: &Tree) -> Findings {
    let undocumented = tree.rust("src/").filter(|file| !file.text.starts_with("//!"));
    let finding = "does not open with `//!`; say what it owns, must not touch, and does when full";
    undocumented.map(|file| file.at(1, finding)).collect()
}

pub fn reading_order(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    if let Some(lib) = tree.file("src/lib.rs") {
        let (mut headed, mut headings) = (false, 0);
        for (index, line) in lib.text.lines().map(str::trim).enumerate() {
            if line.starts_with("// ") {
                headings += usize::from(!headed);
                headed = true;
            } else if line.is_empty() {
                headed = false;
            } else if ["mod ", "pub mod ", "pub(crate) mod "].iter().any(|m| line.starts_with(m)) && !headed {
                findings.push(lib.at(index + 1, "a module without a group heading; put `// heading` above its group"));
            }
        }
        if headings < 2 {
            findings.push(lib.at(1, "modules are not grouped; list them in reading order under `// heading` lines"));
        }
    }
    let keeps_order = |file: &File| file.text.lines().any(|line| line.trim() == "reorder_modules = false");
    if !tree.file("rustfmt.toml").is_some_and(keeps_order) {
        findings.push("rustfmt.toml:1: sorts modules; set `reorder_modules = false`".to_owned());
    }
    findings
}

/// Twelve parts that can be seen at a glance, and `main.rs` and `lib.rs`.
const LOOSE_FILES_MAX: usize = 12 + 2;
const FOLDER_FILES_MAX: usize = 15;

pub fn crowded_folders(tree: &Tree) -> Findings {
    let folder = |file: &File| file.path.rsplit_once('/').expect("a path below src/").0.to_owned();
    let mut folders: Vec<String> = tree.rust("src/").map(folder).collect();
    folders.sort();
    let crowded = |files: &[String]| {
        let limit = if files[0] == "src" { LOOSE_FILES_MAX } else { FOLDER_FILES_MAX };
        (files.len() > limit).then(|| {
            format!("{}:1: {} files, the limit is {limit}; group what belongs together", files[0], files.len())
        })
    };
    folders.chunk_by(|a, b| a == b).filter_map(crowded).collect()
}

pub fn vague_names(tree: &Tree) -> Findings {
    const VAGUE: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "types"];
    let is_vague = |file: &&File| file.path.trim_end_matches(".rs").split('/').any(|part| VAGUE.contains(&part));
    let remedy = "a name that takes in anything; name the file after its main type or function";
    tree.rust("").filter(is_vague).map(|file| file.at(1, remedy)).collect()
}

/// A ratchet: these may fall, never rise.
const FUNCTION_LINES_MEDIAN: usize = 10;
const FUNCTION_LINES_P90: usize = 40;
const FUNCTION_LINES_MAX: usize = 70;

pub fn long_functions(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    let mut lengths = Vec::new();
    for file in tree.rust("src/") {
        for function in file.functions().filter(|function| !function.test) {
            lengths.push((function.lines, file.at(function.line, function.name)));
            let reason = |line: &str| line.trim().starts_with("// Long because");
            let mut inside = file.text.lines().skip(function.line - 1).take(function.lines);
            let explained = file.above(function.line).any(reason) || inside.any(reason);
            if function.lines > FUNCTION_LINES_MAX && !explained {
                let (name, lines) = (function.name, function.lines);
                findings.push(file.at(
                    function.line,
                    format!("`{name}` has {lines} lines; split it at its steps, or say `// Long because …`"),
                ));
            }
        }
    }
    lengths.sort();
    let longest: String = lengths.iter().rev().take(10).map(|(lines, name)| format!("\n    {lines} {name}")).collect();
    for (percent, limit) in [(50, FUNCTION_LINES_MEDIAN), (90, FUNCTION_LINES_P90)] {
        let rank = (lengths.len() * percent).div_ceil(100);
        let lines = rank.checked_sub(1).map_or(0, |index| lengths[index].0);
        if lines > limit {
            findings.push(format!(
                "src:1: {percent}% of functions take up to {lines} lines, the limit is {limit}; the longest:{longest}"
            ));
        }
    }
    findings
}

const FILE_LINES_MAX: usize = 800;

pub fn long_files(tree: &Tree) -> Findings {
    let reason =
        |file: &File| file.text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.contains("lines"));
    let long = tree.rust("").map(|file| (file, file.text.lines().count()));
    long.filter(|(file, lines)| *lines > FILE_LINES_MAX && !reason(file))
        .map(|(file, lines)| {
            file.at(1, format!("{lines} lines; move a piece with its own name out, or say in `//!` why so many lines"))
        })
        .collect()
}

pub fn long_documents(tree: &Tree) -> Findings {
    const LIMITS: &[(&str, usize)] = &[("src/main.rs", 60), ("build.rs", 50), ("ARCHITECTURE.md", 250)];
    let too_long = |(path, limit): &(&str, usize)| {
        let file = tree.file(path)?;
        let lines = file.text.lines().count();
        (lines > *limit).then(|| file.at(*limit + 1, format!("{lines} lines, the limit is {limit}; move detail out")))
    };
    LIMITS.iter().filter_map(too_long).collect()
}

pub fn prefixed_tests(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for file in tree.rust("") {
        for function in file.functions().filter(|function| function.name.starts_with("test_")) {
            let is_test = |line: &str| line.starts_with("#[") && line.contains("test");
            if file.above(function.line).any(is_test) {
                let finding = format!("`{}`; a test's name is a claim, without a prefix", function.name);
                findings.push(file.at(function.line, finding));
            }
        }
    }
    findings
}

pub fn sleeping_tests(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for file in tree.rust("") {
        for path in file.paths() {
            let token = &file.tokens[path.at];
            let sleeps = ["sleep", "sleep_ms", "sleep_until"].contains(path.segments.last().unwrap_or(&""));
            if token.test && sleeps {
                findings.push(file.at(
                    token.line,
                    "a test that sleeps; move the clock by hand, or wait for the condition with a deadline",
                ));
            }
        }
    }
    findings
}

pub fn ignored_tests(tree: &Tree) -> Findings {
    let found = tree.rust("").flat_map(|file| file.find(&["#", "[", "ignore"]).map(move |at| (file, at)));
    let remedy = "an ignored test; delete it, or put a slow one behind an environment variable";
    found.map(|(file, at)| file.at(file.tokens[at].line, remedy)).collect()
}

const METRIC_PREFIX: &str = "incidentd_";

fn declares_metrics(file: &File) -> bool {
    file.path == "src/metrics.rs" || file.path.starts_with("src/metrics/")
}

/// The indices of literals in production code that begin like a metric's name.
fn metric_literals(file: &File) -> impl Iterator<Item = usize> {
    let names = |token: &Token| token.literal && !token.test && token.text.starts_with(METRIC_PREFIX);
    (0..file.tokens.len()).filter(move |&at| names(&file.tokens[at]))
}

pub fn scattered_metric_names(tree: &Tree) -> Findings {
    let elsewhere = tree.rust("src/").filter(|file| !declares_metrics(file));
    let literals = elsewhere.flat_map(|file| metric_literals(file).map(move |at| (file, &file.tokens[at])));
    let remedy = "is named outside src/metrics.rs; declare it there and pass the handle in";
    literals.map(|(file, token)| file.at(token.line, format!("`{}` {remedy}", token.text))).collect()
}

pub fn odd_metric_names(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for file in tree.rust("src/").filter(|file| declares_metrics(file)) {
        for at in metric_literals(file) {
            let (name, line) = (&file.tokens[at].text, file.tokens[at].line);
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if name == METRIC_PREFIX || !name.bytes().all(plain) {
                findings.push(file.at(line, format!("`{name}` is not of the form ^incidentd_[a-z0-9_]+$")));
            }
            let total = name.ends_with("_total");
            match metric_kinds(file, at)[..] {
                ["counter"] if !total => findings.push(file.at(line, format!("counter `{name}` must end in _total"))),
                ["gauge" | "histogram"] if total => {
                    findings.push(file.at(line, format!("`{name}` is no counter; only counters end in _total")));
                }
                _ => {}
            }
        }
    }
    findings
}

/// What the calls or rows around a name say it is; a constant is looked up where it is used.
fn metric_kinds(file: &File, name: usize) -> Vec<&'static str> {
    let declared = (name.saturating_sub(7)..name).rev().find(|&at| file.is(at, "const"));
    let constant = declared.filter(|_| file.is(name - 1, "=")).map(|at| at + 1);
    let places = match constant {
        Some(constant) => {
            let name = [file.tokens[constant].text.as_str()];
            file.find(&name).filter(|&at| at != constant && !file.tokens[at].test).collect()
        }
        None => vec![name],
    };
    let around = |place: usize| {
        let open = file.opening(place)?;
        Some(open.saturating_sub(3)..file.closing(open))
    };
    let words: Vec<String> = places
        .into_iter()
        .filter_map(around)
        .flatten()
        .filter(|&at| !file.tokens[at].literal)
        .map(|at| file.tokens[at].text.to_lowercase())
        .collect();
    let named = |kind: &&str| words.iter().any(|word| word.contains(*kind));
    ["counter", "gauge", "histogram"].into_iter().filter(named).collect()
}

/// A metric is named where it is described and where it is registered; one that is named once lacks the other.
pub fn half_declared_metrics(tree: &Tree) -> Findings {
    let mut named: Vec<(&str, String)> = Vec::new();
    for file in tree.rust("src/").filter(|file| declares_metrics(file)) {
        named
            .extend(metric_literals(file).map(|at| (file.tokens[at].text.as_str(), file.at(file.tokens[at].line, ""))));
    }
    let once = |name: &str| named.iter().filter(|other| other.0 == name).count() == 1;
    let remedy = "is described or registered, but not both; write it where it belongs, or remove it";
    named.iter().filter(|(name, _)| once(name)).map(|(name, place)| format!("{place}`{name}` {remedy}")).collect()
}

pub fn unknown_shipped_metrics(tree: &Tree) -> Findings {
    let declaring = tree.rust("src/").filter(|file| declares_metrics(file));
    let known: Vec<&str> =
        declaring.flat_map(|file| metric_literals(file).map(|at| file.tokens[at].text.as_str())).collect();
    let is_known = |name: &str| {
        let series = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = name.ends_with('_') && known.iter().any(|known| known.starts_with(name));
        family || known.contains(&name) || series.is_some_and(|name| known.contains(&name))
    };
    let shipped = tree.files.iter().filter(|file| {
        let deployed = [".yml", ".yaml", ".json"].iter().any(|extension| file.path.ends_with(extension));
        let documented = file.path.starts_with("docs/") && file.path.ends_with(".md");
        file.path == "README.md" || documented || (file.path.starts_with("deploy/") && deployed)
    });
    let mut findings = Findings::new();
    for file in shipped.filter(|_| !known.is_empty()) {
        for (index, line) in file.text.lines().enumerate() {
            // A colon inside the word makes it the name of a recording rule.
            let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
            let names = words.map(|word| word.trim_end_matches(':')).filter(|word| !word.contains(':'));
            for name in names.filter(|name| name.starts_with(METRIC_PREFIX) && !is_known(name)) {
                findings
                    .push(file.at(index + 1, format!("`{name}` is not declared in src/metrics.rs; correct the name")));
            }
        }
    }
    findings
}

/// Where every metric is explained.
const METRICS_PAGE: &str = "docs/operations.md";

pub fn undocumented_metrics(tree: &Tree) -> Findings {
    let Some(page) = tree.file(METRICS_PAGE) else { return Findings::new() };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: Vec<&str> = page.text.split(|c: char| !is_word(c)).collect();
    let mut findings = Findings::new();
    for file in tree.rust("src/").filter(|file| declares_metrics(file)) {
        let names = metric_literals(file).map(|at| &file.tokens[at]);
        let missing = names.filter(|token| !words.contains(&token.text.as_str()));
        findings.extend(
            missing.map(|token| file.at(token.line, format!("`{}` is not explained in {METRICS_PAGE}", token.text))),
        );
    }
    findings.sort();
    findings
}

/// Links between our own pages, and runbooks of alert rules, lead to a file and a heading that are there.
pub fn dead_links(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for file in &tree.files {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let page = file.path.ends_with(".md");
        for (index, line) in file.text.lines().enumerate() {
            let links: Vec<(String, &str)> = match line.trim().strip_prefix("runbook: ") {
                Some(runbook) if file.path.starts_with("deploy/") && !runbook.contains("://") => {
                    vec![(String::new(), runbook)]
                }
                _ if page => linked(line).map(|link| (folder.to_owned(), link)).collect(),
                _ => Vec::new(),
            };
            for (from, link) in links {
                let (path, heading) = link.split_once('#').unwrap_or((link, ""));
                let target = if path.is_empty() { file.path.clone() } else { joined(&from, path) };
                if !leads_somewhere(tree, &target, heading) {
                    findings.push(file.at(index + 1, format!("`{link}` leads nowhere; correct it")));
                }
            }
        }
    }
    findings
}

/// The targets of Markdown links of a line that are no URLs.
fn linked(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains(':') && !target.is_empty())
}

fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn leads_somewhere(tree: &Tree, target: &str, heading: &str) -> bool {
    let folder = format!("{target}/");
    match tree.file(target) {
        Some(file) => heading.is_empty() || file.text.lines().filter_map(anchor).any(|anchor| anchor == heading),
        None => heading.is_empty() && tree.files.iter().any(|file| file.path.starts_with(&folder)),
    }
}

/// A heading's anchor, as GitHub makes it.
fn anchor(line: &str) -> Option<String> {
    let title = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))?;
    let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    Some(kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect())
}

const FEATURES_MAX: usize = 4;

pub fn scattered_features(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for file in tree.rust("") {
        let picks = ["mod.rs", "lib.rs", "main.rs"].contains(&file.path.rsplit('/').next().unwrap_or(""));
        for at in file.find(&["feature", "="]).filter(|&at| at > 0 && file.is_any(at - 1, &["(", ","])) {
            if !picks {
                let remedy = "let a mod.rs pick between an enabled.rs and a disabled.rs";
                findings.push(file.at(file.tokens[at].line, format!("a feature is asked for here; {remedy}")));
            }
        }
    }
    let Some(manifest) = tree.file("Cargo.toml") else { return findings };
    let section = manifest.text.lines().skip_while(|line| line.trim() != "[features]").skip(1);
    let features = section
        .take_while(|line| !line.starts_with('['))
        .filter(|line| line.contains('=') && !line.starts_with(['#', ' ', '"']) && !line.starts_with("default"))
        .count();
    if features > FEATURES_MAX {
        findings
            .push(manifest.at(1, format!("{features} features, the limit is {FEATURES_MAX}; prefer configuration")));
    }
    findings
}

pub fn unexplained_allows(tree: &Tree) -> Findings {
    let mut findings = Findings::new();
    for file in tree.rust("") {
        for attribute in file.attributes() {
            let excuses = attribute.filter(|&at| file.is_any(at, &["allow", "expect"]) && file.is(at + 1, "("));
            for at in excuses {
                if !(at..file.closing(at + 1)).any(|at| file.is(at, "reason")) {
                    findings.push(file.at(file.tokens[at].line, "a lint is silenced without `reason = \"…\"`"));
                }
            }
        }
    }
    findings
}

pub fn machine_paths(tree: &Tree) -> Findings {
    const ROOTS: &[&str] =
        &[concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/"), concat!("/", "Users/")];
    let absolute = |line: &str, root: &str| {
        line.match_indices(root).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || "._-~})*".contains(c))
        })
    };
    let names_machine = |line: &str| ROOTS.iter().any(|root| absolute(line, root));
    lines_with(
        tree.files.iter(),
        names_machine,
        "a path of one machine; make it relative, or read it from the environment",
    )
}

pub fn registry_hosts(tree: &Tree) -> Findings {
    const HOSTS: &[&str] = &[
        concat!("crates", ".io/"),
        concat!("//crates", ".io"),
        concat!("repo", ".maven"),
        concat!("repo1", ".maven"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("registry", ".npmjs"),
        concat!("proxy", ".golang"),
    ];
    let files = tree.files.iter().filter(|file| file.path != "Cargo.lock");
    let names_host = |line: &str| HOSTS.iter().any(|host| line.contains(host));
    lines_with(files, names_host, "a registry's host; name the package and let the user's own settings find it")
}

fn lines_with<'a>(files: impl Iterator<Item = &'a File>, wrong: impl Fn(&str) -> bool, finding: &str) -> Findings {
    let mut findings = Findings::new();
    for file in files {
        let lines = file.text.lines().enumerate().filter(|(_, line)| wrong(line));
        findings.extend(lines.map(|(index, _)| file.at(index + 1, finding)));
    }
    findings
}
