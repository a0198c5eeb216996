//! Every ClickHouse query of every dashboard runs, whatever is chosen and however it is spelled,
//! on a new installation too; it answers with the columns that its panel shows, and reads no
//! months that it does not ask for.

use std::collections::BTreeSet;

use crate::grafana::{Answer, Choice, Dashboard, Origin, Query, Selection, text};
use crate::month::{BUSY, DAY_MS, HOUR_MS, Month};
use crate::support::clickhouse::ClickHouse;
use serde_json::Value;

fn clickhouse_dashboards() -> Vec<Dashboard> {
    let mut dashboards = Dashboard::all();
    dashboards.retain(|dashboard| !dashboard.queries().is_empty());
    assert!(!dashboards.is_empty());
    dashboards
}

/// A dashboard as it is opened, and each other choice on it: one, several, with a quote.
fn selections(engine: &ClickHouse, dashboard: &Dashboard, month: &Month) -> Vec<Selection> {
    let mut opened = Selection::opened(dashboard, month.now - 30 * DAY_MS, month.now);
    let mut others = Vec::new();
    for variable in dashboard.variables() {
        let name = variable["name"].as_str().unwrap();
        let choose = |value: &str| opened.clone().choose(name, Choice::one(value));
        match variable["type"].as_str().unwrap() {
            "datasource" => {}
            "textbox" => others.extend([choose(""), choose("O'Neil")]),
            "custom" => {
                others.extend(
                    variable["options"].as_array().unwrap().iter().map(|option| choose(&text(&option["value"]))),
                );
            }
            "query" => {
                let options: Vec<String> =
                    opened.options(engine, dashboard, name).into_iter().map(|(value, _)| value).collect();
                assert!(!options.is_empty(), "{}.json: {name} has no options", dashboard.name);
                let quoted = options.iter().find(|value| value.contains('\'')).unwrap_or(&options[0]);
                if variable["multi"] == true {
                    others.push(choose(&options[0]));
                    others.push(choose(quoted));
                    let two = Choice::Several(vec![options[options.len() - 1].clone(), quoted.clone()]);
                    others.push(opened.clone().choose(name, two));
                } else {
                    others.push(choose(&options[0]));
                    opened = choose(if options.iter().any(|value| value == BUSY) { BUSY } else { &options[0] });
                }
            }
            kind => panic!("{}.json: a variable of the kind {kind}", dashboard.name),
        }
    }
    [vec![opened], others].concat()
}

fn is_time(kind: &str) -> bool {
    kind.starts_with("DateTime")
}

fn is_number(kind: &str) -> bool {
    let kind = kind.trim_start_matches("Nullable(");
    ["UInt", "Int", "Float", "Decimal"].iter().any(|number| kind.starts_with(number))
}

fn is_string(kind: &str) -> bool {
    kind.contains("String")
}

/// The columns that a panel sees, after its transformations.
pub fn shown_columns(panel: &Value, answer: &Answer) -> Result<Vec<String>, String> {
    let mut columns: Vec<String> = answer.names().into_iter().map(str::to_owned).collect();
    for transformation in panel["transformations"].as_array().into_iter().flatten() {
        let options = &transformation["options"];
        let has = |columns: &[String], name: &str| {
            columns
                .iter()
                .any(|column| column == name)
                .then_some(())
                .ok_or(format!("transforms {name:?}, which is no column"))
        };
        match transformation["id"].as_str().unwrap() {
            "groupingToMatrix" => {
                let fields = ["rowField", "columnField", "valueField"].map(|field| text(&options[field]));
                fields.iter().try_for_each(|field| has(&columns, field))?;
                let unique: BTreeSet<String> = answer.texts(&fields[1]).into_iter().collect();
                columns = [format!("{}\\{}", fields[0], fields[1])].into_iter().chain(unique).collect();
            }
            "organize" => {
                let keys = |of: &str| options[of].as_object().into_iter().flatten();
                for (name, _) in keys("excludeByName").chain(keys("renameByName")).chain(keys("indexByName")) {
                    has(&columns, name)?;
                }
                columns.retain(|column| options["excludeByName"][column] != true);
                let renamed =
                    |column: String| options["renameByName"][&column].as_str().map_or(column.clone(), str::to_owned);
                columns = columns.into_iter().map(renamed).collect();
            }
            id => return Err(format!("has a transformation {id} that this test doesn't know")),
        }
    }
    Ok(columns)
}

/// Columns that a panel names: in overrides, links, axes, layers.
fn named_columns(panel: &Value) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for rule in panel["fieldConfig"]["overrides"].as_array().into_iter().flatten() {
        if rule["matcher"]["id"] == "byName" {
            named.push(text(&rule["matcher"]["options"]));
        }
    }
    let json = panel.to_string();
    for link in json.split("__data.fields").skip(1) {
        let name = link.strip_prefix("[\\\"").and_then(|link| link.split("\\\"]").next());
        let plain = || link.trim_start_matches('.').split(['}', ':']).next().unwrap();
        named.push(name.unwrap_or_else(plain).to_owned());
    }
    named.extend(panel["options"]["xField"].as_str().map(str::to_owned));
    for layer in panel["options"]["layers"].as_array().into_iter().flatten() {
        let (location, style) = (&layer["location"], &layer["config"]["style"]);
        let fields = [&location["latitude"], &location["longitude"], &style["size"]["field"], &style["color"]["field"]];
        named.extend(fields.into_iter().filter_map(Value::as_str).map(str::to_owned));
    }
    named
}

/// Whether an answer is what a panel of its type needs, and why not.
fn fits(query: &Query<'_>, answer: &Answer) -> Result<(), String> {
    let ensure = |right: bool, why: &str| if right { Ok(()) } else { Err(why.to_owned()) };
    let kind_of =
        |name: &str| answer.columns.iter().find(|(column, _)| column == name).map_or("", |(_, kind)| kind.as_str());
    let numbers = answer.columns.iter().filter(|(_, kind)| is_number(kind)).count();
    for (at, (name, kind)) in answer.columns.iter().enumerate().filter(|(_, (_, kind))| is_number(kind)) {
        let is_finite = |row: &Vec<Value>| row[at].is_number() || row[at].is_null();
        ensure(answer.rows.iter().all(is_finite), &format!("a {kind} {name} is not finite: a division by zero"))?;
    }
    if query.origin == Origin::Variable {
        return ensure((1..=2).contains(&answer.columns.len()), "a variable has a value and a text");
    }
    if query.format == 0 {
        // The plugin's server makes a wide frame of it, and an error of no rows.
        let times = answer.columns.first().filter(|(name, kind)| name == "time" && is_time(kind));
        ensure(times.is_some() && numbers > 0, "a time series is `time` and numbers")?;
        let times = answer.texts("time");
        ensure(!times.is_empty(), "a time series of no rows is an error")?;
        ensure(times.windows(2).all(|two| two[0].parse::<f64>().unwrap() <= two[1].parse().unwrap()), "times go up")?;
    }
    if query.origin == Origin::Annotation {
        return ensure(is_time(kind_of("time")) && is_string(kind_of("text")), "an annotation is `time` and `text`");
    }
    let shown = shown_columns(query.owner, answer)?;
    let missing = named_columns(query.owner).into_iter().find(|name| {
        let known = shown.contains(name) || answer.names().contains(&name.as_str());
        // A matrix has the columns that its rows give it.
        !(known || answer.rows.is_empty() && query.owner["transformations"].is_array())
    });
    if let Some(missing) = missing {
        return Err(format!("names {missing:?}, and has {shown:?}"));
    }
    match query.owner["type"].as_str().unwrap() {
        "timeseries" => ensure(query.format == 0, "a time series has format 0"),
        "stat" | "gauge" => ensure(answer.rows.len() <= 1, "a stat is one row"),
        "bargauge" | "piechart" | "barchart" => {
            let named = answer.columns.iter().any(|(_, kind)| is_string(kind) || is_time(kind));
            ensure(named && numbers > 0, "bars are a name and a number")
        }
        "geomap" => {
            let [latitude, longitude] = ["latitude", "longitude"].map(|name| answer.column(name));
            let inside = |values: Vec<&Value>, from: f64, to: f64| {
                values.iter().all(|value| value.as_f64().is_some_and(|value| (from..to).contains(&value)))
            };
            ensure(inside(latitude, 8.0, 24.0) && inside(longitude, 102.0, 118.0), "a place is in Viet Nam")
        }
        "table" => ensure(query.format == 1, "a table has format 1"),
        kind => Err(format!("a panel of the type {kind}, which this test doesn't know")),
    }
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn every_query_runs_for_every_choice_and_has_the_columns_that_its_panel_shows() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    for dashboard in clickhouse_dashboards() {
        for (number, selection) in selections(&engine, &dashboard, &month).into_iter().enumerate() {
            for query in dashboard.queries() {
                let answer = selection.ask(&engine, &query);
                if let Err(why) = fits(&query, &answer) {
                    panic!("{}: {why}\n{:?}\n{selection:?}", query.place(), answer.columns);
                }
                assert!(number > 0 || !answer.rows.is_empty(), "{} shows nothing", query.place());
            }
        }
    }
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_new_installation_shows_no_errors() {
    let engine = ClickHouse::start();
    engine.store(engine.address);
    for dashboard in clickhouse_dashboards() {
        let selection = Selection::opened(&dashboard, 1_790_000_000_000, 1_790_000_000_000 + 30 * DAY_MS);
        for query in dashboard.queries() {
            let answer = selection.ask(&engine, &query);
            if let Err(why) = fits(&query, &answer) {
                panic!("{}: {why}\n{answer:?}", query.place());
            }
        }
    }
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn the_last_hour_is_read_without_the_months_before_it() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    let mut beyond = BTreeSet::new();
    for dashboard in clickhouse_dashboards() {
        let mut selection = selections(&engine, &dashboard, &month).swap_remove(0);
        selection.from = selection.to - HOUR_MS;
        for query in dashboard.queries() {
            let plan = selection.explain(&engine, &query);
            if !reads(&plan, &["scans", "scans_hourly"]).all(leaves_parts_out) {
                beyond.insert((query.dashboard.to_owned(), query.title.to_owned()));
            }
        }
    }
    assert!(beyond.is_empty(), "these read all months: {beyond:?}");
}

/// The parts of a plan that read one of these tables or projections.
fn reads<'p>(plan: &'p str, of: &[&str]) -> impl Iterator<Item = &'p str> {
    let name = |read: &str| read.split(')').next().unwrap().rsplit('.').next().unwrap().to_owned();
    plan.split("ReadFromMergeTree (").skip(1).filter(move |read| of.contains(&name(read).as_str()))
}

/// The months of the parts leave some out; the primary key may do so by chance. Where a condition can't be true
/// nothing is read, and the plan has no parts.
fn leaves_parts_out(read: &str) -> bool {
    if !read.contains("Parts: ") {
        return true;
    }
    let read = read.split("PrimaryKey").next().unwrap();
    // The plan is a drawn tree.
    let lines = read.lines().map(|line| line.trim_start_matches(['│', ' ']));
    let parts = lines.filter_map(|line| line.strip_prefix("Parts: ")?.split_once('/'));
    let parts: Vec<[u32; 2]> = parts.map(|(left, all)| [left, all].map(|number| number.parse().unwrap())).collect();
    parts.first().zip(parts.last()).is_some_and(|([_, all], [left, _])| left < all)
}

/// Panels of one sign that read its rows hour by hour. The projection by_sign has days and languages, by_hour no
/// signs; one for these panels alone would take more than the table (benches/README.md).
const BY_THE_HOUR: [&str; 4] = ["Giờ trong ngày theo thứ trong tuần", "Theo cách mở", "Theo ứng dụng", "Theo quốc gia"];

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn whole_days_are_read_as_they_were_counted_beforehand() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    for (dashboard, excepted) in [("usage", &[][..]), ("sign", &BY_THE_HOUR[..])] {
        let dashboard = Dashboard::load(dashboard);
        let mut selection = selections(&engine, &dashboard, &month).swap_remove(0);
        // Midnight in Viet Nam is 17:00 UTC.
        selection.to = (selection.to + 7 * HOUR_MS).div_euclid(DAY_MS) * DAY_MS - 7 * HOUR_MS;
        selection.from = selection.to - 20 * DAY_MS;
        let mut by_the_hour = BTreeSet::new();
        let mut beforehand = 0;
        for query in dashboard.queries() {
            let plan = selection.explain(&engine, &query);
            let [projections, rows] =
                [&["by_hour", "by_sign"][..], &["scans_hourly"]].map(|of| reads(&plan, of).count());
            beforehand += projections;
            // Beside its whole days a panel reads the hours of a first and a last one, of which there are none here.
            if rows > projections {
                by_the_hour.insert(query.title.to_owned());
            }
        }
        assert!(beforehand > 0, "{}.json reads no projection", dashboard.name);
        assert_eq!(by_the_hour, excepted.iter().map(|&title| title.to_owned()).collect(), "{}.json", dashboard.name);
    }
}

/// What the plugin, or a server of its own time zone, would make something else of.
fn traps(query: &Query<'_>, dashboard: &Dashboard) -> Vec<String> {
    let mut traps = Vec::new();
    let sql = query.sql;
    let variables: Vec<&str> = dashboard.variables().iter().filter_map(|variable| variable["name"].as_str()).collect();
    for call in sql.split("$__conditionalAll(").skip(1) {
        let Some((condition, rest)) = call.split_once(", $") else {
            traps.push("no `, $variable` closes a $__conditionalAll".to_owned());
            continue;
        };
        let name = rest.split(')').next().unwrap();
        if !variables.contains(&name) || !condition.contains(&format!("${{{name}:singlequote}}")) {
            traps.push(format!("{condition}: is not about the variable {name}"));
        }
        let literals = condition.split('\'').skip(1).step_by(2);
        if literals.clone().any(|literal| literal.contains([',', '(', ')'])) {
            traps.push(format!("{condition}: the plugin counts the brackets and commas of a literal"));
        }
        if ["$$", "$&", "$'", "$`"].iter().any(|special| condition.contains(special)) {
            traps.push(format!("{condition}: JavaScript's replace() knows what stands behind this $"));
        }
    }
    for name in variables.iter().filter(|name| !name.ends_with("_datasource")) {
        let plain = sql.match_indices(&format!("${name}")).any(|(at, _)| !sql[..at].ends_with(", "))
            || sql.contains(&format!("${{{name}}}"));
        if plain {
            traps.push(format!("{name} is written without :singlequote, and so without escapes"));
        }
    }
    for (found, why) in [("waypost.", "the data source names the database"), ("SETTINGS", "a reader may change none")] {
        if sql.contains(found) {
            traps.push(format!("{found:?}: {why}"));
        }
    }
    // Before 4.19 the plugin takes what follows, up to a closing bracket, as the argument of a macro
    // that is written without any, and drops it: a filter is gone, and nothing says so.
    for name in ["fromTime", "toTime", "fromTime_ms", "toTime_ms", "interval_s"] {
        let bare = |(at, found): (usize, &str)| !sql[at + found.len()..].starts_with(['(', '_']);
        if sql.match_indices(&format!("$__{name}")).any(bare) {
            traps.push(format!("$__{name} is written without (), and older plugins drop what follows"));
        }
    }
    for table in ["scans", "scans_hourly", "signs"] {
        let after = |word: &str| sql.split(&format!("{word} {table}")).skip(1).any(|rest| !rest.starts_with('_'));
        if after("FROM") || after("JOIN") {
            traps.push(format!("{table} is one shard's on a cluster: there are views of all"));
        }
    }
    if query.format == 0 && !sql.contains("ORDER BY time") {
        traps.push("a time series that is not ordered is refused".to_owned());
    }
    traps
}

#[test]
fn no_query_steps_into_a_known_trap() {
    for dashboard in clickhouse_dashboards() {
        for query in dashboard.queries() {
            assert_eq!(traps(&query, &dashboard), Vec::<String>::new(), "{}\n{}", query.place(), query.sql);
        }
    }
}

#[test]
fn a_link_to_a_dashboard_names_one_and_its_variables() {
    let dashboards = Dashboard::all();
    let mut links = 0;
    for dashboard in &dashboards {
        let json = dashboard.json.to_string();
        for link in json.split("\"/d/").skip(1).map(|link| link.split('"').next().unwrap()) {
            let (uid, query) = link.split_once('?').unwrap_or((link, ""));
            let uid = uid.split('/').next().unwrap();
            let to = dashboards.iter().find(|to| to.json["uid"] == uid);
            let to = to.unwrap_or_else(|| panic!("{}.json: /d/{link} leads nowhere", dashboard.name));
            for name in query.split("var-").skip(1).map(|rest| rest.split('=').next().unwrap()) {
                let known = to.variables().iter().any(|variable| variable["name"] == name);
                assert!(known, "{}.json: /d/{link}: no variable {name}", dashboard.name);
            }
            links += 1;
        }
    }
    assert!(links > 0);
}

#[test]
fn queries_are_expanded_as_grafana_and_the_plugin_do() {
    let json = serde_json::json!({"templating": {"list": [
        {"name": "area", "current": {"value": ["$__all"]}}, {"name": "bots", "current": {"value": "no"}},
    ]}});
    let dashboard = Dashboard { name: "made".to_owned(), json };
    let all = Selection::opened(&dashboard, 1_000_000_999, 2_000_000_500);
    let two = all.clone().choose("area", Choice::several(&["a", "b'c"]));
    let expand =
        |selection: &Selection, sql: &str| selection.expand(sql).unwrap_or_else(|why| format!("refused: {why}"));
    let by_area = "WHERE $__conditionalAll(f(x, 1) IN (${area:singlequote}), $area) AND ${bots:singlequote} = 'no'";
    assert_eq!(expand(&all, by_area), "WHERE 1=1 AND 'no' = 'no'");
    assert_eq!(expand(&two, by_area), r"WHERE f(x, 1) IN ('a','b\'c') AND 'no' = 'no'");
    // Without a format nothing is escaped; an empty choice is All; unknown names stay, and are found.
    assert_eq!(expand(&two, "x IN ($area) AND y = $bots"), "x IN ('a','b'c') AND y = no");
    assert_eq!(expand(&all.clone().choose("area", Choice::one("")), by_area), "WHERE 1=1 AND 'no' = 'no'");
    assert!(expand(&all, "x IN (${area:singlequote})").contains("is All"));
    assert!(expand(&all, "SELECT $other").contains("left after expansion: $other"));
    assert!(expand(&all, "SELECT $__rate(x)").contains("no macro $__rate"));
    // A bracket in a literal, and what JavaScript's replace() makes of `$&`.
    assert!(expand(&two, "$__conditionalAll(x = ')' , $area)").starts_with("refused"));
    assert_eq!(expand(&two, "$__conditionalAll(x = '$$', $area)"), "x = '$'");
    for (sql, expanded) in [
        ("$__timeFilter(ts)", "ts >= toDateTime(1000000) AND ts <= toDateTime(2000000)"),
        (
            "$__timeFilter_ms(ts)",
            "ts >= fromUnixTimestamp64Milli(1000000999) AND ts <= fromUnixTimestamp64Milli(2000000500)",
        ),
        ("h >= f($__fromTime) AND h < $__toTime()", "h >= f(toDateTime(1000000)) AND h < toDateTime(2000000)"),
        ("$__dateFilter(d)", "d >= toDate('1970-01-12') AND d <= toDate('1970-01-24')"),
        ("$__timeInterval(ts)", "toStartOfInterval(toDateTime(ts), INTERVAL 3600 second)"),
        ("$__interval_s()", "3600"),
        ("a -- $__rate's\n= '--' /* $__x */ AND b", "a  \n= '--'   AND b"),
        (r"'it\'s -- ' < $__fromTime()", r"'it\'s -- ' < toDateTime(1000000)"),
    ] {
        assert_eq!(expand(&all, sql), expanded);
    }
}
