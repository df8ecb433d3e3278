//! What docs/rules.md must hold: every reason in its tables, every key of a rule in the table of keys.

use super::rules::Findings;
use super::scan::Tree;

const PAGE: &str = "docs/rules.md";

/// Lines of a file between one that contains `from` and the next that contains `to`, with their numbers.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<(usize, &'a str)> {
    let lines = text.lines().zip(1..).skip_while(|(line, _)| !line.contains(from)).skip(1);
    lines.take_while(|(line, _)| !line.contains(to)).map(|(line, number)| (number, line)).collect()
}

/// The codes in backticks of a text.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells of a row of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split(" | ").map(str::trim).collect()
}

/// Every code of `Reason::code` is a row of the table of reasons; those of verdicts stand in the table of verdicts as well.
pub fn unexplained_reasons(tree: &Tree) -> Findings {
    let (Some(decision), Some(page)) = (tree.file("src/engine/decision.rs"), tree.file(PAGE)) else {
        return vec![format!("{PAGE}:1: is missing, or src/engine/decision.rs")];
    };
    let rows = between(&page.text, "## Reasons", "## ");
    let explained: Vec<&str> = rows.iter().flat_map(|(_, row)| codes(cells(row)[0])).collect();
    let verdicts = between(&page.text, "## Verdicts", "## Reasons");
    let told: Vec<&str> = verdicts.iter().flat_map(|(_, row)| codes(cells(row).last().unwrap_or(&""))).collect();
    let mut findings = Findings::new();
    for (number, line) in between(&decision.text, "impl Reason {", "impl fmt::Display for Reason") {
        let code = line.split_once("=> \"").and_then(|(_, rest)| rest.split('"').next());
        if let Some(code) = code.filter(|code| !explained.contains(code)) {
            findings.push(format!("{}:{number}: `{code}` is no row of the table of reasons in {PAGE}", decision.path));
        }
    }
    for (number, row) in rows {
        let of_verdicts = cells(row).last().is_some_and(|with| with.contains("verdict"));
        for code in codes(cells(row)[0]).filter(|code| of_verdicts && !told.contains(code)) {
            findings.push(format!("{PAGE}:{number}: `{code}` is not in the table of verdicts"));
        }
    }
    findings
}

/// Every field of `RuleConfig` stands in the table of keys.
pub fn unexplained_keys(tree: &Tree) -> Findings {
    let (Some(config), Some(page)) = (tree.file("src/rules/mod.rs"), tree.file(PAGE)) else {
        return vec![format!("{PAGE}:1: is missing, or src/rules/mod.rs")];
    };
    let rows = between(&page.text, "## Keys", "## ");
    let keys: Vec<&str> = rows.iter().flat_map(|(_, row)| codes(cells(row)[0])).collect();
    let mut findings = Findings::new();
    let mut renamed = None;
    for (number, line) in between(&config.text, "pub struct RuleConfig", "}") {
        if let Some((_, name)) = line.split_once("rename = \"") {
            renamed = name.split('"').next();
        }
        let Some((field, _)) = line.trim().strip_prefix("pub ").and_then(|field| field.split_once(':')) else {
            continue;
        };
        let key = renamed.take().unwrap_or(field);
        if !keys.iter().any(|known| *known == key || known.starts_with(&format!("{key}."))) {
            findings.push(format!("{}:{number}: `{key}` is not in the table of keys in {PAGE}", config.path));
        }
    }
    findings
}
