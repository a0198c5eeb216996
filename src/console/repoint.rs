//! "Point elsewhere": the form of a sign or a place, and the cells that it means.
//!
//! Owns what the form means. A target that is left as it was is no change, also where the table writes the same address in
//! another way.

use jiff::Timestamp;
use maud::{Markup, html};

use super::Visit;
use super::answer::Answer;
use super::elements::{Field, local_time, problems};
use super::forms::{self, Refusal, effective_field, reason_field, was};
use super::language::Language;
use super::words;
use crate::changes::festival;
use crate::core::Code;
use crate::registry::{self, PlaceRef, SignRef, Status, Targets};
use crate::source::{CellChange, Cells, TableName};

/// What is pointed elsewhere.
#[derive(Clone, Copy)]
pub(super) enum Subject<'r> {
    Sign(SignRef<'r>),
    Place(PlaceRef<'r>),
}

impl<'r> Subject<'r> {
    pub const fn table(self) -> TableName {
        match self {
            Self::Sign(_) => TableName::Signs,
            Self::Place(_) => TableName::Places,
        }
    }

    /// Of its row.
    pub fn key(self) -> String {
        match self {
            Self::Sign(sign) => sign.code().text().to_string(),
            Self::Place(place) => place.id().to_owned(),
        }
    }

    fn area(self) -> &'r str {
        match self {
            Self::Sign(sign) => sign.place().area(),
            Self::Place(place) => place.area(),
        }
    }

    /// The targets that the form shows: of its own row, or those of its place that a sign without any leads to.
    fn targets(self) -> Targets<'r> {
        match self {
            Self::Sign(sign) => sign.own_targets().unwrap_or_else(|| sign.place().targets()),
            Self::Place(place) => place.targets(),
        }
    }

    /// Whether what the form shows is the place's, and not the sign's own.
    fn follows_its_place(self) -> bool {
        matches!(self, Self::Sign(sign) if sign.own_targets().is_none())
    }
}

/// Columns of targets, with their languages, the default's first.
fn columns<'v>(visit: &'v Visit<'_>) -> impl Iterator<Item = (String, &'v str)> {
    let languages = visit.registry.languages().iter().enumerate();
    languages.map(|(at, tag)| (if at == 0 { "target".to_owned() } else { format!("target:{tag}") }, tag.as_str()))
}

/// What the form shows for a language.
fn current<'r>(subject: Subject<'r>, tag: &str) -> &'r str {
    subject.targets().iter().find(|target| target.language == tag).map_or("", |target| target.url)
}

/// The form; or, for who may not send it, why.
pub(super) fn form(visit: &Visit<'_>, subject: Subject<'_>, refusal: Option<&Refusal<'_>>) -> Markup {
    let language = visit.language;
    let title = language.say("Trỏ sang trang khác", "Point elsewhere");
    if let Some(why) = forms::may_not_propose(visit, subject.area()) {
        return html! { section { h2 { (title) } p.soft { (why) } } };
    }
    let typed = |name: &str, current: &str| forms::typed(refusal, name, current).to_owned();
    let all_of_place;
    let hint = match subject {
        Subject::Place(place) => {
            all_of_place = whole_place(visit, place);
            all_of_place.as_str()
        }
        Subject::Sign(_) if subject.follows_its_place() => language.say(
            "Hiện theo địa điểm. Nếu sửa, biển này có trang đích riêng và không đi theo địa điểm nữa.",
            "That of its place. Once it is changed, this sign has a target of its own and no longer follows the place.",
        ),
        Subject::Sign(_) => language.say(
            "Trang đích riêng của biển này. Để trống mọi ô: lại theo địa điểm.",
            "This sign's own. With all of them empty it follows its place again.",
        ),
    };
    html! {
        section #point-elsewhere {
            h2 { (title) }
            @if let Some(refusal) = refusal { (problems(language, &refusal.problems)) }
            form.form method="post" action=(visit.path) {
                input type="hidden" name="hash" value=(visit.registry.content_hash_text());
                @for (column, tag) in columns(visit) {
                    (was(&column, current(subject, tag)))
                    (Field {
                        name: &column,
                        label: &words::column(language, &if column == "target" { format!("target:{tag}") } else { column.clone() }),
                        value: &typed(&column, current(subject, tag)),
                        hint: if column == "target" { hint } else { "" },
                        kind: "url",
                        ..Field::default()
                    }.line())
                }
                @if let Subject::Sign(sign) = subject { (status_fields(language, sign, &typed)) }
                (reason_field(language, &typed("reason", "")))
                details open[["effective", "until", "from"].into_iter().any(|name| !typed(name, "").is_empty())] {
                    summary { (language.say("Hẹn giờ, hoặc chỉ trong một thời gian", "At a time, or only for a while")) }
                    (time_fields(visit, &typed))
                }
                (forms::buttons(visit, subject.area()))
            }
        }
    }
}

/// How many signs a place's targets move, so that nobody takes the place for one of its signs; and what they are answered
/// with where there is no target.
fn whole_place(visit: &Visit<'_>, place: PlaceRef<'_>) -> String {
    let language = visit.language;
    let follows = |sign: &SignRef<'_>| sign.place().id() == place.id() && sign.own_targets().is_none();
    let count = language.number(visit.registry.signs().filter(follows).count() as u64);
    let all = match language {
        Language::Vietnamese => format!(
            "Đổi cho cả địa điểm: {count} biển đi theo trang đích này. Nếu chỉ đổi một biển, hãy mở biển đó ở cuối trang."
        ),
        Language::English => format!(
            "For the whole place: signs that follow these targets: {count}. For one sign alone, open that sign, at the end of this page."
        ),
    };
    let empty = match place.answer() {
        registry::Answer::OwnPage => language.say(
            "Khi chưa có trang đích, khách thấy trang riêng của hệ thống; trang đích, khi được nhập, sẽ thay trang đó.",
            "Without a target visitors see a page of our own; a target takes over as soon as there is one.",
        ),
        registry::Answer::Target if place.abouts().len() > 0 => language.say(
            "Để trống mọi ô: khách thấy trang riêng của hệ thống, với nội dung giới thiệu của địa điểm.",
            "With all of them empty visitors see a page of our own, with the text about the place.",
        ),
        registry::Answer::Target | registry::Answer::Neither => return all,
    };
    format!("{all} {empty}")
}

fn status_fields(language: Language, sign: SignRef<'_>, typed: &impl Fn(&str, &str) -> String) -> Markup {
    let statuses = Status::ALL.into_iter().map(|status| (status.as_str(), words::status(language, status)));
    let successor = sign.successor().map_or(String::new(), |sign| sign.code().grouped().to_string());
    html! {
        details open[typed("status", sign.status().as_str()) != sign.status().as_str()] {
            summary { (language.say("Tình trạng của biển", "Status of the sign")) }
            div.stack {
                (was("status", sign.status().as_str()))
                (was("successor", &successor))
                (Field {
                    name: "status",
                    label: language.say("Tình trạng", "Status"),
                    value: &typed("status", sign.status().as_str()),
                    ..Field::default()
                }.choice(statuses))
                (Field {
                    name: "successor",
                    label: language.say("Mã của biển thay thế", "Code of its successor"),
                    value: &typed("successor", &successor),
                    hint: language.say("Chỉ khi biển ngừng sử dụng; có thể để trống.", "Only for a retired sign; may be empty."),
                    ..Field::default()
                }.line())
            }
        }
    }
}

fn time_fields(visit: &Visit<'_>, typed: &impl Fn(&str, &str) -> String) -> Markup {
    let language = visit.language;
    html! {
        div.stack {
            (effective_field(visit, &typed("effective", "")))
            fieldset {
                legend { (language.say("Chuyển hướng tạm thời", "Only for a while")) }
                p.hint {
                    (language.say("Nếu ghi thời điểm kết thúc, các trang đích ở trên chỉ có hiệu lực đến lúc đó, rồi biển tự trở về trang cũ.",
                        "With an end, the targets above hold until then; afterwards signs lead to the old page again by themselves."))
                }
                div.pair {
                    (Field { name: "from", label: language.say("Từ (để trống: ngay)", "From (empty: at once)"), value: &typed("from", ""), kind: "datetime-local", ..Field::default() }.line())
                    (Field { name: "until", label: language.say("Đến", "Until"), value: &typed("until", ""), kind: "datetime-local", ..Field::default() }.line())
                }
            }
        }
    }
}

/// Takes the form: a change set and its page, or all that is wrong.
pub(super) fn take(visit: &Visit<'_>, subject: Subject<'_>) -> Result<Answer, Vec<String>> {
    forms::propose(visit, subject.table(), |cells, wrong| wanted(visit, subject, cells, wrong))
}

/// The cells that the form changes. What is wrong is added to `wrong`.
fn wanted(visit: &Visit<'_>, subject: Subject<'_>, cells: &Cells, wrong: &mut Vec<String>) -> Vec<CellChange> {
    let (language, fields) = (visit.language, &visit.fields);
    let key = subject.key();
    let mut changes = Vec::new();
    let mut change = |column: &str, new: &str| {
        let old = cells.get(&key, column).map(str::to_owned);
        if old.as_deref() != Some(new) {
            let (table, key, column) = (subject.table(), key.clone(), column.to_owned());
            changes.push(CellChange { table, key, column, old, new: Some(new.to_owned()) });
        }
    };
    let mut targets = Vec::new();
    // A form without the field does not empty the cell.
    let differs = |(column, tag): (String, &str)| fields.has(&column) && fields.get(&column) != current(subject, tag);
    let is_for_a_while = !fields.get("until").is_empty() || !fields.get("from").is_empty();
    let has_changed = columns(visit).any(differs);
    // A sign that gets targets of its own gets one for each language, or visitors of the others would lose theirs.
    let takes_all = subject.follows_its_place() && has_changed;
    for (column, tag) in columns(visit) {
        let typed = fields.get(&column);
        if !typed.is_empty() {
            match visit.parts.rules.target(typed) {
                Ok(_) => targets.push((column.clone(), typed.to_owned())),
                Err(error) => wrong.push(format!(
                    "{}: {}",
                    words::column(language, &column),
                    words::target_problem(language, &error)
                )),
            }
        }
        if !is_for_a_while && (takes_all && fields.has(&column) || differs((column.clone(), tag))) {
            change(&column, typed);
        }
    }
    if let Subject::Sign(_) = subject
        && fields.has("status")
    {
        let status = fields.get("status");
        if Status::ALL.iter().any(|known| known.as_str() == status) {
            change("status", status);
        } else {
            wrong.push(format!("{}: {status:?}", words::column(language, "status")));
        }
        let successor = fields.get("successor");
        match (successor.is_empty(), Code::parse(successor.as_bytes())) {
            (true, _) => change("successor", ""),
            (false, Ok(code)) if visit.registry.sign(code).is_some() => {
                // Another spelling of the same code is no change.
                let is_same =
                    cells.get(&key, "successor").and_then(|old| Code::parse(old.as_bytes()).ok()) == Some(code);
                if !is_same {
                    change("successor", &code.grouped());
                }
            }
            (false, _) => wrong.push(format!(
                "{}: {} {successor:?}",
                words::column(language, "successor"),
                language.say("không có biển nào mang mã", "no sign has the code")
            )),
        }
    }
    if is_for_a_while {
        changes.extend(for_a_while(visit, subject, &targets, wrong));
    }
    changes
}

/// The row of an override, from and until a time.
fn for_a_while(
    visit: &Visit<'_>,
    subject: Subject<'_>,
    targets: &[(String, String)],
    wrong: &mut Vec<String>,
) -> Vec<CellChange> {
    let (language, zone) = (visit.language, &visit.parts.rules.timezone);
    let mut time = |name: &str| {
        forms::local_time(visit.fields.get(name), zone).unwrap_or_else(|found| {
            wrong.push(format!("{}: {found:?}", words::column(language, name)));
            None
        })
    };
    let (from, until): (Option<Timestamp>, Option<Timestamp>) = (time("from"), time("until"));
    let from = from.unwrap_or(visit.now);
    match until {
        None => wrong.push(
            language
                .say("Chuyển hướng tạm thời: thiếu thời điểm kết thúc", "Only for a while: the end is missing")
                .to_owned(),
        ),
        Some(until) if until <= from.max(visit.now) => wrong.push(
            language
                .say(
                    "Chuyển hướng tạm thời: thời điểm kết thúc phải sau khi bắt đầu và ở tương lai",
                    "Only for a while: the end must be after the start, and to come",
                )
                .to_owned(),
        ),
        Some(_) => {}
    }
    if targets.first().is_none_or(|(column, _)| column != "target") {
        wrong.push(
            language
                .say(
                    "Chuyển hướng tạm thời: cần trang đích của ngôn ngữ mặc định",
                    "Only for a while: a target in the default language is needed",
                )
                .to_owned(),
        );
    }
    let Some(until) = until else { return Vec::new() };
    let text = |time| local_time(visit, time);
    festival(&[subject.key()], &text(from), &text(until), targets, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;
    use crate::console::fields::Fields;
    use crate::console::trial::{self, Office, change};
    use TableName::{Overrides, Places, Signs};

    /// What the form of a sign or a place makes: cells, or what is wrong.
    fn sent(office: &Office, path: &str, form: &str) -> Result<Vec<CellChange>, Vec<String>> {
        let mut visit = office.visit(path);
        let hash = visit.registry.content_hash_text();
        visit.fields = Fields::parse(&format!("hash={hash}&action=draft&{form}"));
        let registry = visit.registry.clone();
        let subject = match path.split_once('/').expect("two parts") {
            ("signs", code) => Subject::Sign(registry.sign(code.parse().expect("a code")).expect("a sign")),
            (_, id) => Subject::Place(registry.place(id).expect("a place")),
        };
        let answer = take(&visit, subject)?.expect("a set");
        let to = answer.headers()["location"].to_str().expect("a path").to_owned();
        let number = to.strip_prefix("/changes/").and_then(|number| number.parse().ok()).expect("a number");
        Ok(office.parts.changes.get(number).expect("the set").cells)
    }

    const OLD: &str = "target=https://langson.gov.vn/1&target:en=https://langson.gov.vn/en/1";

    #[test]
    fn only_what_was_changed_is_in_the_set() {
        let office = Office::open(&trial::tables(), Role::Editor, &[]);
        let form = "target=https://langson.gov.vn/new&target:en=https://langson.gov.vn/en/1&reason=x";
        let cells = sent(&office, "places/p1", form).expect("cells");
        assert_eq!(cells, [change(Places, "p1", "target", "https://langson.gov.vn/1", "https://langson.gov.vn/new")]);
        let wrong = sent(&office, "places/p1", &format!("{OLD}&reason=x")).expect_err("nothing is changed");
        assert_eq!(wrong.len(), 1, "{wrong:?}");
    }

    #[test]
    fn a_place_says_how_many_signs_it_moves() {
        let office = Office::open(&trial::tables(), Role::Editor, &[]);
        let visit = office.visit("/places/p1");
        let place = visit.registry.place("p1").expect("a place");
        // The other of its two signs has a target of its own.
        assert!(form(&visit, Subject::Place(place), None).into_string().contains("cả địa điểm: 1 biển"));
    }

    #[test]
    fn a_sign_that_leaves_its_place_keeps_a_page_for_each_language() {
        let office = Office::open(&trial::tables(), Role::Editor, &[]);
        let form = "target=https://langson.gov.vn/new&target:en=https://langson.gov.vn/en/1&reason=x";
        let cells = sent(&office, "signs/AAAA1111", form).expect("cells");
        let one = |column, new| change(Signs, "AAAA1111", column, "", new);
        assert_eq!(
            cells,
            [one("target", "https://langson.gov.vn/new"), one("target:en", "https://langson.gov.vn/en/1")]
        );
    }

    #[test]
    fn a_status_is_a_cell_like_any_other() {
        let office = Office::open(&trial::tables(), Role::Editor, &[]);
        let form = format!("{OLD}&reason=x&status=retired&successor=aaaa+2222");
        let cells = sent(&office, "signs/AAAA1111", &form).expect("cells");
        assert_eq!(
            cells,
            [
                change(Signs, "AAAA1111", "status", "active", "retired"),
                change(Signs, "AAAA1111", "successor", "", "AAAA-2222")
            ]
        );
    }

    #[test]
    fn what_would_break_a_rule_stays_with_its_author() {
        let office = Office::open(&trial::tables(), Role::Editor, &[]);
        let mut visit = office.visit("/places/p1");
        let registry = visit.registry.clone();
        let subject = Subject::Place(registry.place("p1").expect("a place"));
        let mut send = |action: &str| {
            let hash = registry.content_hash_text();
            // The page in the default language is missing.
            let form = format!("hash={hash}&target=&target:en=https://langson.gov.vn/en/1&reason=x&action={action}");
            visit.fields = Fields::parse(&form);
            take(&visit, subject).map(|answer| answer.is_ok())
        };
        for action in ["submit", "apply"] {
            // Who may not apply first is told that as well.
            assert!(send(action).is_err(), "{action}");
        }
        assert!(office.parts.changes.list(&[], 0, 9).expect("a list").is_empty());
        assert_eq!(send("draft"), Ok(true));
    }

    #[test]
    fn for_a_while_is_a_row_of_the_overrides() {
        let office = Office::open(&trial::tables(), Role::Editor, &[]);
        let form = "target=https://langson.gov.vn/tet&reason=x&from=2027-02-01T08:00&until=2027-02-10T00:00";
        let cells = sent(&office, "places/p2", form).expect("cells");
        assert!(cells.iter().all(|cell| cell.table == Overrides && cell.key == "p2 2027-02-01T08:00"), "{cells:?}");
        let cell = |column: &str| cells.iter().find(|cell| cell.column == column).and_then(|cell| cell.new.as_deref());
        assert_eq!([cell("until"), cell("target")], [Some("2027-02-10T00:00"), Some("https://langson.gov.vn/tet")]);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_nothing_is_made() {
        let office = Office::open(&trial::tables(), Role::Editor, &[]);
        let form = "target=https://evil.example/&target:en=x&reason=&until=2020-01-01T00:00&status=gone&successor=ZZZZ";
        let wrong = sent(&office, "signs/AAAA1111", form).expect_err("much is wrong");
        assert_eq!(wrong.len(), 7, "{wrong:#?}");
        assert!(office.parts.changes.list(&[crate::changes::State::Draft], 0, 9).expect("a list").is_empty());
    }

    #[test]
    fn a_form_of_older_tables_is_shown_again_and_undoes_nothing() {
        let office = Office::open(&trial::tables(), Role::Editor, &[]);
        let mut visit = office.visit("/places/p1");
        // The English page has been changed by somebody else since.
        visit.fields = Fields::parse(
            "hash=0000000000000000&was:target=https://langson.gov.vn/1&target=https://langson.gov.vn/new&\
             was:target:en=https://langson.gov.vn/stale&target:en=https://langson.gov.vn/stale&reason=x",
        );
        let registry = visit.registry.clone();
        let subject = Subject::Place(registry.place("p1").expect("a place"));
        let problems = take(&visit, subject).expect_err("another hash");
        assert_eq!(problems.len(), 1);
        let again = form(&visit, subject, Some(&Refusal { fields: &visit.fields, problems })).into_string();
        assert!(again.contains("value=\"https://langson.gov.vn/new\""), "{again}");
        assert!(again.contains("value=\"https://langson.gov.vn/en/1\"") && !again.contains("stale"), "{again}");
    }

    #[test]
    fn who_may_not_sees_no_form_and_can_send_none() {
        for (role, areas) in [(Role::Viewer, &[][..]), (Role::Editor, &["B"][..])] {
            let office = Office::open(&trial::tables(), role, areas);
            let wrong = sent(&office, "places/p1", "target=https://langson.gov.vn/new&reason=x");
            assert!(wrong.is_err(), "{role:?}");
            let visit = office.visit("/places/p1");
            let place = visit.registry.place("p1").expect("a place");
            assert!(!form(&visit, Subject::Place(place), None).into_string().contains("<form"), "{role:?}");
        }
    }
}
