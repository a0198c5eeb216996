//! What the forms that make a change set have in common: why, when, and whether a great loss is meant.
//!
//! Owns those fields and how they are read. All that is wrong with them is told at once, in the page's language.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use maud::Markup;

use super::Visit;
use super::elements::Field;
use super::fields::Fields;
use super::language::Language;

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
