//! `when`: what matchers cannot say of an alert, in the Common Expression Language.
//!
//! An expression is read and checked when the configuration is loaded: names, functions, types as far as a trial shows
//! them, and that it is true or false. What depends on the alert (a label that it lacks, a number that is none) is an
//! error of its evaluation, and then the rule does not take the alert. Nothing in an expression can run long: its text,
//! its nesting and its loops are bounded, loops run over what an alert has and not within each other, and patterns are
//! compiled once. Read by a parser of bounded recursion, so that no text overflows the stack of the thread that loads it.

use std::fmt;
use std::sync::Arc;

use cel::common::ast::{ComprehensionExpr, Expr, LiteralValue, operators};
use cel::common::types::{CelBool, CelMap, CelMapKey, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::parser::PrattParser;
use cel::{Context, Env, ExecutionError, FunctionContext, IdedExpr, Value};
use hashbrown::HashMap;
use regex::{Regex, RegexBuilder};

use crate::event::{Kind, Severity, hint};

/// Bytes of an expression.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Levels of the tree that an expression makes; far above any honest one, and what a stack of 2 MiB holds many times.
const NESTING_MAX: usize = 32;
/// Bytes of a compiled pattern, as for matchers.
const REGEX_BYTES_MAX: usize = 256 << 10;
const VARIABLES: [&str; 6] = ["labels", "annotations", "severity", "source", "summary", "kind"];
const FUNCTIONS: [&str; 9] =
    ["size", "contains", "startsWith", "endsWith", "matches", "int", "double", "string", "bool"];
const MACROS: &str = "has, all, exists, exists_one, map, filter";
const OPERATORS: [&str; 17] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
];
const ORDERED: [&str; 4] = [operators::GREATER_EQUALS, operators::LESS_EQUALS, operators::GREATER, operators::LESS];

type Function =
    Box<dyn for<'a, 'b> Fn(&mut FunctionContext<'a, 'b>) -> Result<CowVal<'a, 'b>, ExecutionError> + Send + Sync>;

/// A condition, checked and compiled.
pub struct Expression {
    text: String,
    tree: IdedExpr,
    /// Knows the functions; variables come with each alert.
    context: Context<'static, 'static>,
}

/// What an expression may speak of. Made once for an alert, however many rules ask.
#[derive(Debug)]
pub struct Facts<'a> {
    labels: CelMap<'a>,
    annotations: CelMap<'a>,
    severity: CelString<'a>,
    source: CelString<'a>,
    summary: CelString<'a>,
    kind: CelString<'a>,
}

impl<'a> Facts<'a> {
    /// The facts of an alert.
    pub fn new(
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        annotations: impl Iterator<Item = (&'a str, &'a str)>,
        severity: Severity,
        source: &'a str,
        summary: &'a str,
    ) -> Self {
        Self {
            labels: map(labels),
            annotations: map(annotations),
            severity: severity.as_str().into(),
            source: source.into(),
            summary: summary.into(),
            kind: Kind::Alert.as_str().into(),
        }
    }
}

fn map<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> CelMap<'a> {
    let entry = |(name, value): (&'a str, &'a str)| -> (CelMapKey<'a>, Box<dyn Val + 'a>) {
        (CelMapKey::String(name.into()), Box::new(CelString::from(value)))
    };
    CelMap::from(pairs.map(entry).collect::<std::collections::HashMap<_, _>>())
}

impl VariableResolver for Facts<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        Some(match variable {
            "labels" => CowVal::Borrowed(&self.labels),
            "annotations" => CowVal::Borrowed(&self.annotations),
            "severity" => CowVal::Borrowed(&self.severity),
            "source" => CowVal::Borrowed(&self.source),
            "summary" => CowVal::Borrowed(&self.summary),
            "kind" => CowVal::Borrowed(&self.kind),
            _ => return None,
        })
    }
}

impl Expression {
    /// Whether the condition holds for an alert.
    ///
    /// # Errors
    /// What is missing or of the wrong type in this alert.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, String> {
        let value = evaluate(&self.tree, &self.context, facts, |value| {
            value
                .downcast_ref::<CelBool>()
                .map(|value| *value.inner())
                .ok_or_else(|| value.get_type().name().to_owned())
        });
        match value {
            Ok(Ok(holds)) => Ok(holds),
            Ok(Err(kind)) => Err(format!("it yields {kind}, not true or false")),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

fn evaluate<T>(
    tree: &IdedExpr,
    context: &Context<'static, 'static>,
    facts: &Facts<'_>,
    read: impl FnOnce(&dyn Val) -> T,
) -> Result<T, ExecutionError> {
    let mut scope = context.new_inner_scope();
    scope.set_variable_resolver(facts);
    let value = Value::resolve_val(tree, &scope)?;
    Ok(read(value.as_ref()))
}

/// Compiles the expressions of a rule set; they share what the language knows.
pub(super) struct Expressions {
    environment: Arc<Env>,
}

impl Expressions {
    pub(super) fn new() -> Self {
        Self { environment: Arc::new(Env::stdlib()) }
    }

    /// Reads and checks an expression.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub(super) fn compile(&self, text: &str) -> Result<Expression, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("an expression is at most {} KiB long", TEXT_BYTES_MAX >> 10));
        }
        let parser = PrattParser::new().max_recursion_depth(NESTING_MAX as u16).error_recovery_limit(1);
        let tree = parser.parse(text).map_err(|errors| unreadable(&errors))?;
        let mut check = Check::default();
        check.node(&tree, 0)?;
        let mut context = Context::with_env(self.environment.clone());
        let matches = matches_function(std::mem::take(&mut check.patterns));
        context.add_function("matches", matches).map_err(|error| error.to_string())?;
        let expression = Expression { text: text.to_owned(), tree, context };
        Trial::new(&check.labels, &check.annotations).run(&expression)?;
        Ok(expression)
    }
}

/// The first fault of a text, and where it is.
fn unreadable(errors: &cel::ParseErrors) -> String {
    match errors.errors.iter().find(|error| error.pos.0 > 0) {
        Some(error) => {
            let what = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
            let what = one_line(what).replace("<EOF>", "the end");
            format!("at line {}, character {} of the expression: {what}", error.pos.0, error.pos.1)
        }
        None => errors.errors.first().map_or_else(|| "it cannot be read".to_owned(), |error| one_line(&error.msg)),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `matches`, with the patterns of the expression compiled; it finds its pattern anywhere in the text, as in RE2.
fn matches_function(patterns: HashMap<String, Regex>) -> Function {
    Box::new(move |call| {
        let operands: Vec<&CowVal<'_, '_>> = call.this.iter().chain(&call.args).collect();
        let texts: Vec<Option<&CelString<'_>>> =
            operands.iter().map(|value| value.downcast_ref::<CelString>()).collect();
        let [Some(text), Some(pattern)] = texts[..] else {
            return Err(call.error("it looks for a pattern in a text"));
        };
        let pattern = patterns.get(pattern.inner()).ok_or_else(|| call.error("the pattern is no literal"))?;
        Ok(CowVal::owned(CelBool::from(pattern.is_match(text.inner()))))
    })
}

/// Goes through a tree once, before anything is evaluated.
#[derive(Default)]
struct Check {
    patterns: HashMap<String, Regex>,
    /// Names that the expression looks for, so that the trial has them.
    labels: Vec<String>,
    annotations: Vec<String>,
    /// The variables of the loop around, if any.
    looping: Vec<String>,
}

impl Check {
    fn node(&mut self, node: &IdedExpr, depth: usize) -> Result<(), String> {
        if depth >= NESTING_MAX {
            return Err(format!("an expression nests at most {NESTING_MAX} levels deep"));
        }
        let depth = depth + 1;
        match &node.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                self.looks_for(&select.operand, &select.field);
                self.node(&select.operand, depth)
            }
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.node(element, depth)),
            Expr::Call(call) => {
                self.call(call.target.as_deref(), &call.func_name, &call.args)?;
                let parts = call.target.as_deref().into_iter().chain(&call.args);
                parts.into_iter().try_for_each(|part| self.node(part, depth))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
            Expr::Map(_) | Expr::Struct(_) => Err("maps and messages cannot be made in an expression".to_owned()),
            Expr::Unspecified => Err("the expression is not complete".to_owned()),
        }
    }

    fn variable(&self, name: &str) -> Result<(), String> {
        if VARIABLES.contains(&name) || self.looping.iter().any(|known| known == name) {
            return Ok(());
        }
        let (hint, all) = (hint(name, VARIABLES), VARIABLES.join(", "));
        Err(format!("unknown variable \"{name}\"{hint} (there are {all})"))
    }

    fn call(&mut self, target: Option<&IdedExpr>, name: &str, args: &[IdedExpr]) -> Result<(), String> {
        let loops_own = [operators::NOT_STRICTLY_FALSE, operators::IN];
        if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) && !loops_own.contains(&name) {
            let (hint, all) = (hint(name, FUNCTIONS), FUNCTIONS.join(", "));
            return Err(format!("unknown function \"{name}\"{hint} (there are {all}, and {MACROS})"));
        }
        if name == "matches" {
            let pattern = args.get(usize::from(target.is_none()));
            self.pattern(pattern)?;
        }
        if name == operators::ADD && !self.looping.is_empty() {
            // What is put together would grow with every round.
            let own =
                args.first().is_some_and(|first| matches!(&first.expr, Expr::Ident(name) if name.starts_with('@')));
            if !own {
                return Err("`+` cannot stand inside all, exists, exists_one, map and filter".to_owned());
            }
        }
        if let [operand, key] = args {
            if name == operators::INDEX
                && let Some(text) = literal(key)
            {
                self.looks_for(operand, text);
            }
            severity(name, operand, key)?;
            severity(name, key, operand)?;
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: Option<&IdedExpr>) -> Result<(), String> {
        let Some(text) = pattern.and_then(literal) else {
            return Err("the pattern of matches is written out as a text, such as matches('^web-')".to_owned());
        };
        let built = RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
        let regex = built.map_err(|error| format!("in the pattern of matches: {}", one_line(&error.to_string())))?;
        self.patterns.insert(text.to_owned(), regex);
        Ok(())
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr, depth: usize) -> Result<(), String> {
        if !self.looping.is_empty() {
            return Err("all, exists, exists_one, map and filter cannot stand inside each other".to_owned());
        }
        let bounded = match &comprehension.iter_range.expr {
            Expr::Ident(name) => ["labels", "annotations"].contains(&name.as_str()),
            Expr::List(_) => true,
            _ => false,
        };
        if !bounded {
            return Err(
                "all, exists, exists_one, map and filter go over labels, annotations or a list as written".to_owned()
            );
        }
        self.node(&comprehension.iter_range, depth)?;
        self.looping = vec![comprehension.iter_var.clone(), comprehension.accu_var.clone()];
        self.looping.extend(comprehension.iter_var2.clone());
        let ComprehensionExpr { accu_init, loop_cond, loop_step, result, .. } = comprehension;
        let parts = [accu_init, loop_cond, loop_step, result];
        let checked = parts.into_iter().try_for_each(|part| self.node(part, depth));
        self.looping.clear();
        checked
    }

    fn looks_for(&mut self, operand: &IdedExpr, name: &str) {
        match &operand.expr {
            Expr::Ident(map) if map == "labels" => self.labels.push(name.to_owned()),
            Expr::Ident(map) if map == "annotations" => self.annotations.push(name.to_owned()),
            _ => {}
        }
    }
}

fn literal(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// A severity has four names, and their order as texts means nothing.
fn severity(operator: &str, one: &IdedExpr, other: &IdedExpr) -> Result<(), String> {
    if !matches!(&one.expr, Expr::Ident(name) if name == "severity") {
        return Ok(());
    }
    if ORDERED.contains(&operator) {
        return Err("severities do not compare as texts; write severity in ['critical', 'error']".to_owned());
    }
    let named: Vec<&str> = match (operator, &other.expr) {
        (operators::EQUALS | operators::NOT_EQUALS, _) => literal(other).into_iter().collect(),
        (operators::IN, Expr::List(list)) => list.elements.iter().filter_map(literal).collect(),
        _ => Vec::new(),
    };
    match named.into_iter().find(|name| !Severity::NAMES.contains(name)) {
        Some(wrong) => {
            let hint = hint(wrong, Severity::NAMES.iter().copied());
            Err(format!("severity is one of {}, not {wrong:?}{hint}", Severity::NAMES.join(", ")))
        }
        None => Ok(()),
    }
}

/// Evaluates every part of an expression for an alert that has all it looks for, each label being "1".
struct Trial<'a> {
    facts: Facts<'a>,
}

impl<'a> Trial<'a> {
    fn new(labels: &'a [String], annotations: &'a [String]) -> Self {
        let all = |names: &'a [String]| names.iter().map(|name| (name.as_str(), "1")).chain([("x", "1")]);
        Self { facts: Facts::new(all(labels), all(annotations), Severity::default(), "1", "1") }
    }

    fn run(&self, expression: &Expression) -> Result<(), String> {
        self.part(&expression.tree, expression)?;
        match evaluate(&expression.tree, &expression.context, &self.facts, |value| value.get_type().name().to_owned()) {
            Ok(kind) if kind != "bool" => Err(format!("the expression yields {kind}, not true or false")),
            _ => Ok(()),
        }
    }

    /// Parts on their own, so that one that another cuts short is looked at as well; of a loop only the whole.
    fn part(&self, node: &IdedExpr, expression: &Expression) -> Result<(), String> {
        match &node.expr {
            Expr::Call(call) => {
                let parts = call.target.as_deref().into_iter().chain(&call.args);
                parts.into_iter().try_for_each(|part| self.part(part, expression))?;
            }
            Expr::Select(select) => self.part(&select.operand, expression)?,
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.part(element, expression))?,
            _ => {}
        }
        match evaluate(node, &expression.context, &self.facts, |_| ()) {
            Err(error) if always_fails(&error) => Err(one_line(&error.to_string())),
            _ => Ok(()),
        }
    }
}

/// Faults of the expression itself; others depend on what the alert says.
fn always_fails(error: &ExecutionError) -> bool {
    !matches!(
        error,
        ExecutionError::NoSuchKey(_)
            | ExecutionError::IndexOutOfBounds(_)
            | ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::Overflow(..)
            | ExecutionError::FunctionError { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(text: &str) -> Result<Expression, String> {
        Expressions::new().compile(text)
    }

    fn holds(text: &str, labels: &[(&str, &str)]) -> Result<bool, String> {
        let annotations = [("runbook", "https://example.org/r")];
        let facts =
            Facts::new(labels.iter().copied(), annotations.into_iter(), Severity::Error, "prometheus", "disk is full");
        compile(text).expect(text).holds(&facts)
    }

    #[test]
    fn an_expression_speaks_of_all_that_an_alert_says() {
        let labels = [("host", "web-1"), ("app.kubernetes.io/name", "web"), ("free", "4.5")];
        for text in [
            "true",
            "labels.host == 'web-1' && severity in ['critical', 'error']",
            "labels['app.kubernetes.io/name'] == 'web'",
            "has(labels.host) && !has(labels.team) && 'free' in labels",
            "double(labels.free) < 5.0 && size(labels) == 3",
            "labels.host.matches('^web-[0-9]+$') && matches(source, 'meth')",
            "summary.contains('full') && annotations.runbook.startsWith('https://') && source.endsWith('us')",
            "labels.exists(name, name.startsWith('app.') && labels[name] == 'web')",
            "labels.all(name, size(labels[name]) > 1) && ['web-1', 'web-2'].exists(host, host == labels.host)",
            "labels.filter(name, name == 'host').size() == 1 && kind == 'alert'",
            "severity == 'error' ? labels.host != 'x' : false",
            "labels.team == 'a' || true",
        ] {
            assert_eq!(holds(text, &labels), Ok(true), "{text}");
        }
    }

    #[test]
    fn what_an_alert_lacks_is_an_error_and_not_a_guess() {
        for text in ["labels.team == 'a'", "int(labels.host) > 1", "labels.team != 'a'", "size(labels) / 0 == 1"] {
            assert!(holds(text, &[("host", "web-1")]).is_err(), "{text}");
        }
        assert_eq!(holds("has(labels.team) && labels.team == 'a'", &[]), Ok(false));
    }

    #[test]
    fn what_is_wrong_is_said_when_it_is_read() {
        for (text, said) in [
            ("", "at line 1, character 1"),
            ("labels.host ==", "at line 1, character 15"),
            (
                "lables.host == 'a'",
                "unknown variable \"lables\", did you mean \"labels\"? (there are labels, annotations,",
            ),
            ("false && hots == 'a'", "unknown variable \"hots\""),
            ("summary.startWith('a')", "unknown function \"startWith\", did you mean \"startsWith\"? (there are size,"),
            ("labels.host", "yields string, not true or false"),
            ("size(labels)", "yields int, not true or false"),
            ("severity == 'crit'", "severity is one of critical, error, warning, info, not \"crit\", did you mean"),
            ("severity in ['critical', 'eror']", "not \"eror\", did you mean \"error\"?"),
            ("severity >= 'error'", "severities do not compare as texts"),
            ("'error' < severity", "severities do not compare as texts"),
            ("false && labels.free > 5", "no matching overload"),
            ("labels.host + 1 == 'a'", "Unsupported binary operator"),
            ("labels.host.matches(labels.pattern)", "the pattern of matches is written out"),
            ("labels.host.matches('(')", "in the pattern of matches"),
            ("labels.host.matches('(a{1000}){1000}')", "in the pattern of matches"),
            ("labels.exists(a, labels.exists(b, a == b))", "cannot stand inside each other"),
            ("labels.map(a, labels[a]).exists(b, b == 'x')", "go over labels, annotations or a list"),
            ("labels.map(a, a + a).size() > 1", "`+` cannot stand inside"),
            ("{'a': 1}.size() == 1", "maps and messages"),
            ("google.protobuf.Any{} == 1", "maps and messages"),
            ("size(labels, labels) == 1", "no matching overload"),
            ("dyn(1) == 1", "unknown function \"dyn\""),
            ("int == 1", "unknown variable \"int\""),
        ] {
            let wrong = compile(text).map(|_| ()).expect_err(text);
            assert!(wrong.contains(said), "{text}: {wrong}");
            assert!(!wrong.contains('\n'), "{text}: {wrong}");
        }
        assert!(compile(&format!("true || '{}' == ''", "x".repeat(TEXT_BYTES_MAX))).is_err());
    }

    /// The deepest that is taken, and hostile texts of the greatest length, on the smallest stack that the daemon uses.
    #[test]
    fn no_text_overflows_the_stack_of_a_worker_thread() {
        let long = |part: &str| part.repeat(TEXT_BYTES_MAX / part.len());
        let not = |levels: usize| format!("{}true", "!(".repeat(levels)) + &")".repeat(levels);
        let deepest = (1..NESTING_MAX).rev().map(not).find(|text| compile(text).is_ok()).expect("some depth is taken");
        assert!(deepest.len() > 3 * NESTING_MAX / 2, "{deepest}");
        let hostile: Vec<String> = [
            "(",
            "[",
            "{",
            "!",
            "-",
            "a.",
            "a[",
            "f(",
            "1+",
            "true?1:",
            "true&&",
            "true||",
            "labels.x.",
            "labels.exists(a,",
            "'a'+",
            "x.f().",
            "\"",
            "!(",
            "-(-",
            "size(size(",
            "has(",
            "1 in [",
            "r'",
            "\\",
            "@",
            "1.",
            "0x",
        ]
        .iter()
        .flat_map(|part| [long(part), format!("{}1", long(part)), format!("1{}", long(part))])
        .collect();
        let small_stack = std::thread::Builder::new().stack_size(2 << 20);
        let worker = small_stack.spawn(move || {
            let expression = compile(&deepest).expect("taken a moment ago");
            let facts = Facts::new(std::iter::empty(), std::iter::empty(), Severity::Info, "", "");
            assert!(expression.holds(&facts).is_ok());
            hostile.iter().for_each(|text| drop(compile(text)));
        });
        worker.expect("a thread").join().expect("nothing overflows");
    }
}
