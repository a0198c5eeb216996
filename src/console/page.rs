//! The frame of every page: head, navigation, who is signed in, what everybody must see.
//!
//! A page needs no script: what opens and closes is `<details>`, what does something is a form. Nothing of a page
//! is inline style, which the policy of the server forbids. The building blocks of what stands inside are in
//! `elements`.

use hyper::StatusCode;
use maud::{DOCTYPE, Markup, html};

use super::Visit;
use super::answer::{self, Response};
use super::elements::{Tone, how_to_read, notice, time};
use super::language::Language;
use crate::accounts::Right;

/// The style sheet, served at [`style_path`]'s path.
pub(super) const STYLE: &str = include_str!("style.css");

/// FNV-1a, 64 bits: which style sheet it is.
const STYLE_HASH: u64 = {
    let bytes = STYLE.as_bytes();
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
};

/// The address of the style sheet: `/style.css?` and a hash of its text, so that a browser may keep it for ever.
pub(super) fn style_path() -> String {
    format!("/style.css?{STYLE_HASH:016x}")
}

/// A page of somebody who is signed in. The title is text, and its only `h1`.
pub(super) fn page(visit: &Visit<'_>, title: &str, main: Markup) -> Response {
    page_with(visit, StatusCode::OK, title, main)
}

/// The same with a status: `404` for what is not there, `422` for a form that can't be taken.
pub(super) fn page_with(visit: &Visit<'_>, status: StatusCode, title: &str, main: Markup) -> Response {
    let language = visit.language;
    let body = html! {
        a.skip href="#main" { (language.say("Đến nội dung", "Skip to content")) }
        header.top {
            div.bar {
                (brand())
                (whoami(visit))
            }
            (navigation(visit))
        }
        main #main tabindex="-1" {
            (banners(visit))
            h1 { bdi { (title) } }
            (main)
        }
    };
    document(language, status, title, body)
}

/// A page before somebody is signed in. Its switch of the language asks for the same address with `?lang=`.
pub(super) fn bare(language: Language, status: StatusCode, title: &str, main: Markup) -> Response {
    let other = language.other();
    let body = html! {
        header.top {
            div.bar {
                (brand())
                a.plain-link href={ "?lang=" (other.tag()) } lang=(other.tag()) hreflang=(other.tag()) { (other.name()) }
            }
        }
        main.narrow #main {
            h1 { bdi { (title) } }
            (main)
        }
    };
    document(language, status, title, body)
}

fn document(language: Language, status: StatusCode, title: &str, body: Markup) -> Response {
    answer::html(
        status,
        html! {
            (DOCTYPE)
            html lang=(language.tag()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " · Waypost" }
                    link rel="stylesheet" href=(style_path());
                    link rel="icon" href="/favicon.ico" type="image/svg+xml";
                }
                body { (body) }
            }
        },
    )
}

fn brand() -> Markup {
    html! {
        a.brand href="/" {
            svg width="24" height="24" viewBox="0 0 16 16" aria-hidden="true" {
                path fill="currentColor" d="M7 1h2v1h4l2 2-2 2H9v9H7V6H2V2h5z";
            }
            "Waypost"
        }
    }
}

/// Who is signed in, the other language, the way out.
fn whoami(visit: &Visit<'_>) -> Markup {
    let (language, other) = (visit.language, visit.language.other());
    html! {
        div.whoami {
            a.plain-link href="/account" title=(language.say("Tài khoản của tôi", "My account")) {
                bdi { (visit.account.name) }
            }
            // The language is the account's: the form goes where accounts are kept.
            form method="post" action="/account" {
                input type="hidden" name="action" value="language";
                input type="hidden" name="back" value=(visit.path);
                button.plain-link name="language" value=(other.tag()) lang=(other.tag()) { (other.name()) }
            }
            form method="post" action="/logout" {
                button.plain-link { (language.say("Đăng xuất", "Sign out")) }
            }
        }
    }
}

fn navigation(visit: &Visit<'_>) -> Markup {
    let language = visit.language;
    let main = [
        ("/", language.say("Trang đầu", "Home")),
        ("/signs", language.say("Biển", "Signs")),
        ("/places", language.say("Địa điểm", "Places")),
        ("/map", language.say("Bản đồ", "Map")),
        ("/changes", language.say("Đề xuất", "Changes")),
    ];
    let more = [
        (Right::See, "/overrides", language.say("Chuyển hướng tạm thời", "Overrides")),
        (Right::Propose, "/replace", language.say("Tìm và thay", "Find and replace")),
        (Right::Propose, "/import", language.say("Nhập bảng", "Import a table")),
        (Right::See, "/history", language.say("Lịch sử", "History")),
        (Right::ManageAccounts, "/accounts", language.say("Tài khoản", "Accounts")),
    ];
    // What is told of a place is a part of it.
    let here = visit.path.replacen("/about/", "/places/", 1);
    let is_here = |path: &str| {
        here == path || path.len() > 1 && here.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    };
    let link = |path: &str, text: &str| {
        let current = is_here(path).then_some(if here == path { "page" } else { "true" });
        html! { li { a href=(path) aria-current=[current] { (text) } } }
    };
    let is_in_more = more.iter().any(|(_, path, _)| is_here(path));
    html! {
        nav aria-label=(language.say("Chính", "Main")) {
            ul { @for (path, text) in main { (link(path, text)) } }
            details class=[is_in_more.then_some("here")] {
                // "Thêm" alone reads as "add".
                summary { (language.say("Mục khác", "More")) }
                ul {
                    @for (right, path, text) in more {
                        @if visit.account.role.has(right) { (link(path, text)) }
                    }
                }
            }
        }
    }
}

/// What everybody must see, whatever the page: red for what wants somebody now, yellow for what does not work.
fn banners(visit: &Visit<'_>) -> Markup {
    let language = visit.language;
    // The page is shown without them rather than not at all.
    let unreviewed = visit.parts.changes.to_review().unwrap_or_default();
    let state = visit.parts.publisher.state();
    let figures = visit.parts.figures.snapshot();
    let open = visit.parts.publisher.open_elsewhere();
    html! {
        @if !unreviewed.is_empty() {
            (notice(Tone::Danger, language.say("Đã áp dụng trước, chưa ai xem lại", "Applied first, not reviewed yet"), html! {
                ul {
                    @for set in &unreviewed {
                        li {
                            a href={ "/changes/" (set.number) } {
                                (language.say("Đề xuất", "Change set")) " " (set.number) ": " bdi { (set.reason) }
                            }
                            @if let Some(applied) = set.applied { ", " (time(visit, applied)) }
                        }
                    }
                }
            }))
        }
        @if state.from_last_good {
            (notice(Tone::Warning, language.say("Bảng có lỗi, biển chạy theo bản tốt gần nhất", "The tables have errors: signs are served from the last good copy"), html! {
                (first_problems(language, &state.problems))
            }))
        } @else if !state.last_reload_successful {
            (notice(Tone::Warning, language.say("Lần đọc bảng gần nhất không thành công", "The tables could not be taken at the last try"), html! {
                (first_problems(language, &state.problems))
            }))
        }
        @if !open.is_empty() {
            (notice(Tone::Warning, language.say("Bảng đang mở trong chương trình văn phòng", "Tables are open in an office program"), html! {
                ul { @for (file, who) in &open { li { bdi { (file) } @if !who.is_empty() { ": " bdi { (who) } } } } }
                p { (language.say("Nếu người đó lưu tệp, thay đổi áp dụng trong lúc này có thể bị mất.",
                    "If that file is saved there, changes that are applied meanwhile may be lost.")) }
            }))
        }
        @if let Some(problem) = visit.parts.applier.problem() {
            (notice(Tone::Warning, language.say("Chưa áp dụng được thay đổi, hệ thống sẽ thử lại", "Changes can't be applied for now; this is tried again"), html! {
                p { bdi { (problem) } }
            }))
        }
        @if let Some(problem) = &figures.problem {
            (notice(Tone::Warning, language.say("Không lấy được số liệu mới", "There are no newer figures of use"), html! {
                p { (language.say("Biển vẫn hoạt động; số lượt quét trên các trang là của lần lấy trước.",
                    "Signs work as always; the numbers of scans on these pages are older.")) }
                p.soft { bdi { (problem) } }
            }))
        }
    }
}

/// Lines that a banner shows of all problems.
const MOST: usize = 5;

fn first_problems(language: Language, problems: &[String]) -> Markup {
    html! {
        (how_to_read(language, problems))
        ul { @for problem in problems.iter().take(MOST) { li { bdi { (problem) } } } }
        @if problems.len() > MOST {
            p { (language.say("và ", "and ")) (problems.len() - MOST) (language.say(" lỗi khác", " more")) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_brings_nothing_from_elsewhere() {
        for word in ["http:", "https:", "@import", "url("] {
            assert!(!STYLE.contains(word), "{word}");
        }
    }
}
