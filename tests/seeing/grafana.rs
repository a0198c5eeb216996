//! The dashboards, and what Grafana and its ClickHouse plugin (4.20) make of their queries.
//!
//! A query is expanded in their order: the plugin's `$__conditionalAll` in the browser, then
//! Grafana's variables, then the plugin's other macros in the server (`pkg/macros`).
//! The traps are theirs too: the first knows no string literals, and replaces as JavaScript does;
//! the last (github.com/grafana/macropro) knows them, and cuts comments out before.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::clickhouse::ClickHouse;

pub const CLICKHOUSE: &str = "grafana-clickhouse-datasource";

/// One file of `grafana/dashboards`.
pub struct Dashboard {
    /// The file's name without `.json`.
    pub name: String,
    pub json: Value,
}

/// Where a query of a dashboard comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Panel,
    Variable,
    Annotation,
}

/// A ClickHouse query of a dashboard.
pub struct Query<'d> {
    pub dashboard: &'d str,
    pub origin: Origin,
    /// The panel's title, the variable's or the annotation's name.
    pub title: &'d str,
    /// The whole panel, variable or annotation.
    pub owner: &'d Value,
    pub sql: &'d str,
    /// 0: time series, 1: table.
    pub format: u64,
}

impl Query<'_> {
    /// For messages.
    pub fn place(&self) -> String {
        format!("{}.json, {:?} {:?}", self.dashboard, self.origin, self.title)
    }
}

impl Dashboard {
    pub fn load(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards");
        let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        Self { name: name.to_owned(), json: serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}")) }
    }

    pub fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards");
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> = names
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names.iter().map(|name| Self::load(name)).collect()
    }

    /// Every panel that shows something, those inside collapsed rows too.
    pub fn panels(&self) -> Vec<&Value> {
        let top = list(&self.json["panels"]);
        let all = top.flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"])));
        all.filter(|panel| panel["type"] != "row").collect()
    }

    #[track_caller]
    pub fn panel(&self, title: &str) -> &Value {
        let found = self.panels().into_iter().find(|panel| panel["title"] == title);
        found.unwrap_or_else(|| panic!("{}.json has no panel {title:?}", self.name))
    }

    pub fn variables(&self) -> Vec<&Value> {
        list(&self.json["templating"]["list"]).collect()
    }

    /// Every ClickHouse query: of panels, variables and annotations.
    pub fn queries(&self) -> Vec<Query<'_>> {
        let mut queries = Vec::new();
        for panel in self.panels() {
            for target in list(&panel["targets"]).filter(|target| is_clickhouse(target)) {
                queries.push(self.query(Origin::Panel, panel, "title", target));
            }
        }
        for variable in self.variables().into_iter().filter(|v| v["type"] == "query" && is_clickhouse(v)) {
            queries.push(self.query(Origin::Variable, variable, "name", &variable["query"]));
        }
        for annotation in list(&self.json["annotations"]["list"]).filter(|annotation| is_clickhouse(annotation)) {
            queries.push(self.query(Origin::Annotation, annotation, "name", &annotation["target"]));
        }
        queries
    }

    /// The queries of one panel.
    #[track_caller]
    pub fn queries_of(&self, title: &str) -> Vec<Query<'_>> {
        self.panel(title);
        self.queries().into_iter().filter(|query| query.origin == Origin::Panel && query.title == title).collect()
    }

    fn query<'d>(&'d self, origin: Origin, owner: &'d Value, title: &str, query: &'d Value) -> Query<'d> {
        let title = owner[title].as_str().unwrap_or("");
        let sql = query["rawSql"].as_str().unwrap_or_else(|| panic!("{}.json, {title:?}: no rawSql", self.name));
        Query { dashboard: &self.name, origin, title, owner, sql, format: query["format"].as_u64().unwrap_or(1) }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn is_clickhouse(owner: &Value) -> bool {
    owner["datasource"]["type"] == CLICKHOUSE
}

/// What is chosen of a variable.
#[derive(Debug, Clone)]
pub enum Choice {
    All,
    One(String),
    Several(Vec<String>),
}

impl Choice {
    pub fn one(value: &str) -> Self {
        Self::One(value.to_owned())
    }

    pub fn several(values: &[&str]) -> Self {
        Self::Several(values.iter().map(|&value| value.to_owned()).collect())
    }

    /// `current.value.toString()` of JavaScript, by which the plugin knows All.
    fn is_all(&self) -> bool {
        match self {
            Self::All => true,
            Self::One(value) => value.is_empty() || value == "$__all",
            Self::Several(values) => matches!(values.join(",").as_str(), "" | "$__all"),
        }
    }

    /// As Grafana writes it into a query; without a format, as the plugin does.
    fn write(&self, format: Option<&str>) -> Result<String, String> {
        let several = |quote: fn(&str) -> String| match self {
            Self::Several(values) => values.iter().map(|value| quote(value)).collect::<Vec<_>>().join(","),
            Self::One(value) => quote(value),
            Self::All => String::new(),
        };
        match (self, format) {
            // Grafana would write every option: a query of any length.
            (Self::All, _) => Err("is written while it is All: put it into $__conditionalAll".to_owned()),
            (_, Some("singlequote")) => Ok(several(|value| format!("'{}'", value.replace('\'', "\\'")))),
            (_, Some("raw")) | (Self::One(_), None) => Ok(several(str::to_owned)),
            // Nothing is escaped.
            (_, None) => Ok(several(|value| format!("'{value}'"))),
            (_, Some(format)) => Err(format!("has the format {format}, which is not known here")),
        }
    }
}

/// The time range and what is chosen of each variable.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Milliseconds since the Unix epoch.
    pub from: i64,
    pub to: i64,
    /// The width of a point, as Grafana finds it for the panel's width.
    pub interval: Duration,
    values: BTreeMap<String, Choice>,
}

impl Selection {
    /// What a dashboard has when it is opened.
    pub fn opened(dashboard: &Dashboard, from: i64, to: i64) -> Self {
        let choice = |variable: &Value| match &variable["current"]["value"] {
            Value::Array(values) if values.first().is_some_and(|value| value == "$__all") => Choice::All,
            Value::Array(values) => Choice::Several(values.iter().map(text).collect()),
            Value::String(value) if value == "$__all" => Choice::All,
            Value::Null => Choice::One(String::new()),
            value => Choice::One(text(value)),
        };
        let named = |variable: &&Value| (text(&variable["name"]), choice(variable));
        let values = dashboard.variables().iter().map(named).collect();
        Self { from, to, interval: Duration::from_hours(1), values }
    }

    #[track_caller]
    pub fn choose(mut self, name: &str, choice: Choice) -> Self {
        let old = self.values.insert(name.to_owned(), choice);
        assert!(old.is_some(), "the dashboard has no variable {name}");
        self
    }

    /// The SQL that reaches ClickHouse.
    pub fn expand(&self, sql: &str) -> Result<String, String> {
        let sql = self.conditional_all(sql);
        let sql = self.server_macros(&without_comments(&self.variables(&sql)?))?;
        match sql.match_indices('$').find(|(at, _)| sql[at + 1..].starts_with(|c: char| is_word(c) || c == '{')) {
            Some((at, _)) => Err(format!("left after expansion: {}", sql[at..].chars().take(40).collect::<String>())),
            None => Ok(sql),
        }
    }

    /// The plugin's `applyConditionalAll`, from the last to the first.
    fn conditional_all(&self, sql: &str) -> String {
        const MACRO: &str = "$__conditionalAll(";
        let mut sql = sql.to_owned();
        while let Some(at) = sql.rfind(MACRO) {
            let arguments = arguments(&sql[at + MACRO.len()..], false);
            let [condition, variable] = arguments.as_slice() else { return sql };
            let name = variable.trim().trim_start_matches("${").trim_start_matches('$').trim_end_matches('}');
            let all = self.values.get(name).is_some_and(Choice::is_all);
            let phrase = if all { "1=1" } else { condition };
            let replaced = js_replace(&sql, &format!("{MACRO}{condition},{variable})"), phrase);
            if replaced == sql {
                return sql;
            }
            sql = replaced;
        }
        sql
    }

    /// Grafana's `$name`, `${name}` and `${name:format}`; others stay as they are.
    fn variables(&self, sql: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = sql;
        while let Some(at) = rest.find('$') {
            out += &rest[..at];
            let after = &rest[at + 1..];
            let (inner, len) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some((inner, _)) => (inner, inner.len() + 3),
                None => (word(after), word(after).len() + 1),
            };
            let (name, format) = inner.split_once(':').map_or((inner, None), |(name, format)| (name, Some(format)));
            match self.values.get(name) {
                Some(choice) => out += &choice.write(format).map_err(|why| format!("${name} {why}"))?,
                None => out += &rest[at..at + len],
            }
            rest = &rest[at + len..];
        }
        Ok(out + rest)
    }

    fn server_macros(&self, sql: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = sql;
        while let Some(at) = rest.find("$__") {
            out += &rest[..at];
            let name = word(&rest[at + 3..]);
            rest = &rest[at + 3 + name.len()..];
            let mut given = Vec::new();
            if let Some(inner) = rest.strip_prefix('(') {
                given = arguments(inner, true);
                let written = given.iter().map(|argument| argument.len() + 1).sum::<usize>() + 1;
                rest = &rest[written..];
            }
            let given: Vec<&str> = given.iter().map(|argument| argument.trim()).collect();
            out += &self.server_macro(name, &given)?;
        }
        Ok(out + rest)
    }

    fn server_macro(&self, name: &str, arguments: &[&str]) -> Result<String, String> {
        let seconds = |ms: i64| format!("toDateTime({})", ms.div_euclid(1000));
        let millis = |ms: i64| format!("fromUnixTimestamp64Milli({ms})");
        let between = |column: &str, time: &dyn Fn(i64) -> String| {
            format!("{column} >= {} AND {column} <= {}", time(self.from), time(self.to))
        };
        let date = |ms: i64| {
            let day = jiff::Timestamp::from_millisecond(ms).unwrap().strftime("%Y-%m-%d").to_string();
            format!("toDate('{day}')")
        };
        let every = self.interval.as_secs().max(1);
        let every_ms = self.interval.as_millis().max(1);
        Ok(match (name, arguments) {
            ("fromTime", _) => seconds(self.from),
            ("toTime", _) => seconds(self.to),
            ("fromTime_ms", _) => millis(self.from),
            ("toTime_ms", _) => millis(self.to),
            ("interval_s", _) => every.to_string(),
            ("timeFrom", [column]) => format!("{column} >= {}", seconds(self.from)),
            ("timeTo", [column]) => format!("{column} <= {}", seconds(self.to)),
            ("timeFilter", [column]) => between(column, &seconds),
            ("timeFilter_ms", [column]) => between(column, &millis),
            ("dateFilter", [column]) => between(column, &date),
            ("dateTimeFilter" | "dt", [day, time]) => {
                format!("({}) AND ({})", between(day, &date), between(time, &seconds))
            }
            ("timeInterval", [column]) => {
                format!("toStartOfInterval(toDateTime({column}), INTERVAL {every} second)")
            }
            ("timeInterval_ms", [column]) => {
                format!("toStartOfInterval(toDateTime64({column}, 3), INTERVAL {every_ms} millisecond)")
            }
            _ => return Err(format!("no macro $__{name} of {} arguments", arguments.len())),
        })
    }

    /// The answer of a query on the engine.
    #[track_caller]
    pub fn ask(&self, engine: &ClickHouse, query: &Query<'_>) -> Answer {
        let sql = self.expand(query.sql).unwrap_or_else(|why| panic!("{}: {why}", query.place()));
        answer(engine, &sql).unwrap_or_else(|why| panic!("{}: {why}\n{sql}", query.place()))
    }

    /// The answer of a panel that has one query.
    #[track_caller]
    pub fn ask_panel(&self, engine: &ClickHouse, dashboard: &Dashboard, title: &str) -> Answer {
        let queries = dashboard.queries_of(title);
        assert_eq!(queries.len(), 1, "{}.json, panel {title:?}", dashboard.name);
        self.ask(engine, &queries[0])
    }

    /// The options of a variable that is a query, as value and text.
    #[track_caller]
    pub fn options(&self, engine: &ClickHouse, dashboard: &Dashboard, name: &str) -> Vec<(String, String)> {
        let queries = dashboard.queries();
        let query = queries.iter().find(|query| query.origin == Origin::Variable && query.title == name);
        let answer = self.ask(engine, query.unwrap_or_else(|| panic!("{}.json: no variable {name}", dashboard.name)));
        answer.rows.iter().map(|row| (text(&row[0]), text(row.last().unwrap()))).collect()
    }

    /// What the engine plans to read for it.
    #[track_caller]
    pub fn explain(&self, engine: &ClickHouse, query: &Query<'_>) -> String {
        let sql = self.expand(query.sql).unwrap_or_else(|why| panic!("{}: {why}", query.place()));
        let answer = answer(engine, &format!("EXPLAIN indexes = 1 {sql}"));
        let lines = answer.unwrap_or_else(|why| panic!("{}: {why}\n{sql}", query.place()));
        lines.rows.iter().map(|row| text(&row[0]) + "\n").collect()
    }
}

/// Rows, and the names and types of their columns.
#[derive(Debug)]
pub struct Answer {
    pub columns: Vec<(String, String)>,
    pub rows: Vec<Vec<Value>>,
}

impl Answer {
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// All values of a column.
    #[track_caller]
    pub fn column(&self, name: &str) -> Vec<&Value> {
        let at = self.names().iter().position(|&column| column == name);
        let at = at.unwrap_or_else(|| panic!("no column {name:?} in {:?}", self.columns));
        self.rows.iter().map(|row| &row[at]).collect()
    }

    /// All values of a column, as text.
    #[track_caller]
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.column(name).into_iter().map(text).collect()
    }

    /// The sums of one column by the texts of others, which are joined by ` | `. NULL adds nothing.
    #[track_caller]
    pub fn sums(&self, by: &[&str], of: &str) -> BTreeMap<String, u64> {
        let keys: Vec<Vec<String>> = by.iter().map(|name| self.texts(name)).collect();
        let mut sums = BTreeMap::new();
        for (row, value) in self.column(of).into_iter().enumerate().filter(|(_, value)| !value.is_null()) {
            let key = keys.iter().map(|key| key[row].as_str()).collect::<Vec<_>>().join(" | ");
            *sums.entry(key).or_default() += value.as_u64().unwrap_or_else(|| panic!("{of}: {value} is no count"));
        }
        sums
    }
}

/// As the plugin asks: in the data source's database, with the rights of a reader. The session's time
/// zone is one that no dashboard has, so that a query which leans on it shows; times come as seconds.
pub fn answer(engine: &ClickHouse, sql: &str) -> Result<Answer, String> {
    let settings = "default_format=JSONCompact&output_format_json_quote_64bit_integers=0\
        &output_format_json_quote_denormals=1&date_time_output_format=unix_timestamp\
        &session_timezone=Asia/Kathmandu&readonly=1";
    let url = format!("http://{}/?database={}&{settings}", engine.address, engine.database);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_mins(1)))
        .build()
        .into();
    let mut reply = agent.post(url).send(sql.as_bytes()).map_err(|error| error.to_string())?;
    let body = reply.body_mut().read_to_string().map_err(|error| error.to_string())?;
    if !reply.status().is_success() {
        return Err(body);
    }
    let body: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
    let columns = list(&body["meta"]).map(|column| (text(&column["name"]), text(&column["type"]))).collect();
    let rows = list(&body["data"]).map(|row| row.as_array().unwrap().clone()).collect();
    Ok(Answer { columns, rows })
}

/// A text as it is, anything else as JSON.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn word(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// The arguments of a macro, behind its opening bracket; none if it is not closed. Brackets and
/// commas within string literals are passed over, or count like any other.
fn arguments(text: &str, knows_literals: bool) -> Vec<String> {
    let (mut depth, mut start, mut quoted) = (1, 0, false);
    let mut arguments = Vec::new();
    for (at, c) in text.char_indices() {
        quoted ^= knows_literals && c == '\'';
        if quoted {
            continue;
        }
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 || (c == ',' && depth == 1) {
            arguments.push(text[start..at].to_owned());
            start = at + 1;
        }
        if depth == 0 {
            return arguments;
        }
    }
    Vec::new()
}

/// Blanks for `-- …` and `/* … */`, but not within literals.
fn without_comments(sql: &str) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let len = match c {
            '\'' | '"' | '`' => literal_len(rest),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            c => c.len_utf8(),
        };
        let is_comment = rest.starts_with("--") || rest.starts_with("/*");
        out += if is_comment { " " } else { &rest[..len] };
        rest = &rest[len..];
    }
    out
}

/// The length of the literal that a text begins with: to the same quote, unless a backslash escapes it.
fn literal_len(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|&(_, c)| {
        let ends = !escaped && text.starts_with(c);
        escaped = !escaped && c == '\\';
        ends
    });
    end.map_or(text.len(), |(at, quote)| at + quote.len_utf8())
}

/// JavaScript's `text.replace(pattern, replacement)`: the first one, and `$&` and its like in the
/// replacement mean something.
fn js_replace(text: &str, pattern: &str, replacement: &str) -> String {
    let Some((before, after)) = text.split_once(pattern) else { return text.to_owned() };
    let mut out = before.to_owned();
    let mut rest = replacement;
    while let Some(at) = rest.find('$') {
        out += &rest[..at];
        let meant = match rest.as_bytes().get(at + 1) {
            Some(b'$') => Some("$"),
            Some(b'&') => Some(pattern),
            Some(b'`') => Some(before),
            Some(b'\'') => Some(after),
            _ => None,
        };
        out += meant.unwrap_or("$");
        rest = &rest[at + 1 + usize::from(meant.is_some())..];
    }
    out + rest + after
}
