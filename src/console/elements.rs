//! Building blocks of the pages.
//!
//! Everything that comes from a table or a person is text here: `maud` escapes it, and `<bdi>` keeps marks that turn
//! the direction of writing inside of it.

use jiff::Timestamp;
use maud::{Markup, html};

use super::Visit;
use super::answer::Failure;
use super::language::{Language, time_text};
use super::words;
use crate::changes::{ChangeSet, State};
use crate::core::{Code, Problems};
use crate::registry::PlaceRef;

/// Items of a list that are shown before the rest is only counted.
const MOST_LINES: usize = 100;

/// How loud a notice is. Each has a word and a sign of its own besides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Something was done, or is good to know.
    Info,
    /// All is well.
    Good,
    /// Something does not work, or wants a look.
    Warning,
    /// Something wants somebody now.
    Danger,
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Danger => "danger",
        }
    }
}

/// A box with a title and what it says; an empty title leaves it out.
pub(super) fn notice(tone: Tone, title: &str, body: Markup) -> Markup {
    html! {
        div class={ "notice " (tone.class()) } {
            @if !title.is_empty() { p.title { (title) } }
            (body)
        }
    }
}

/// All that is wrong with what was entered; nothing where nothing is. It stands above the form and is read out.
pub(super) fn problems(language: Language, list: &[String]) -> Markup {
    html! {
        @if !list.is_empty() {
            div.notice.danger role="alert" {
                p.title { (language.say("Chưa thể gửi, xin sửa:", "This can't be sent yet. Please correct:")) }
                (how_to_read(language, list))
                ul { @for problem in list { li { bdi { (problem) } } } }
            }
        }
    }
}

/// How a line of the check of the tables is read, above such lines: they are the same as in the log and in `waypost check`,
/// in English. Nothing in English, or where there is none.
pub(super) fn how_to_read<T: AsRef<str>>(language: Language, list: &[T]) -> Markup {
    let is_one = |line: &T| line.as_ref().contains("expected ");
    html! {
        @if language == Language::Vietnamese && list.iter().any(is_one) {
            p.soft {
                "Mỗi dòng bằng tiếng Anh là một lỗi trong bảng: tên tệp, số dòng, tên cột; sau chữ “expected” là giá trị được phép, \
                 sau chữ “found” là giá trị đang có."
            }
        }
    }
}

/// Problems, a line each.
pub(super) fn texts(problems: &Problems) -> Vec<String> {
    problems.list.iter().map(ToString::to_string).collect()
}

/// A list that ends in how many more there are.
pub(super) fn lines(language: Language, items: impl ExactSizeIterator<Item = Markup>) -> Markup {
    let more = items.len().saturating_sub(MOST_LINES);
    html! {
        ul { @for item in items.take(MOST_LINES) { li { (item) } } }
        @if more > 0 { p { (language.say("và", "and")) " " (language.number(more as u64)) " " (language.say("mục khác", "more")) } }
    }
}

/// A text of a table in a cell of its own; a dash where it is empty.
pub(super) fn text_or_dash(text: &str) -> Markup {
    html! { @if text.is_empty() { span.soft { "–" } } @else { bdi { (text) } } }
}

/// One line to type into, with its label, a hint below the label, and what is wrong with it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Field<'t> {
    /// Of the form; the `id` too.
    pub name: &'t str,
    /// Above it.
    pub label: &'t str,
    /// What it has.
    pub value: &'t str,
    /// How it is meant; empty: none.
    pub hint: &'t str,
    /// What is wrong; empty: nothing.
    pub error: &'t str,
    /// `type=`; empty: `text`.
    pub kind: &'t str,
    /// `autocomplete=`; empty: `off`.
    pub autocomplete: &'t str,
    /// Whether the browser insists on it.
    pub is_required: bool,
    /// `lang=` of what it has, whose direction follows from its letters then; empty: that of the page.
    pub lang: &'t str,
    /// Lines that are seen of a text; 0: three.
    pub rows: u8,
}

impl Field<'_> {
    /// As a line, `<input>`.
    pub fn line(&self) -> Markup {
        let kind = if self.kind.is_empty() { "text" } else { self.kind };
        let autocomplete = if self.autocomplete.is_empty() { "off" } else { self.autocomplete };
        self.frame(html! {
            input id=(self.name) name=(self.name) type=(kind) value=(self.value) autocomplete=(autocomplete)
                lang=[self.tongue()] dir=[self.tongue().map(|_| "auto")]
                required[self.is_required] aria-invalid=[self.is_wrong()] aria-describedby=[self.described()]
                // Addresses of pages and codes are no prose.
                spellcheck=[matches!(kind, "url" | "search").then_some("false")];
        })
    }

    /// As lines, `<textarea>`.
    pub fn lines(&self) -> Markup {
        self.frame(html! {
            textarea id=(self.name) name=(self.name) rows=(if self.rows == 0 { 3 } else { self.rows })
                lang=[self.tongue()] dir=[self.tongue().map(|_| "auto")]
                required[self.is_required] aria-invalid=[self.is_wrong()] aria-describedby=[self.described()] { (self.value) }
        })
    }

    /// As a choice of values and what they are called, `<select>`.
    pub fn choice<V: AsRef<str>, T: AsRef<str>>(&self, options: impl IntoIterator<Item = (V, T)>) -> Markup {
        self.frame(html! {
            select id=(self.name) name=(self.name) aria-invalid=[self.is_wrong()] aria-describedby=[self.described()] {
                @for (value, text) in options {
                    option value=(value.as_ref()) selected[value.as_ref() == self.value] { (text.as_ref()) }
                }
            }
        })
    }

    fn tongue(&self) -> Option<&str> {
        (!self.lang.is_empty()).then_some(self.lang)
    }

    fn is_wrong(&self) -> Option<&'static str> {
        (!self.error.is_empty()).then_some("true")
    }

    fn described(&self) -> Option<String> {
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        let error = (!self.error.is_empty()).then(|| format!("{}-error", self.name));
        let ids: Vec<String> = hint.into_iter().chain(error).collect();
        (!ids.is_empty()).then(|| ids.join(" "))
    }

    fn frame(&self, control: Markup) -> Markup {
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                @if !self.hint.is_empty() { p.hint id={ (self.name) "-hint" } { (self.hint) } }
                (control)
                @if !self.error.is_empty() { p.error id={ (self.name) "-error" } { bdi { (self.error) } } }
            }
        }
    }
}

/// A box to tick, with its text beside it.
pub(super) fn tick(name: &str, value: &str, label: Markup, is_ticked: bool) -> Markup {
    html! {
        label.tick { input type="checkbox" name=(name) value=(value) checked[is_ticked]; span { (label) } }
    }
}

/// What a button is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Button {
    /// What the form is for; one for each form.
    Primary,
    /// Everything else.
    Plain,
    /// What can't be taken back, or goes at once.
    Danger,
}

/// A button that sends its form, with a name and a value (an empty name sends none).
pub(super) fn button(button: Button, name: &str, value: &str, text: &str) -> Markup {
    let class = match button {
        Button::Primary => "primary",
        Button::Plain => "plain",
        Button::Danger => "danger",
    };
    html! {
        button class=(class) name=[(!name.is_empty()).then_some(name)] value=[(!name.is_empty()).then_some(value)] {
            (text)
        }
    }
}

/// A table that becomes a card for each row where there is little room: each cell has its heading then. The
/// caption is for those who hear the page; headings are text.
pub(super) fn table(caption: &str, heads: &[&str], rows: impl IntoIterator<Item = Vec<Markup>>) -> Markup {
    // Cards take a table's roles away in some browsers: they are said again.
    html! {
        table.cards role="table" {
            caption.unseen { (caption) }
            thead role="rowgroup" { tr role="row" { @for head in heads { th scope="col" role="columnheader" { (head) } } } }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (at, cell) in row.into_iter().enumerate() {
                            td role="cell" data-label=(heads.get(at).copied().unwrap_or("")) { div { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// Names and values below each other, as on an index card.
pub(super) fn facts(rows: impl IntoIterator<Item = (String, Markup)>) -> Markup {
    html! {
        dl.facts { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } }
    }
}

/// Pages of a list, from 1; the field `page` of the address. Nothing where there is one page.
pub(super) fn pager(visit: &Visit<'_>, page: usize, pages: usize) -> Markup {
    let language = visit.language;
    let to = |page: usize| format!("{}?{}", visit.path, visit.fields.with(&[("page", &page.to_string())]));
    html! {
        @if pages > 1 {
            nav.pager aria-label=(language.say("Các trang", "Pages")) {
                @if page > 1 { a rel="prev" href=(to(page - 1)) { "← " (language.say("Trước", "Previous")) } }
                span { (language.say("Trang", "Page")) " " (page) " / " (pages) }
                @if page < pages { a rel="next" href=(to(page + 1)) { (language.say("Sau", "Next")) " →" } }
            }
        }
    }
}

/// A word in a pill.
pub(super) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (text) } }
}

/// Where a change set is. One that nobody has approved, as it is applied first or needs no approval, does not say so.
pub(super) fn state_badge(language: Language, set: &ChangeSet) -> Markup {
    let tone = match set.state {
        State::Draft | State::Withdrawn => Tone::Info,
        State::Submitted | State::Approved => Tone::Warning,
        State::Applied => Tone::Good,
        State::Refused | State::Conflict => Tone::Danger,
    };
    let is_unapproved = set.state == State::Approved && set.approver.is_none();
    let text = words::change_state(language, set.state);
    badge(tone, if is_unapproved { language.say("chờ áp dụng", "to be applied") } else { text })
}

/// A time in the registry's time zone: `26/11/2026 20:13`.
pub(super) fn time(visit: &Visit<'_>, time: Timestamp) -> Markup {
    html! { time datetime=(time) { (time_text(time, &visit.parts.rules.timezone)) } }
}

/// A time as `<input type=datetime-local>` takes it, in the registry's time zone: `2026-11-26T20:13`.
/// [`Rules::time`](crate::registry::Rules::time) reads it back.
pub(super) fn local_time(visit: &Visit<'_>, time: Timestamp) -> String {
    visit.parts.rules.timezone.to_datetime(time).strftime("%Y-%m-%dT%H:%M").to_string()
}

/// A sign, by its code in groups.
pub(super) fn sign_link(code: Code) -> Markup {
    html! { a.code href={ "/signs/" (code.text()) } { (code.grouped()) } }
}

/// The path of a place's page. (An identifier is letters, digits, `_`, `.` and `-`.)
pub(super) fn place_path(id: &str) -> String {
    let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
    format!("/places/{id}")
}

/// The path of the form with what is told of a place.
pub(super) fn about_path(id: &str) -> String {
    place_path(id).replacen("/places/", "/about/", 1)
}

/// A place, by its name in the page's language.
pub(super) fn place_link(visit: &Visit<'_>, place: PlaceRef<'_>) -> Markup {
    html! { a href=(place_path(place.id())) { bdi { (place.name_in(visit.language.tag())) } } }
}

/// A target, whole, as a link; text where it leads to no web page, as what somebody typed may.
pub(super) fn url_link(url: &str) -> Markup {
    if url.starts_with("https://") || url.starts_with("http://") {
        return html! { a.url href=(url) rel="noreferrer" { bdi { (url) } } };
    }
    html! { bdi.url { (url) } }
}

/// A text of several lines in a language, as it is written.
pub(super) fn prose(tag: &str, text: &str) -> Markup {
    html! { div.prose lang=(tag) dir="auto" { (text) } }
}

/// The names of all accounts, read once for a page.
pub(super) struct People {
    names: Vec<(i64, String)>,
}

impl People {
    /// As they are now, the erased too.
    pub fn of(visit: &Visit<'_>) -> Result<Self, Failure> {
        let mut names: Vec<_> =
            visit.parts.accounts.all()?.into_iter().map(|account| (account.number, account.name)).collect();
        names.sort_unstable_by_key(|(number, _)| *number);
        Ok(Self { names })
    }

    /// Somebody by number; a number that is nobody's is shown as `#7`.
    pub fn person(&self, number: i64) -> Markup {
        match self.names.binary_search_by_key(&number, |(known, _)| *known) {
            Ok(at) => html! { bdi.person { (self.names[at].1) } },
            Err(_) => html! { "#" (number) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_a_table_is_text() {
        let evil = "\"><script>alert(1)</script>\u{202e}";
        let field = Field { name: "x", label: "X", value: evil, error: evil, hint: "h", ..Field::default() };
        for markup in [
            field.line(),
            field.lines(),
            field.choice([(evil, evil)]),
            prose("vi", evil),
            url_link(evil),
            notice(Tone::Info, evil, html! {}),
            problems(Language::English, &[evil.to_owned()]),
        ] {
            let text = markup.into_string();
            assert!(!text.contains("<script") && !text.contains("\"\"") && text.contains("&lt;script&gt;"), "{text}");
        }
        assert_eq!(place_path("a/../b?c"), "/places/a%2F%2E%2E%2Fb%3Fc");
    }

    #[test]
    fn english_lines_are_explained_to_who_reads_vietnamese() {
        let english = "signs.csv:17: code: expected a code that no other sign has, found \"7k3m-9qx5\"".to_owned();
        let explains = |language, line: &String| {
            problems(language, std::slice::from_ref(line)).into_string().contains("sau chữ “expected”")
        };
        assert!(explains(Language::Vietnamese, &english) && !explains(Language::English, &english));
        assert!(!explains(Language::Vietnamese, &"Lý do: cần từ 1 đến 500 ký tự".to_owned()));
    }

    #[test]
    fn a_field_names_what_describes_it() {
        let field = Field { name: "reason", label: "Why", hint: "short", error: "missing", ..Field::default() };
        let text = field.lines().into_string();
        assert!(text.contains("aria-describedby=\"reason-hint reason-error\""), "{text}");
        assert!(text.contains("id=\"reason-hint\"") && text.contains("id=\"reason-error\""), "{text}");
        let text = Field { name: "q", label: "Q", ..Field::default() }.line().into_string();
        assert!(!text.contains("aria-"), "{text}");
    }
}
