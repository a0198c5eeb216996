//! "Point elsewhere": the form of a sign or a place, and the cells that it means.
//!
//! Owns the way from the form to a change set. The form carries the hash of the tables that it was made from: where they have
//! changed since, it is shown again with what was typed, and nothing is made. A target that is left as it was is no
//! change, also where the table writes the same address in another way.

use jiff::Timestamp;
use maud::{Markup, html};
use unicode_normalization::UnicodeNormalization as _;

use super::Visit;
use super::answer::{self, Answer, Failure};
use super::areas::{areas_of, denied};
use super::elements::{Button, Field, Tone, button, local_time, notice, problems};
use super::fields::Fields;
use super::forms::{self, Wish, effective_field, reason_field};
use super::language::Language;
use super::preview::{Preview, World};
use super::tables::tables;
use super::words;
use crate::accounts::Right;
use crate::changes::{Draft, festival};
use crate::core::Code;
use crate::registry::{PlaceRef, SignRef, Status, Targets};
use crate::source::{CellChange, Cells, Sources, TableName};

/// What is pointed elsewhere.
#[derive(Clone, Copy)]
pub(super) enum Subject<'r> {
    Sign(SignRef<'r>),
    Place(PlaceRef<'r>),
}

/// A form that came and could not be taken: its fields, and all that is wrong.
pub(super) struct Refusal<'f> {
    pub fields: &'f Fields,
    pub problems: Vec<String>,
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

/// What a field had when the form was made: `was:` before its name. One that nobody has touched takes the value of
/// today when the form is shown again, so that sending it once more does not undo what somebody else has changed.
fn was(name: &str, current: &str) -> Markup {
    html! { input type="hidden" name={ "was:" (name) } value=(current); }
}

fn is_untouched(fields: &Fields, name: &str) -> bool {
    let was = format!("was:{name}");
    fields.has(&was) && fields.get(&was) == fields.get(name)
}

/// The form; or, for who may not send it, why.
pub(super) fn form(visit: &Visit<'_>, subject: Subject<'_>, refusal: Option<&Refusal<'_>>) -> Markup {
    let language = visit.language;
    let title = language.say("Trỏ sang trang khác", "Point elsewhere");
    let area: String = subject.area().nfc().collect();
    if !visit.account.may(Right::Propose, [area.as_str()].into_iter()) {
        let why = if visit.account.role.has(Right::Propose) {
            language.say("Tài khoản của bạn không phụ trách khu vực này.", "Your account is not for this area.")
        } else {
            language.say(
                "Tài khoản của bạn chỉ được xem. Người soạn có thể đề xuất thay đổi.",
                "Your account may only look. Editors can propose changes.",
            )
        };
        return html! { section { h2 { (title) } p.soft { (why) } } };
    }
    let typed = |name: &str, current: &str| match refusal {
        Some(refusal) if refusal.fields.has(name) && !is_untouched(refusal.fields, name) => {
            refusal.fields.get(name).to_owned()
        }
        _ => current.to_owned(),
    };
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
                details open[!typed("effective", "").is_empty() || !typed("until", "").is_empty() || !typed("from", "").is_empty()] {
                    summary { (language.say("Hẹn giờ, hoặc chỉ trong một thời gian", "At a time, or only for a while")) }
                    (time_fields(visit, &typed))
                }
                (buttons(visit, &area))
            }
        }
    }
}

/// How many signs a place's targets move, so that nobody takes the place for one of its signs.
fn whole_place(visit: &Visit<'_>, place: PlaceRef<'_>) -> String {
    let follows = |sign: &SignRef<'_>| sign.place().id() == place.id() && sign.own_targets().is_none();
    let count = visit.language.number(visit.registry.signs().filter(follows).count() as u64);
    match visit.language {
        Language::Vietnamese => format!(
            "Đổi cho cả địa điểm: {count} biển đi theo trang đích này. Nếu chỉ đổi một biển, hãy mở biển đó ở cuối trang."
        ),
        Language::English => format!(
            "For the whole place: signs that follow these targets: {count}. For one sign alone, open that sign, at the end of this page."
        ),
    }
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

fn buttons(visit: &Visit<'_>, area: &str) -> Markup {
    let language = visit.language;
    html! {
        div.row {
            (button(Button::Primary, "action", "submit", language.say("Gửi duyệt", "Submit for approval")))
            (button(Button::Plain, "action", "draft", language.say("Lưu bản nháp", "Save as a draft")))
        }
        @if visit.account.may(Right::ApplyFirst, [area].into_iter()) {
            (notice(Tone::Warning, language.say("Trang đích đang gây hại?", "Is the page harmful right now?"), html! {
                p {
                    (language.say("Thay đổi được áp dụng ngay và hiện màu đỏ cho mọi người, đến khi người khác xem lại.",
                        "The change is applied at once, and everybody sees it in red until somebody else has reviewed it."))
                }
                (button(Button::Danger, "action", "apply", language.say("Áp dụng ngay, xem lại sau", "Apply now, reviewed after")))
            }))
        }
    }
}

/// Takes the form: a change set and its page, or all that is wrong.
pub(super) fn take(visit: &Visit<'_>, subject: Subject<'_>) -> Result<Answer, Vec<String>> {
    let (language, fields) = (visit.language, &visit.fields);
    let mut wrong = Vec::new();
    let tables = tables_that_serve(visit).map_err(|text| vec![text])?;
    let wish = Wish::read(fields, &visit.parts.rules.timezone, visit.now, language).unwrap_or_else(|(wish, texts)| {
        wrong.extend(texts);
        wish
    });
    let cells = match tables.cells(subject.table()) {
        Ok(cells) => wanted(visit, subject, &cells, &mut wrong),
        Err(problems) => {
            wrong.extend(problems.to_string().lines().map(str::to_owned));
            Vec::new()
        }
    };
    if wrong.is_empty() && cells.is_empty() {
        wrong.push(language.say("Chưa có gì thay đổi.", "Nothing is changed yet.").to_owned());
    }
    let areas = areas_of(&cells, &visit.registry, &tables);
    let right = if fields.get("action") == "apply" { Right::ApplyFirst } else { Right::Propose };
    let denied = denied(&visit.account, right, &areas);
    if !denied.is_empty() {
        let text = language.say("Tài khoản không có quyền này ở khu vực:", "The account has no right to this in:");
        wrong.push(format!("{text} {}", denied.join(", ")));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    // A draft may break a rule: its page says so. Nobody else is asked about one that does.
    let at = wish.effective.filter(|&time| time > visit.now).unwrap_or(visit.now);
    let preview = Preview::of(&cells, &tables, at, &World::of(visit));
    if fields.get("action") != "draft" && !preview.problems.is_empty() {
        return Err(preview.problems.list.iter().map(ToString::to_string).collect());
    }
    let draft = Draft {
        author: visit.account.number,
        reason: wish.reason,
        effective: wish.effective,
        cells,
        undoes: None,
        forced: wish.forced,
    };
    // What loses more signs than is allowed stays a draft, on whose page that is confirmed.
    let action = if preview.shrinks { "draft" } else { fields.get("action") };
    Ok(make(visit, &draft, action))
}

fn make(visit: &Visit<'_>, draft: &Draft, action: &str) -> Answer {
    let parts = visit.parts;
    let number = parts.changes.draft(draft, visit.now)?;
    match action {
        "draft" => {}
        "apply" => parts.apply_first(number, draft.author, visit.now)?,
        _ => parts.submit(number, draft.author, visit.now)?,
    }
    Ok(answer::see_other(&format!("/changes/{number}")))
}

/// The tables, if they are those that serve and those that the form was made from.
fn tables_that_serve(visit: &Visit<'_>) -> Result<Sources, String> {
    let language = visit.language;
    let serves = visit.registry.content_hash_text();
    let tables = tables(visit).map_err(|problems| problems.to_string())?;
    if visit.fields.get("hash") != serves {
        return Err(language
            .say(
                "Bảng đã thay đổi sau khi bạn mở trang này. Xin xem lại giá trị hiện tại rồi gửi lần nữa.",
                "The tables have changed since you opened this page. Please look at the values of today and send it again.",
            )
            .to_owned());
    }
    if tables.content_hash() != visit.registry.content_hash {
        return Err(language
            .say(
                "Bảng trên máy chủ vừa được sửa và chưa có hiệu lực, hoặc đang có lỗi. Xin thử lại sau ít phút.",
                "The tables on the server have just been edited and do not serve yet, or have errors. Please try again in a few minutes.",
            )
            .to_owned());
    }
    Ok(tables)
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

/// A page for what a form made of itself: the set, or the same page again by `again`, with status 422.
pub(super) fn answer_to(
    visit: &Visit<'_>,
    subject: Subject<'_>,
    again: impl FnOnce(Refusal<'_>) -> Answer,
) -> Result<answer::Response, Failure> {
    match take(visit, subject) {
        Ok(answer) => answer,
        Err(problems) => again(Refusal { fields: &visit.fields, problems }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;
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
