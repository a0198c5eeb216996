//! What the forms that make a change set have in common: why, when, and whether a great loss is meant; and the way from
//! the form of one place or sign to its set.
//!
//! Owns those fields and how they are read. All that is wrong with them is told at once, in the page's language. A form of
//! one row carries the hash of the tables that it was made from: where they have changed since, it is shown again with what
//! was typed, and nothing is made.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use maud::{Markup, html};
use unicode_normalization::UnicodeNormalization as _;

use super::Visit;
use super::answer::{self, Answer};
use super::areas::{areas_of, denied};
use super::elements::{Button, Field, Tone, button, notice, texts};
use super::fields::Fields;
use super::language::Language;
use super::preview::{Preview, World};
use super::tables::tables;
use super::words;
use crate::accounts::Right;
use crate::changes::Draft;
use crate::source::{CellChange, Cells, Sources, TableName};

/// Longest reason or remark, in characters.
pub(super) const MAX_REASON: usize = 500;

/// The fields of a form, as far as they can be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Wish {
    pub reason: String,
    /// `None`: at once.
    pub effective: Option<Timestamp>,
    /// Whether more signs may be lost than `registry.max_shrink` allows.
    pub forced: bool,
}

impl Wish {
    /// Reads `reason`, `effective` (local in the registry's time zone, empty for at once) and `forced`.
    pub fn read(
        fields: &Fields,
        zone: &TimeZone,
        now: Timestamp,
        language: Language,
    ) -> Result<Self, (Self, Vec<String>)> {
        let mut wrong = Vec::new();
        let reason = reason(fields, "reason", language).unwrap_or_else(|text| {
            wrong.push(text);
            String::new()
        });
        let effective = match local_time(fields.get("effective"), zone) {
            Ok(effective) => effective,
            Err(found) => {
                wrong.push(format!("{}: {found:?}", language.say("Thời điểm áp dụng", "Time to apply it")));
                None
            }
        };
        // A time that was chosen a moment ago is taken: it means at once.
        if effective.is_some_and(|time| time < now - 5.minutes()) {
            let text = language.say(
                "Thời điểm áp dụng: phải ở tương lai (để trống nếu áp dụng ngay)",
                "Time to apply it: expected one to come (leave it empty for at once), found one that has passed",
            );
            wrong.push(text.to_owned());
        }
        let wish = Self { reason, effective, forced: fields.has("forced") };
        if wrong.is_empty() { Ok(wish) } else { Err((wish, wrong)) }
    }
}

/// A reason or a remark: 1 to 500 characters.
pub(super) fn reason(fields: &Fields, name: &str, language: Language) -> Result<String, String> {
    let text = fields.get(name);
    match text.chars().count() {
        1..=MAX_REASON => Ok(text.to_owned()),
        found => Err(match language {
            Language::Vietnamese => format!("Lý do: cần từ 1 đến {MAX_REASON} ký tự, hiện có {found}"),
            Language::English => format!("Reason: expected 1 to {MAX_REASON} characters, found {found}"),
        }),
    }
}

/// What `<input type=datetime-local>` sends, in a time zone; `None` where it is empty. The error is what was found.
pub(super) fn local_time<'t>(text: &'t str, zone: &TimeZone) -> Result<Option<Timestamp>, &'t str> {
    if text.is_empty() {
        return Ok(None);
    }
    // A date alone leaves open at which time of the day.
    let time = text.contains(':').then(|| text.parse::<DateTime>().ok()).flatten();
    let time = time.and_then(|time| time.to_zoned_datetime(zone.clone()).ok()).ok_or(text)?;
    Ok(Some(time.timestamp()))
}

/// The field for a reason.
pub(super) fn reason_field(language: Language, value: &str) -> Markup {
    Field {
        name: "reason",
        label: language.say("Lý do", "Reason"),
        hint: language.say("Ngắn gọn; được ghi vào lịch sử.", "In short; it goes into the history."),
        value,
        is_required: true,
        ..Field::default()
    }
    .lines()
}

/// The field for the time at which a set is to be applied.
pub(super) fn effective_field(visit: &Visit<'_>, value: &str) -> Markup {
    let language = visit.language;
    let zone = visit.parts.rules.timezone.iana_name().unwrap_or("");
    let hint = match language {
        Language::Vietnamese => format!("Để trống nếu áp dụng ngay khi được phê duyệt. Múi giờ {zone}."),
        Language::English => format!("Leave it empty for as soon as it is approved. Time zone {zone}."),
    };
    Field {
        name: "effective",
        label: language.say("Thời điểm áp dụng", "When to apply it"),
        hint: &hint,
        kind: "datetime-local",
        value,
        ..Field::default()
    }
    .line()
}

// === The form of one place or sign ===

/// A form that came and could not be taken: its fields, and all that is wrong.
pub(super) struct Refusal<'f> {
    pub fields: &'f Fields,
    pub problems: Vec<String>,
}

/// What a field had when the form was made: `was:` before its name. One that nobody has touched takes the value of
/// today when the form is shown again, so that sending it once more does not undo what somebody else has changed.
pub(super) fn was(name: &str, current: &str) -> Markup {
    html! { input type="hidden" name={ "was:" (name) } value=(current); }
}

fn is_untouched(fields: &Fields, name: &str) -> bool {
    let was = format!("was:{name}");
    fields.has(&was) && fields.get(&was) == fields.get(name)
}

/// What a field shows: what was typed, in a form that is shown again, or else what there is.
pub(super) fn typed<'t>(refusal: Option<&'t Refusal<'_>>, name: &str, current: &'t str) -> &'t str {
    match refusal {
        Some(refusal) if refusal.fields.has(name) && !is_untouched(refusal.fields, name) => refusal.fields.get(name),
        _ => current,
    }
}

/// Why the account may propose nothing in an area; `None`: it may.
pub(super) fn may_not_propose(visit: &Visit<'_>, area: &str) -> Option<&'static str> {
    let (account, language) = (&visit.account, visit.language);
    let area: String = area.nfc().collect();
    if account.may(Right::Propose, [area.as_str()].into_iter()) {
        return None;
    }
    Some(if account.role.has(Right::Propose) {
        language.say("Tài khoản của bạn không phụ trách khu vực này.", "Your account is not for this area.")
    } else {
        language.say(
            "Tài khoản của bạn chỉ được xem. Người soạn có thể đề xuất thay đổi.",
            "Your account may only look. Editors can propose changes.",
        )
    })
}

/// Submit, keep as a draft, and for who may in that area: apply now.
pub(super) fn buttons(visit: &Visit<'_>, area: &str) -> Markup {
    let language = visit.language;
    let area: String = area.nfc().collect();
    html! {
        div.row {
            (button(Button::Primary, "action", "submit", language.say("Gửi duyệt", "Submit for approval")))
            (button(Button::Plain, "action", "draft", language.say("Lưu bản nháp", "Save as a draft")))
        }
        @if visit.account.may(Right::ApplyFirst, [area.as_str()].into_iter()) {
            (notice(Tone::Warning, language.say("Trang đang gây hại?", "Is the page harmful right now?"), html! {
                p {
                    (language.say("Thay đổi được áp dụng ngay và hiện màu đỏ cho mọi người, đến khi người khác xem lại.",
                        "The change is applied at once, and everybody sees it in red until somebody else has reviewed it."))
                }
                (button(Button::Danger, "action", "apply", language.say("Áp dụng ngay, xem lại sau", "Apply now, reviewed after")))
            }))
        }
    }
}

/// Takes such a form: a change set and its page, or all that is wrong. `wanted` gives the cells that it changes, from those
/// of its table, and adds to what is wrong.
pub(super) fn propose(
    visit: &Visit<'_>,
    table: TableName,
    wanted: impl FnOnce(&Cells, &mut Vec<String>) -> Vec<CellChange>,
) -> Result<Answer, Vec<String>> {
    let (language, fields) = (visit.language, &visit.fields);
    let mut wrong = Vec::new();
    let tables = tables_that_serve(visit)?;
    let wish = Wish::read(fields, &visit.parts.rules.timezone, visit.now, language).unwrap_or_else(|(wish, texts)| {
        wrong.extend(texts);
        wish
    });
    let cells = match tables.cells(table) {
        Ok(cells) => wanted(&cells, &mut wrong),
        Err(problems) => {
            wrong.extend(texts(&problems));
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
    // Nobody has changed these cells meanwhile: it is the text that no table can hold.
    let unfit = preview.conflicts.iter().filter(|one| !one.is_ambiguous && one.found == one.change.old);
    let unfit: Vec<String> = unfit
        .map(|conflict| {
            let text = language.say(
                "quá dài, hoặc có ký tự không thể ghi vào bảng",
                "too long, or with a character that a table can't hold",
            );
            format!("{}: {text}", words::column(language, &conflict.change.column))
        })
        .collect();
    if !unfit.is_empty() {
        return Err(unfit);
    }
    if fields.get("action") != "draft" && !preview.problems.is_empty() {
        return Err(texts(&preview.problems));
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
fn tables_that_serve(visit: &Visit<'_>) -> Result<Sources, Vec<String>> {
    let language = visit.language;
    let serves = visit.registry.content_hash_text();
    let tables = tables(visit).map_err(|problems| texts(&problems))?;
    if visit.fields.get("hash") != serves {
        let text = language.say(
            "Bảng đã thay đổi sau khi bạn mở trang này. Xin xem lại giá trị hiện tại rồi gửi lần nữa.",
            "The tables have changed since you opened this page. Please look at the values of today and send it again.",
        );
        return Err(vec![text.to_owned()]);
    }
    if tables.content_hash() != visit.registry.content_hash {
        let text = language.say(
            "Bảng trên máy chủ vừa được sửa và chưa có hiệu lực, hoặc đang có lỗi. Xin thử lại sau ít phút.",
            "The tables on the server have just been edited and do not serve yet, or have errors. Please try again in a few minutes.",
        );
        return Err(vec![text.to_owned()]);
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::trial;

    fn read(query: &str) -> Result<Wish, (Wish, Vec<String>)> {
        let now = "2026-11-26T13:00:00Z".parse().expect("a time");
        Wish::read(&Fields::parse(query), &trial::rules().timezone, now, Language::English)
    }

    #[test]
    fn a_time_is_read_in_the_zone_of_the_registry() {
        let wish = read("reason=new+page&effective=2026-12-01T00%3A00").expect("a wish");
        assert_eq!(wish.effective, Some("2026-11-30T17:00:00Z".parse().expect("a time")));
        assert_eq!(read("reason=x&effective=").expect("a wish"), Wish { reason: "x".to_owned(), ..Wish::default() });
        assert!(read("reason=x&forced=1").expect("a wish").forced);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        for (query, wrong) in [
            ("", 1),
            ("reason=+&effective=soon", 2),
            ("reason=x&effective=2026-12-01", 1),
            ("reason=x&effective=2026-11-26T19:00", 1),
            (&format!("reason={}&effective=2026-02-30T00:00", "x".repeat(501)), 2),
        ] {
            assert_eq!(read(query).expect_err(query).1.len(), wrong, "{query}");
        }
        // Characters, and not bytes.
        assert!(read(&format!("reason={}", "ữ".repeat(500))).is_ok());
    }
}
