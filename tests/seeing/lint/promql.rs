//! As much of PromQL as the rules need: the selectors of an expression, and the functions
//! they are in. Whether an expression is PromQL at all is for `promtool` to say.

use std::fs;
use std::process::Command;

/// A metric as an expression selects it.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector {
    pub metric: String,
    /// The text in its braces, without blanks.
    pub matchers: String,
    /// The text in its brackets: `$__rate_interval`.
    pub range: Option<String>,
    /// The function or operator whose argument it is.
    pub function: String,
}

/// Words that a list of labels follows.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that are no metric.
const WORDS: [&str; 9] = ["and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start"];
const AGGREGATIONS: [&str; 12] =
    ["sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk", "quantile"];

/// The selectors of an expression, in its order.
pub fn selectors(expression: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let mut calls: Vec<&str> = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_alphabetic() || "_:{".contains(first) {
            let (word, after) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
            rest = after.trim_start();
            let opens = rest.starts_with('(');
            if LISTS.contains(&word) {
                rest = if opens { enclosed(rest, ')').1 } else { rest };
            } else if opens {
                calls.push(word);
                rest = &rest[1..];
            } else if !WORDS.contains(&word) && !AGGREGATIONS.contains(&word) {
                let mut selector = Selector {
                    metric: word.to_owned(),
                    matchers: String::new(),
                    range: None,
                    function: calls.last().copied().unwrap_or_default().to_owned(),
                };
                if rest.starts_with('{') {
                    let (matchers, after) = enclosed(rest, '}');
                    selector.matchers = matchers.replace(char::is_whitespace, "");
                    rest = after.trim_start();
                }
                if rest.starts_with('[') {
                    let (range, after) = enclosed(rest, ']');
                    selector.range = Some(range.trim().to_owned());
                    rest = after;
                }
                found.push(selector);
            }
        } else if first == '(' {
            calls.push("");
            rest = &rest[1..];
        } else if first == ')' {
            calls.pop();
            rest = &rest[1..];
        } else if first == '[' {
            rest = enclosed(rest, ']').1;
        } else if is_quote(first) {
            rest = enclosed(rest, first).1;
        } else {
            // A number or a duration is one thing: its letters are no metric.
            let end = if first.is_ascii_digit() { rest.find(|c| !is_word(c) && c != '.') } else { None };
            rest = if first.is_ascii_digit() { &rest[end.unwrap_or(rest.len())..] } else { &rest[first.len_utf8()..] };
        }
        rest = rest.trim_start();
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`')
}

/// What is between the first character and the one that closes it, and what comes after. A
/// closing character within quotes does not close.
fn enclosed(text: &str, close: char) -> (&str, &str) {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match quote {
            _ if escaped => escaped = false,
            Some('"' | '\'') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            None if c == close => return (&text[1..at], &text[at + c.len_utf8()..]),
            None if is_quote(c) => quote = Some(c),
            Some(_) | None => {}
        }
    }
    (&text[1..], "")
}

/// `promtool`'s words against an expression. Grafana's own variables are given a value first.
pub fn parse_errors(expression: &str) -> Option<String> {
    let expression = [("$__rate_interval", "5m"), ("$__interval", "1m"), ("$__range", "1h")]
        .iter()
        .fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    let rule = serde_json::json!({ "record": "dashboard:expression", "expr": expression });
    let rules = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": [rule] }] });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    fs::write(&file, rules.to_string()).unwrap();
    let output = Command::new("promtool").args(["check", "rules"]).arg(&file).output();
    let output = output.expect("promtool is installed by tests/run");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[test]
fn selectors_are_found_with_their_function_and_range() {
    let of = |expression: &str| -> Vec<(String, String, String, String)> {
        let found = selectors(expression).into_iter();
        found.map(|s| (s.function, s.metric, s.matchers, s.range.unwrap_or_default())).collect()
    };
    let one = |f: &str, m: &str, l: &str, r: &str| (f.to_owned(), m.to_owned(), l.to_owned(), r.to_owned());
    assert_eq!(of("up"), [one("", "up", "", "")]);
    assert_eq!(
        of(
            r#"sum by (le, job) (rate(a_total{x="1)}", y =~ "$y"}[$__rate_interval])) / 2.5e3 > bool on(le) b offset 5m"#
        ),
        [one("rate", "a_total", r#"x="1)}",y=~"$y""#, "$__rate_interval"), one("", "b", "", "")]
    );
    assert_eq!(of(r#"{__name__="x"}"#), [one("", "", r#"__name__="x""#, "")]);
    assert_eq!(
        of(
            r#"topk(5, max_over_time(a:b[1h:5m])) or label_replace(c{z="\"}"}, "d", "e", "f", "(.*)") without (g) unless time()"#
        ),
        [one("max_over_time", "a:b", "", "1h:5m"), one("label_replace", "c", r#"z="\"}""#, "")]
    );
    assert_eq!(of("count without(x) (y) and z{} @ start()").len(), 2);
}
