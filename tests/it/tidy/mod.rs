//! The habits of this code base that a machine can check, each a claim about the source tree.
//!
//! Every claim about the tree stands beside one that shows the rule at work on a bad snippet.
//! `scan` reads, `rules` and `page` judge.

mod page;
mod rules;
mod scan;

use std::path::Path;
use std::sync::LazyLock;

use rules::Findings;
use scan::Tree;

static TREE: LazyLock<Tree> = LazyLock::new(|| Tree::read(Path::new(env!("CARGO_MANIFEST_DIR"))));

type Rule = fn(&Tree) -> Findings;
type Snippet<'a> = (&'a str, &'a str);

#[track_caller]
fn holds(rule: Rule) {
    let findings = rule(&TREE);
    assert!(findings.is_empty(), "{} found:\n{}", findings.len(), findings.join("\n"));
}

fn tree(files: &[Snippet<'_>]) -> Tree {
    Tree::of(files.iter().map(|(path, text)| (path.to_string(), text.to_string())))
}

/// The rule finds exactly these places, given as `path:line`.
#[track_caller]
fn finds(rule: Rule, files: &[Snippet<'_>], expected: &[&str]) {
    let findings = rule(&tree(files));
    let places: Vec<&str> =
        findings.iter().map(|finding| finding.split_once(": ").expect("path:line: what").0).collect();
    assert_eq!(places, expected, "{findings:#?}");
}

/// The rule finds exactly these lines of one file.
#[track_caller]
fn finds_lines(rule: Rule, path: &str, text: &str, lines: &[usize]) {
    let places: Vec<String> = lines.iter().map(|line| format!("{path}:{line}")).collect();
    finds(rule, &[(path, text)], &places.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn the_tree_is_read_without_what_git_ignores() {
    assert!(TREE.file("Cargo.toml").is_some() && TREE.file("src/lib.rs").is_some());
    assert!(TREE.file("tests/it/tidy/mod.rs").is_some());
    assert!(!TREE.files.iter().any(|file| file.path.starts_with("target/")));
    assert!(!TREE.files.iter().any(|file| file.path.starts_with(".git/")));
}

#[test]
fn modules_use_only_what_the_table_grants() {
    holds(rules::dependencies);
}

#[test]
fn a_use_that_the_table_does_not_grant_is_found_however_it_is_written() {
    let engine = "//! E\n\
        use crate::event::Event;\n\
        use crate::{event, store::{self, Store}};\n\
        use super::super::runtime;\n\
        use super::decision;\n\
        fn f() { crate::metrics::count(\"crate::api\") } // crate::api\n\
        mod inner { use super::super::super::sinks; use super::super::window; }\n\
        use crate::Event;\n\
        #[cfg(test)] mod tests { use crate::store::memory; }\n";
    finds_lines(rules::dependencies, "src/engine/shard.rs", engine, &[3, 3, 4, 6, 7, 8]);
    finds_lines(rules::dependencies, "src/api/mod.rs", "use super::cli;\nuse super::*;", &[1, 2]);
    finds(rules::dependencies, &[("src/stuff.rs", ""), ("src/main.rs", "use crate::app;")], &["src/stuff.rs:1"]);
    let test_module = [("src/engine/mod.rs", "#[cfg(test)] mod tests;"), ("src/engine/tests.rs", "use crate::app;")];
    finds(rules::dependencies, &test_module, &[]);
    finds_lines(rules::dependencies, "src/app.rs", "use crate::{cli, sinks};", &[1]);
}

#[test]
fn the_table_has_no_cycle_beyond_the_vocabulary() {
    let rows = rules::grants();
    for (index, (module, granted)) in rows.iter().enumerate() {
        for target in granted {
            let above = rows[..index].iter().any(|row| row.0 == *target);
            let peers = rules::VOCABULARY.contains(module) && rules::VOCABULARY.contains(target);
            assert!(above || peers, "`{module}` is granted `{target}`, which is no row above it");
        }
    }
}

#[test]
fn the_table_keeps_clock_metrics_and_logs_out_of_the_middle() {
    for (module, granted) in rules::grants().iter().filter(|row| rules::PURE.contains(&row.0)) {
        let outside = granted.iter().find(|target| !rules::PURE.contains(target));
        assert_eq!(outside, None, "granted to `{module}`");
    }
}

#[test]
fn the_middle_is_pure() {
    holds(rules::impurities);
}

#[test]
fn time_tasks_and_chance_in_the_middle_are_found() {
    let text = "use std::time::{Duration, Instant};\n\
        use std::{collections::BTreeMap, fs};\n\
        async fn f() {}\n\
        fn g() { ::tokio::spawn(h()); tracing::info!(\"tokio::\") }\n\
        fn h() -> u8 { jiff::Timestamp::now(); rand::random() }\n\
        fn i(metrics: u8) { let rand = metrics; }\n\
        #[cfg(test)] mod tests { use std::time::Instant; }\n";
    finds_lines(rules::impurities, "src/rules/a.rs", text, &[1, 2, 4, 4, 5, 5, 3]);
    finds_lines(rules::impurities, "src/clock.rs", text, &[]);
}

#[test]
fn every_module_opens_with_its_documentation() {
    holds(rules::missing_module_docs);
}

#[test]
fn a_module_without_documentation_is_found() {
    finds(rules::missing_module_docs, &[("src/a.rs", "//! A\n"), ("src/b.rs", "// B\n")], &["src/b.rs:1"]);
}

#[test]
fn modules_are_listed_in_reading_order() {
    holds(rules::reading_order);
}

#[test]
fn a_module_list_without_headings_is_found() {
    let rustfmt = ("rustfmt.toml", "reorder_modules = false\n");
    let grouped = "//! Lib\n\n// vocabulary\npub mod event;\nmod identity;\n\n// edges\npub mod ingest;\n";
    finds(rules::reading_order, &[("src/lib.rs", grouped), rustfmt], &[]);
    let bare = "//! Lib\n\n// vocabulary\npub mod event;\n\npub mod ingest;\n";
    finds(rules::reading_order, &[("src/lib.rs", bare), rustfmt], &["src/lib.rs:6", "src/lib.rs:1"]);
    finds(rules::reading_order, &[("src/lib.rs", grouped)], &["rustfmt.toml:1"]);
}

#[test]
fn folders_can_be_seen_at_a_glance() {
    holds(rules::crowded_folders);
}

#[test]
fn a_crowded_folder_is_found() {
    let names: Vec<String> = (0..16).map(|n| format!("src/cli/c{n}.rs")).collect();
    let files: Vec<Snippet<'_>> = names.iter().map(|name| (name.as_str(), "")).collect();
    finds(rules::crowded_folders, &files, &["src/cli:1"]);
    finds(rules::crowded_folders, &files[..15], &[]);
}

#[test]
fn files_are_named_after_what_they_hold() {
    holds(rules::vague_names);
}

#[test]
fn a_vague_name_is_found() {
    let files =
        [("src/utils.rs", ""), ("tests/common/mod.rs", ""), ("src/event/types.rs", ""), ("src/event/mod.rs", "")];
    finds(rules::vague_names, &files, &["src/utils.rs:1", "tests/common/mod.rs:1", "src/event/types.rs:1"]);
}

#[test]
fn functions_are_short() {
    holds(rules::long_functions);
}

#[test]
fn a_long_function_is_found_unless_it_says_why() {
    let function = |head: &str, lines: usize| format!("{head}fn f() {{{}}}\n", "\n".repeat(lines));
    let short = function("", 2).repeat(99);
    finds_lines(rules::long_functions, "src/a.rs", &(short.clone() + &function("", 69)), &[]);
    finds_lines(rules::long_functions, "src/a.rs", &(short.clone() + &function("", 70)), &[298]);
    let explained = function("// Long because it names every part.\n#[inline]\n", 70);
    finds_lines(rules::long_functions, "src/a.rs", &(short.clone() + &explained), &[]);
    finds(rules::long_functions, &[("src/a.rs", &function("", 20))], &["src:1"]);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}\n}}\n", function("", 90));
    finds_lines(rules::long_functions, "src/a.rs", &(short + &tests), &[]);
}

#[test]
fn files_are_short() {
    holds(rules::long_files);
}

#[test]
fn a_long_file_is_found_unless_it_says_why() {
    let lines = "\n".repeat(800);
    let explained = format!("//! One table of 900 lines.\n{lines}");
    finds(rules::long_files, &[("src/a.rs", &lines), ("src/b.rs", &explained)], &[]);
    finds_lines(rules::long_files, "src/a.rs", &format!("//! A.\n{lines}"), &[1]);
}

#[test]
fn entry_points_fit_on_a_screen() {
    holds(rules::long_documents);
}

#[test]
fn a_long_entry_point_is_found() {
    let text = "\n".repeat(61);
    finds(rules::long_documents, &[("src/main.rs", &text), ("build.rs", &text)], &["src/main.rs:61", "build.rs:51"]);
}

#[test]
fn names_of_tests_are_claims() {
    holds(rules::prefixed_tests);
}

#[test]
fn a_prefixed_test_is_found() {
    let text = "#[test]\n\
        fn test_a() {}\n\
        /// B\n\
        #[tokio::test(start_paused = true)]\n\
        async fn test_b() {}\n\
        fn test_event() {}\n";
    finds_lines(rules::prefixed_tests, "src/a.rs", text, &[2, 5]);
}

#[test]
fn tests_do_not_sleep() {
    holds(rules::sleeping_tests);
}

#[test]
fn a_sleeping_test_is_found() {
    let text = "fn f() { std::thread::sleep(D) }\n\
        use tokio::time::{self, sleep};\n\
        fn g(clock: C) { clock.sleep() }\n";
    finds_lines(rules::sleeping_tests, "tests/it/a.rs", text, &[1, 2]);
    finds_lines(rules::sleeping_tests, "src/outbox/a.rs", text, &[]);
    let module = format!("#[cfg(test)]\nmod tests {{\n{text}}}");
    finds_lines(rules::sleeping_tests, "src/outbox/a.rs", &module, &[3, 4]);
}

#[test]
fn no_test_is_ignored() {
    holds(rules::ignored_tests);
}

#[test]
fn an_ignored_test_is_found() {
    let text = "#[test]\n#[ignore = \"slow\"]\nfn f() {}\nconst S: &str = r#\"#[ignore]\"#;";
    finds_lines(rules::ignored_tests, "tests/it/a.rs", text, &[2]);
}

#[test]
fn metrics_are_declared_in_one_place() {
    holds(rules::scattered_metric_names);
}

#[test]
fn a_metric_named_elsewhere_is_found() {
    let text = "fn f() { counter!(\"incidentd_x_total\") }\n\
        #[cfg(test)] mod tests { const S: &str = \"incidentd_x_total\"; }";
    finds(rules::scattered_metric_names, &[("src/api/a.rs", text), ("src/metrics.rs", text)], &["src/api/a.rs:1"]);
}

#[test]
fn metric_names_follow_the_conventions() {
    holds(rules::odd_metric_names);
}

#[test]
fn an_odd_metric_name_is_found() {
    let text = "const LAG: &str = \"incidentd_lag_total\";\n\
        fn f() {\n\
        counter!(\"incidentd_events\", \"kind\" => \"gauge\");\n\
        describe_histogram!(\n\"incidentd_commit_seconds\", \"…\");\n\
        gauge!(LAG);\n\
        counter!(\"incidentd_Events_total\");\n\
        }";
    finds_lines(rules::odd_metric_names, "src/metrics.rs", text, &[1, 3, 7]);
    let row = "const ALL: &[M] = &[\n\
        M { name: \"incidentd_a\", kind: Kind::Counter },\n\
        M { name: \"incidentd_b_total\", kind: Kind::Gauge }];";
    finds_lines(rules::odd_metric_names, "src/metrics.rs", row, &[2, 3]);
}

#[test]
fn every_metric_is_described_and_registered() {
    holds(rules::half_declared_metrics);
}

#[test]
fn a_metric_that_is_only_described_is_found() {
    let text = "const HELP: &[(&str, &str)] = &[\n\
        (\"incidentd_a_total\", \"A\"),\n\
        (\"incidentd_b_total\", \"B\")];\n\
        fn f() { plain(\"incidentd_a_total\") }\n";
    finds_lines(rules::half_declared_metrics, "src/metrics.rs", text, &[3]);
}

#[test]
fn dashboards_and_alert_rules_name_metrics_that_exist() {
    holds(rules::unknown_shipped_metrics);
}

#[test]
fn a_shipped_metric_that_does_not_exist_is_found() {
    let metrics = ("src/metrics.rs", "const A: &str = \"incidentd_commit_seconds\";");
    let deployed = "expr: rate(incidentd_commit_seconds_bucket[5m])\n\
        expr: incidentd_commit_secs > 1\n\
        record: incidentd_commits:rate5m\n";
    let files = [metrics, ("deploy/alerts.yml", deployed), ("README.md", "`incidentd_commit_*`, `incidentd_gone`")];
    finds(rules::unknown_shipped_metrics, &files, &["deploy/alerts.yml:2", "README.md:1"]);
}

#[test]
fn every_metric_is_explained() {
    holds(rules::undocumented_metrics);
}

#[test]
fn a_metric_that_no_page_explains_is_found() {
    let metrics = "const A: &str = \"incidentd_a_total\";\nconst B: &str = \"incidentd_b_total\";\n";
    let page = ("docs/operations.md", "`incidentd_a_total{source}`, `incidentd_b_totals`");
    finds(rules::undocumented_metrics, &[("src/metrics.rs", metrics), page], &["src/metrics.rs:2"]);
}

#[test]
fn every_reason_and_every_key_of_a_rule_is_explained() {
    holds(page::unexplained_reasons);
    holds(page::unexplained_keys);
}

#[test]
fn a_reason_or_a_key_that_the_page_does_not_explain_is_found() {
    let decision = "impl Reason {\nA => \"a\",\nB => \"b\",\nC => \"c\",\n}\nimpl fmt::Display for Reason {\n";
    let config =
        "pub struct RuleConfig {\n#[serde(rename = \"match\")]\npub matchers: M,\npub wait: W,\npub storm: S,\n}\n";
    let page = "## Keys\n| `match` | x |\n| `storm.opens` | x |\n## Verdicts\n| `opened` | x | `a` |\n## Reasons\n\
        | `a` | x | verdict |\n| `b` | x | verdict, `opened` |\n";
    let files = [("src/engine/decision.rs", decision), ("src/rules/mod.rs", config), ("docs/rules.md", page)];
    finds(page::unexplained_reasons, &files, &["src/engine/decision.rs:4", "docs/rules.md:8"]);
    finds(page::unexplained_keys, &files, &["src/rules/mod.rs:4"]);
}

#[test]
fn links_lead_somewhere() {
    holds(rules::dead_links);
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = "[a](b.md) [c](../README.md#what-is-it)\n[d](c.md)\n[e](b.md#no) [f](#own-part)\n\
        [g](https://example.org/x) [h](adr/)\n## Own part\n";
    let files = [
        ("README.md", "# What *is* it?\n[i](docs/b.md)"),
        ("docs/a.md", page),
        ("docs/b.md", "text"),
        ("docs/adr/1.md", ""),
        ("deploy/alerts.yml", "runbook: docs/a.md#own-part\nrunbook: docs/a.md#other"),
    ];
    finds(rules::dead_links, &files, &["docs/a.md:2", "docs/a.md:3", "deploy/alerts.yml:2"]);
}

#[test]
fn features_are_few_and_picked_in_one_place() {
    holds(rules::scattered_features);
}

#[test]
fn a_scattered_feature_and_a_fifth_one_are_found() {
    let text = "#[cfg(not(feature = \"ui\"))]\nfn f() { let feature = \"x\"; }";
    let manifest = "[features]\ndefault = []\n# why\na = []\nb = [\n    \"c/d\",\n]\nc = []\nd = []\n";
    finds(
        rules::scattered_features,
        &[("src/api/a.rs", text), ("src/api/mod.rs", text), ("Cargo.toml", manifest)],
        &["src/api/a.rs:1"],
    );
    let fifth = format!("{manifest}e = []\n[dependencies]\nx = \"1\"\n");
    finds_lines(rules::scattered_features, "Cargo.toml", &fifth, &[1]);
}

#[test]
fn every_silenced_lint_has_a_reason() {
    holds(rules::unexplained_allows);
}

#[test]
fn a_lint_silenced_without_a_reason_is_found() {
    let text = "#![allow(a)]\n\
        #[expect(\nb,\nreason = \"c\"\n)]\n\
        fn f() { g().expect(\"why\") }\n\
        #[cfg_attr(test, allow(d))]\n\
        fn h() {}\n";
    finds_lines(rules::unexplained_allows, "src/a.rs", text, &[1, 7]);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    holds(rules::machine_paths);
}

#[test]
fn a_path_of_one_machine_is_found() {
    let text = concat!("cd /", "work/main\nsee https://example.org/", "home/a and ./", "work/b\n\"/", "home/me\"");
    finds_lines(rules::machine_paths, "docs/a.md", text, &[1, 3]);
}

#[test]
fn no_file_names_the_host_of_a_registry() {
    holds(rules::registry_hosts);
}

#[test]
fn the_host_of_a_registry_is_found() {
    let text = concat!("fine\nhttps://crates", ".io/crates/x\n");
    finds(rules::registry_hosts, &[("README.md", text), ("Cargo.lock", text)], &["README.md:2"]);
}

/// The tokens, with literals in quotation marks.
fn tokens(text: &str) -> String {
    let tree = tree(&[("a.rs", text)]);
    let shown = |token: &scan::Token| if token.literal { format!("\"{}\"", token.text) } else { token.text.clone() };
    tree.files[0].tokens.iter().map(shown).collect::<Vec<_>>().join(" ")
}

#[test]
fn words_in_literals_and_comments_are_no_words() {
    assert_eq!(tokens(r##"a "b \" // c" r#"d " e"# br"f\" 'g' h"##), r#"a "b \" // c" "d " e" "f\" "g" h"#);
    assert_eq!(tokens("a /* b /* c */ d */ e // f\ng /// h"), "a e g");
    assert_eq!(
        tokens(r"fn a<'b>(c: &'static str) { '\'' '{' '\u{1F600}' 'é' 'l: loop {} }"),
        concat!("fn a < > ( c : & str ) { ", r#""\'" "{" "\u{1F600}" "é" : loop { } }"#)
    );
    assert_eq!(tokens("r#fn b\"x\" c\"y\" crate::ü"), "r # fn \"x\" \"y\" crate :: ü");
    assert_eq!(tokens("\"never closed"), "\"never closed\"");
}

#[test]
fn functions_end_at_their_own_brace() {
    let text =
        "fn a(x: [u8; 2]) -> Option<fn(u8)> {\n    let s = \"}\"; // }\n    '}'\n}\ntrait T { fn b(); fn c() {} }\n";
    let tree = tree(&[("src/a.rs", text)]);
    let found: Vec<_> = tree.files[0].functions().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("a", 1, 4), ("c", 5, 1)]);
}

#[test]
fn a_group_is_read_as_all_its_paths() {
    let tree = tree(&[("src/a.rs", "use a::{b::{self, C as D}, e::*}; x.y::<z::Z>(); <T as f::G>::h()")]);
    let paths: Vec<_> = tree.files[0].paths().iter().map(|path| path.segments.join("::")).collect();
    assert_eq!(paths, ["a::b::self", "a::b::C", "a::e::*", "y", "z::Z", "f::G"]);
}

#[test]
fn code_for_tests_is_told_apart() {
    let text = "fn a() {}\n\
        #[cfg(test)]\n\
        #[derive(Debug)]\n\
        struct B { c: u8 }\n\
        #[cfg(not(test))]\n\
        fn d() {}\n\
        #[cfg(all(test, unix))]\n\
        use e::{f};\n\
        fn g() {}";
    let tree = tree(&[("src/a.rs", text)]);
    let tested: Vec<_> = tree.files[0].tokens.iter().filter(|token| token.test).map(|token| token.line).collect();
    assert_eq!((tested.first(), tested.last()), (Some(&2), Some(&8)));
    assert!(!tested.contains(&5) && !tested.contains(&6));
}
