//! `/about/ID`: what is told of a place, as a form.
//!
//! Owns which cells the form means. A cell that is left as it was is no change, however the table writes it: a browser
//! sends line breaks as CR LF, and a cell has LF.

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Failure};
use super::super::elements::{Field, Tone, notice, place_link, problems};
use super::super::forms::{self, Refusal, effective_field, reason_field, typed, was};
use super::super::language::Language;
use super::super::page::page_with;
use super::super::words;
use super::signs::multilingual;
use crate::core::{Tag, date_of};
use crate::registry::{self, MAX_ABOUT, PlaceRef};
use crate::source::{CellChange, Cells, TableName};

pub(in crate::console) fn get(visit: &Visit<'_>, rest: &str) -> Answer {
    Ok(show(visit, visit.registry.place(rest).ok_or(Failure::NotFound)?, None))
}

pub(in crate::console) fn post(visit: &Visit<'_>, rest: &str) -> Answer {
    let place = visit.registry.place(rest).ok_or(Failure::NotFound)?;
    let made = forms::propose(visit, TableName::Places, |cells, _| wanted(visit, place, cells));
    made.unwrap_or_else(|problems| Ok(show(visit, place, Some(&Refusal { fields: &visit.fields, problems }))))
}

/// The texts of a column in each language: the column, the language, and what there is.
fn in_tongues<'v>(
    visit: &'v Visit<'_>,
    word: &str,
    texts: impl Iterator<Item = (&'v str, &'v str)>,
) -> Vec<(String, &'v str, &'v str)> {
    let texts: Vec<(&str, &str)> = texts.collect();
    let text = |tag: &str| texts.iter().find(|(known, _)| *known == tag).map_or("", |(_, text)| *text);
    let tags = visit.registry.languages().iter().map(Tag::as_str);
    multilingual(&visit.registry, word).into_iter().zip(tags).map(|(column, tag)| (column, tag, text(tag))).collect()
}

/// The day as the tables, and `<input type=date>`, write it; empty where it is unknown.
fn compiled(place: PlaceRef<'_>) -> String {
    place.compiled().map_or(String::new(), |day| date_of(day).to_string())
}

/// The cells that the form changes.
fn wanted(visit: &Visit<'_>, place: PlaceRef<'_>, cells: &Cells) -> Vec<CellChange> {
    let compiled = compiled(place);
    let mut known = in_tongues(visit, "namesake", place.namesakes());
    known.extend(in_tongues(visit, "about", place.abouts()));
    known.extend([("source".to_owned(), "", place.source()), ("compiled".to_owned(), "", compiled.as_str())]);
    let mut changes = Vec::new();
    // A form without the field does not empty the cell.
    for (column, _, known) in known.into_iter().filter(|(column, ..)| visit.fields.has(column)) {
        let new = visit.fields.get(&column).replace("\r\n", "\n");
        let old = cells.get(place.id(), &column).map(str::to_owned);
        if new != known && old.as_ref() != Some(&new) {
            changes.push(CellChange {
                table: TableName::Places,
                key: place.id().to_owned(),
                column,
                old,
                new: Some(new),
            });
        }
    }
    changes
}

fn show(visit: &Visit<'_>, place: PlaceRef<'_>, refusal: Option<&Refusal<'_>>) -> super::super::answer::Response {
    let language = visit.language;
    let main = html! {
        section {
            p { (place_link(visit, place)) @if !place.area().is_empty() { " " span.soft { bdi { (place.area()) } } } }
            @if let Some(refusal) = refusal { (problems(language, &refusal.problems)) }
            @match forms::may_not_propose(visit, place.area()) {
                Some(why) => p.soft { (why) },
                None => (form(visit, place, refusal)),
            }
        }
    };
    let status = if refusal.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let title = format!("{}: {}", language.say("Sửa thông tin", "Edit what is told"), place.name_in(language.tag()));
    page_with(visit, status, &title, main)
}

/// What comes of a text, which depends on whether there is a target.
fn shown_where(language: Language, place: PlaceRef<'_>) -> Markup {
    let text = match place.answer() {
        registry::Answer::Target => language.say(
            "Địa điểm có trang đích: khách quét biển được dẫn đến đó. Nội dung dưới đây hiện khi kiểm tra biển (thêm dấu + sau mã), \
             và thay cho trang đích khi không còn trang đích.",
            "The place has a target, and who scans a plate gets there. What stands below is shown where a plate is checked (a + behind \
             its code), and takes the target's place where there is none any more.",
        ),
        registry::Answer::OwnPage | registry::Answer::Neither => language.say(
            "Địa điểm chưa có trang đích: bình thường khách quét biển thấy trang riêng của hệ thống với nội dung dưới đây.",
            "The place has no target: who scans a plate usually gets a page of our own with what stands below.",
        ),
    };
    notice(Tone::Info, "", html! { p { (text) } })
}

fn form(visit: &Visit<'_>, place: PlaceRef<'_>, refusal: Option<&Refusal<'_>>) -> Markup {
    let language = visit.language;
    let most = language.number(MAX_ABOUT as u64);
    let hint = match language {
        Language::Vietnamese => format!("Nhiều nhất {most} ký tự, chỉ là chữ; xuống dòng được giữ nguyên."),
        Language::English => format!("At most {most} characters of plain text; line breaks are kept."),
    };
    let namesake_hint = language.say(
        "Người hoặc sự kiện mà địa điểm mang tên, ghi năm nếu chắc chắn.",
        "The person or event that it is named after, with years where they are sure.",
    );
    let namesakes = in_tongues(visit, "namesake", place.namesakes());
    let abouts = in_tongues(visit, "about", place.abouts());
    let (day, source) = (compiled(place), place.source());
    html! {
        (shown_where(language, place))
        form.form method="post" action=(visit.path) {
            input type="hidden" name="hash" value=(visit.registry.content_hash_text());
            @for ((namesake, tag, name), (about, _, text)) in namesakes.iter().zip(&abouts) {
                fieldset {
                    legend { (words::tongue(language, tag)) }
                    (was(namesake, name))
                    (Field {
                        name: namesake,
                        label: &words::column(language, "namesake"),
                        hint: namesake_hint,
                        value: typed(refusal, namesake, name),
                        lang: tag,
                        ..Field::default()
                    }.line())
                    (was(about, text))
                    (Field {
                        name: about,
                        label: &words::column(language, "about"),
                        hint: &hint,
                        value: typed(refusal, about, text),
                        lang: tag,
                        rows: 10,
                        ..Field::default()
                    }.lines())
                }
            }
            (was("source", source))
            (Field {
                name: "source",
                label: &words::column(language, "source"),
                hint: language.say("Tên sách, hồ sơ; hoặc địa chỉ bắt đầu bằng https://.", "A book, a file; or an address that begins https://."),
                value: typed(refusal, "source", source),
                ..Field::default()
            }.line())
            (was("compiled", &day))
            (Field {
                name: "compiled",
                label: &words::column(language, "compiled"),
                value: typed(refusal, "compiled", &day),
                kind: "date",
                ..Field::default()
            }.line())
            (reason_field(language, typed(refusal, "reason", "")))
            details open[!typed(refusal, "effective", "").is_empty()] {
                summary { (language.say("Hẹn giờ", "At a time")) }
                (effective_field(visit, typed(refusal, "effective", "")))
            }
            (forms::buttons(visit, place.area()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;
    use crate::console::fields::Fields;
    use crate::console::trial::{self, Office, change};
    use TableName::Places;

    /// A place that is told of, in a table with line breaks of Windows and an address that is not as it is sent.
    fn office(areas: &[&str]) -> Office {
        let places = "place,area,name,target,about,source,compiled,name:zh\r\n\
            p1,A,Một,,\"Dòng một.\r\nDòng hai.\",https://langson.gov.vn/đ,14/3/2026,一\r\n\
            p2,B,Hai,https://langson.gov.vn/2,,,,\r\n";
        let tables = crate::source::Sources {
            places: places.into(),
            signs: "code,place,status\nAAAA-1111,p1,active\nBBBB-2222,p2,active\n".into(),
            overrides: Vec::new(),
        };
        Office::open(&tables, Role::Editor, areas)
    }

    fn sent(office: &Office, id: &str, form: &[(&str, &str)]) -> Result<Vec<CellChange>, String> {
        let mut visit = office.visit(&format!("/about/{id}"));
        let hash = visit.registry.content_hash_text();
        let own = [("hash", hash.as_str()), ("action", "submit"), ("reason", "x")];
        visit.fields = Fields {
            list: own.iter().chain(form).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            upload: None,
        };
        let answer = post(&visit, id).expect("a page");
        let Some(to) = answer.headers().get("location") else { return Err(trial::text(Ok(answer))) };
        let number = to.to_str().ok().and_then(|to| to.strip_prefix("/changes/")?.parse().ok()).expect("a number");
        Ok(office.parts.changes.get(number).expect("the set").cells)
    }

    const AS_IT_WAS: [(&str, &str); 6] = [
        ("namesake", ""),
        ("about", "Dòng một.\r\nDòng hai."),
        ("about:zh", ""),
        ("source", "https://langson.gov.vn/%C4%91"),
        ("compiled", "2026-03-14"),
        ("namesake:zh", ""),
    ];

    #[test]
    fn a_form_that_was_not_touched_changes_nothing() {
        let page = sent(&office(&[]), "p1", &AS_IT_WAS).expect_err("nothing is changed");
        assert!(page.contains("Chưa có gì thay đổi"), "{page}");
    }

    #[test]
    fn lines_end_as_in_a_cell_and_a_language_gets_its_column() {
        let office = office(&[]);
        let form = [&AS_IT_WAS[2..], &[("about", "Dòng một.\r\nDòng mới.")]].concat();
        let form: Vec<_> =
            form.into_iter().filter(|(name, _)| *name != "about:zh").chain([("about:zh", "第一行")]).collect();
        let cells = sent(&office, "p1", &form).expect("a set");
        let about = change(Places, "p1", "about", "Dòng một.\r\nDòng hai.", "Dòng một.\nDòng mới.");
        assert_eq!(cells, [about, change(Places, "p1", "about:zh", "", "第一行")]);
        let tables = office.parts.publisher.begin_write().expect("tables").tables.edit(&cells).expect("they fit");
        assert_eq!(
            String::from_utf8_lossy(&tables.places),
            "place,area,name,target,about,source,compiled,name:zh,about:zh\r\n\
             p1,A,Một,,\"Dòng một.\nDòng mới.\",https://langson.gov.vn/đ,14/3/2026,一,第一行\r\n\
             p2,B,Hai,https://langson.gov.vn/2,,,,,\r\n"
        );
    }

    #[test]
    fn what_the_tables_may_not_hold_is_refused_and_shown_again() {
        let long = "ữ".repeat(1001);
        let form = [("about", long.as_str()), ("source", "http://langson.gov.vn/"), ("compiled", "2026-02-30")];
        let page = sent(&office(&[]), "p1", &form).expect_err("it is refused");
        for problem in ["expected at most 1000 characters, found 1001", "begins https://", "expected a date"] {
            assert!(page.contains(problem), "{problem}: {page}");
        }
        assert!(page.contains(&long), "what was typed is there");
    }

    #[test]
    fn a_text_that_no_table_can_hold_is_no_conflict_with_somebody_else() {
        let office = office(&[]);
        for about in ["x".repeat((64 << 10) + 1), "a\0b".to_owned()] {
            let page = sent(&office, "p1", &[("about", &about)]).expect_err("it is refused");
            assert!(page.contains("Giới thiệu: quá dài, hoặc có ký tự không thể ghi vào bảng"), "{page}");
        }
        assert!(office.parts.changes.list(&[], 0, 9).expect("a list").is_empty());
    }

    #[test]
    fn the_last_text_of_a_place_without_a_target_can_not_be_taken_away() {
        let page = sent(&office(&[]), "p1", &[("about", "")]).expect_err("a sign would lead nowhere");
        assert!(page.contains("found neither"), "{page}");
    }

    #[test]
    fn only_who_may_there_gets_the_form() {
        let office = office(&["B"]);
        assert!(sent(&office, "p1", &[("about", "x")]).is_err());
        assert!(office.parts.changes.list(&[], 0, 9).expect("a list").is_empty());
        let page = trial::text(get(&office.visit("/about/p1"), "p1"));
        assert!(!page.contains("<textarea"), "{page}");
        assert!(trial::text(get(&office.visit("/about/p2"), "p2")).contains("<textarea"));
    }
}
