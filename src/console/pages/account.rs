//! `/account`: one's own password, second factor, sessions, language.
//!
//! Where a proxy signs people in, password and second factor are the proxy's, and not here.

use std::time::Instant;

use hyper::StatusCode;
use maud::{Markup, html};
use qrcodegen::{QrCode, QrCodeEcc};

use super::super::Visit;
use super::super::answer::{self, Answer, Failure, Response};
use super::super::elements::{Button, Field, Tone, button, facts, notice, table, time};
use super::super::language::Language;
use super::super::page::page_with;
use super::super::sign_in::said;
use super::super::words;
use crate::accounts::{Account, AccountError, MIN_PASSWORD, Session, TotpSecret};

/// Modules of quiet around a symbol (ISO/IEC 18004).
const QUIET: i32 = 4;

/// What was wrong with a form: its field, and why.
#[derive(Default)]
struct Wrong {
    field: &'static str,
    text: String,
}

impl Wrong {
    fn status(&self) -> StatusCode {
        if self.text.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }
    }

    fn of(&self, field: &str) -> &str {
        if self.field == field { &self.text } else { "" }
    }
}

pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    show(visit, &visit.account, Wrong::default(), html! {})
}

pub(in crate::console) fn post(visit: &Visit<'_>, _rest: &str) -> Answer {
    let (accounts, number) = (&visit.parts.accounts, visit.account.number);
    match visit.fields.get("action") {
        "language" => {
            accounts.set_language(number, visit.fields.get("language"))?;
            let back = visit.fields.get("back");
            return Ok(answer::see_other(if answer::is_ours(back) { back } else { "/account" }));
        }
        "end" => {
            let session = visit.fields.get("session").parse().map_err(|_| Failure::NotFound)?;
            accounts.end_session(number, session)?;
        }
        "end-others" => accounts.end_sessions(number, visit.session)?,
        // What follows is the proxy's where it signs people in.
        _ if visit.session.is_none() => return Err(Failure::NotFound),
        "password" => return password(visit),
        "second-factor" if !visit.account.has_second_factor => {
            let secret = TotpSecret::draw().map_err(|_| Failure::Wrong(vec![random(visit).to_owned()]))?;
            return Ok(enrol(visit, &secret, &Wrong::default()));
        }
        "second-factor-on" if !visit.account.has_second_factor => return second_factor_on(visit),
        "second-factor-off" if visit.account.has_second_factor => return second_factor_off(visit),
        _ => return Err(Failure::NotFound),
    }
    Ok(answer::see_other("/account"))
}

fn password(visit: &Visit<'_>) -> Answer {
    let (old, new) = (visit.fields.get("old"), visit.fields.get("new"));
    let accounts = &visit.parts.accounts;
    let changed =
        guarded(visit, || accounts.change_password(visit.now, &visit.account.name, (old, new), visit.session))?;
    let language = visit.language;
    match changed {
        Ok(()) => {
            let done = language.say(
                "Đã đổi mật khẩu. Các phiên khác đã kết thúc.",
                "The password was changed, and all other sessions have ended.",
            );
            show(visit, &visit.account, Wrong::default(), notice(Tone::Good, "", html! { p { (done) } }))
        }
        Err(error @ (AccountError::Wrong | AccountError::Password(_))) => {
            let field = if matches!(error, AccountError::Wrong) { "old" } else { "new" };
            show(visit, &visit.account, Wrong { field, text: said(language, &error) }, html! {})
        }
        Err(error) => Err(Failure::Wrong(vec![said(language, &error)])),
    }
}

fn second_factor_on(visit: &Visit<'_>) -> Answer {
    let (language, accounts) = (visit.language, &visit.parts.accounts);
    let secret = TotpSecret::parse(visit.fields.get("secret")).ok_or(Failure::NotFound)?;
    let added = guarded(visit, || {
        has_password(visit)?;
        accounts.add_second_factor(visit.now, visit.account.number, &secret, visit.fields.get("code"))
    })?;
    match added {
        Ok(codes) => Ok(recovery(visit, &codes)),
        Err(error @ (AccountError::Wrong | AccountError::Code)) => {
            let field = if matches!(error, AccountError::Wrong) { "password" } else { "code" };
            Ok(enrol(visit, &secret, &Wrong { field, text: said(language, &error) }))
        }
        Err(error) => Err(Failure::Wrong(vec![said(language, &error)])),
    }
}

fn second_factor_off(visit: &Visit<'_>) -> Answer {
    let (language, accounts) = (visit.language, &visit.parts.accounts);
    let removed = guarded(visit, || {
        has_password(visit)?;
        accounts.remove_second_factor(visit.now, visit.account.number)
    })?;
    match removed {
        Ok(()) => Ok(answer::see_other("/account")),
        Err(error @ AccountError::Wrong) => {
            show(visit, &visit.account, Wrong { field: "password", text: said(language, &error) }, html! {})
        }
        Err(error) => Err(Failure::Wrong(vec![said(language, &error)])),
    }
}

/// Whether the form has the account's password: who finds a session open must not be able to put a phone of his own
/// in place of the owner's.
fn has_password(visit: &Visit<'_>) -> Result<(), AccountError> {
    let is_right = visit.parts.accounts.has_password(&visit.account.name, visit.fields.get("password"))?;
    if is_right { Ok(()) } else { Err(AccountError::Wrong) }
}

/// Does what takes the account's password, no more often than a sign-in: a session that somebody else has got hold of
/// must not be a way to guess it.
fn guarded<T>(
    visit: &Visit<'_>,
    work: impl FnOnce() -> Result<T, AccountError>,
) -> Result<Result<T, AccountError>, Failure> {
    let limits = &visit.parts.accounts.limits;
    let begun = limits.begin(&visit.account.name, visit.address, Instant::now(), visit.now);
    let attempt = begun.map_err(|pause| {
        let (before, after) =
            (visit.language.say("Xin thử lại sau", "Please try again in"), visit.language.say("giây.", "seconds."));
        Failure::Wrong(vec![format!("{before} {} {after}", pause.0.as_secs() + 1)])
    })?;
    let done = work();
    if matches!(done, Err(AccountError::Wrong)) {
        if attempt.fail(Some(visit.account.number), visit.now) {
            visit.parts.accounts.note_burst(visit.now, Some(visit.account.number))?;
        }
    } else if done.is_ok() {
        attempt.succeed();
    }
    Ok(done)
}

fn random<'t>(visit: &Visit<'_>) -> &'t str {
    visit.language.say("Máy chủ không tạo được số ngẫu nhiên.", "The server gives no random numbers.")
}

fn show(visit: &Visit<'_>, account: &Account, wrong: Wrong, above: Markup) -> Answer {
    let language = visit.language;
    let sessions = visit.parts.accounts.sessions(visit.now, account.number)?;
    let status = wrong.status();
    let areas = if account.areas.is_empty() {
        language.say("mọi khu vực", "every area").to_owned()
    } else {
        account.areas.join(", ")
    };
    let main = html! {
        (above)
        @if visit.must_enrol {
            (notice(Tone::Warning, language.say("Cần bật xác thực hai bước", "A second factor is needed"), html! {
                p {
                    (language.say(
                        "Vai trò của tài khoản này cần xác thực hai bước. Xin bật trước khi dùng các trang khác.",
                        "The role of this account needs a second factor. Please set it up before you use other pages.",
                    ))
                }
            }))
        }
        section {
        h2 { (language.say("Bạn", "You")) }
        (facts([
            (language.say("Tên", "Name").to_owned(), html! { bdi { (account.name) } }),
            (language.say("Vai trò", "Role").to_owned(), html! { (words::role(language, account.role)) }),
            (language.say("Khu vực", "Areas").to_owned(), html! { bdi { (areas) } }),
        ]))
        @if visit.session.is_none() {
            p { (language.say(
                "Việc đăng nhập do cổng phía trước đảm nhiệm; mật khẩu không nằm ở đây.",
                "A proxy signs you in: the password is not kept here.",
            )) }
        }
        }
        @if visit.session.is_some() {
            (second_factor(visit, account, &wrong)?)
            (password_form(visit, &wrong))
        }
        section {
        h2 { (language.say("Các phiên đăng nhập", "Sessions")) }
        (session_table(visit, &sessions, "/account", account.number))
        @if sessions.len() > 1 {
            form.form method="post" action="/account" {
                input type="hidden" name="action" value="end-others";
                (button(Button::Plain, "", "", language.say("Kết thúc các phiên khác", "End all others")))
            }
        }
        }
    };
    Ok(page_with(visit, status, language.say("Tài khoản của tôi", "My account"), main))
}

fn password_form(visit: &Visit<'_>, wrong: &Wrong) -> Markup {
    let language = visit.language;
    let old = Field {
        name: "old",
        label: language.say("Mật khẩu hiện tại", "Present password"),
        kind: "password",
        autocomplete: "current-password",
        error: wrong.of("old"),
        is_required: true,
        ..Field::default()
    };
    let hint =
        format!("{} {MIN_PASSWORD} {}", language.say("Ít nhất", "At least"), language.say("ký tự", "characters"));
    let new = Field {
        name: "new",
        label: language.say("Mật khẩu mới", "New password"),
        hint: &hint,
        kind: "password",
        autocomplete: "new-password",
        error: wrong.of("new"),
        is_required: true,
        ..Field::default()
    };
    html! {
        section {
        h2 { (language.say("Đổi mật khẩu", "Another password")) }
        form.form method="post" action="/account" {
            input type="hidden" name="action" value="password";
            (username(visit))
            (old.line())
            (new.line())
            (button(Button::Primary, "", "", language.say("Đổi mật khẩu", "Change the password")))
        }
        }
    }
}

fn second_factor(visit: &Visit<'_>, account: &Account, wrong: &Wrong) -> Result<Markup, Failure> {
    let language = visit.language;
    let left = visit.parts.accounts.recovery_codes(account.number)?;
    Ok(html! {
        section {
        h2 { (language.say("Xác thực hai bước", "Second factor")) }
        @if account.has_second_factor {
            p {
                (language.say("Đang bật. Số mã khôi phục còn lại: ", "It is on. Recovery codes left: ")) (left)
            }
            form.form method="post" action="/account" {
                input type="hidden" name="action" value="second-factor-off";
                (username(visit))
                (password_field(language, wrong).line())
                (button(Button::Danger, "", "", language.say("Tắt xác thực hai bước", "Turn it off")))
            }
        } @else {
            p {
                (language.say(
                    "Một ứng dụng trên điện thoại cho sáu chữ số mỗi lần đăng nhập: mật khẩu bị lộ thì người khác vẫn không vào được.",
                    "An application on a phone gives six digits for each sign-in: a password alone then lets nobody in.",
                ))
            }
            form.form method="post" action="/account" {
                input type="hidden" name="action" value="second-factor";
                (button(Button::Primary, "", "", language.say("Bật xác thực hai bước", "Turn it on")))
            }
        }
        }
    })
}

/// The account's name, for the browser's store of passwords.
fn username(visit: &Visit<'_>) -> Markup {
    html! { input type="text" name="name" value=(visit.account.name) autocomplete="username" hidden; }
}

fn password_field(language: Language, wrong: &Wrong) -> Field<'_> {
    Field {
        name: "password",
        label: language.say("Mật khẩu hiện tại", "Present password"),
        kind: "password",
        autocomplete: "current-password",
        error: wrong.of("password"),
        is_required: true,
        ..Field::default()
    }
}

/// The symbol to scan, and the boxes for what the phone then shows and for the password.
fn enrol(visit: &Visit<'_>, secret: &TotpSecret, wrong: &Wrong) -> Response {
    let language = visit.language;
    let status = wrong.status();
    let text = secret.text();
    let groups: Vec<&str> = (0..text.len()).step_by(4).map(|at| &text[at..text.len().min(at + 4)]).collect();
    let code = Field {
        name: "code",
        label: language.say("Sáu chữ số trên ứng dụng", "The six digits that it shows"),
        autocomplete: "one-time-code",
        error: wrong.of("code"),
        is_required: true,
        ..Field::default()
    };
    let main = html! {
        p {
            (language.say(
                "Quét mã này bằng ứng dụng xác thực (Google Authenticator, Microsoft Authenticator, Aegis, FreeOTP …).",
                "Scan this with an authenticator application (Google Authenticator, Microsoft Authenticator, Aegis, FreeOTP …).",
            ))
        }
        (symbol(&secret.uri("Waypost", &visit.account.name), language.say("Mã để quét", "The symbol to scan")))
        p { (language.say("Hoặc nhập khóa: ", "Or type the key: ")) code { (groups.join(" ")) } }
        form.form method="post" action="/account" {
            input type="hidden" name="action" value="second-factor-on";
            input type="hidden" name="secret" value=(text);
            (username(visit))
            (code.line())
            (password_field(language, wrong).line())
            (button(Button::Primary, "", "", language.say("Xác nhận", "Confirm")))
        }
        p { a href="/account" { (language.say("Thôi", "Cancel")) } }
    };
    page_with(visit, status, language.say("Bật xác thực hai bước", "Turn on the second factor"), main)
}

/// A text as a QR symbol, dark on light in dark mode too: what scans it may know nothing else.
fn symbol(text: &str, title: &str) -> Markup {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else { return html! {} };
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        for x in (0..size).filter(|&x| code.get_module(x, y)) {
            path.push_str(&format!("M{},{}h1v1h-1z", x + QUIET, y + QUIET));
        }
    }
    let whole = size + 2 * QUIET;
    html! {
        svg viewBox={ "0 0 " (whole) " " (whole) } width="240" height="240" role="img" aria-label=(title) {
            rect width="100%" height="100%" fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    }
}

fn recovery(visit: &Visit<'_>, codes: &[String]) -> Response {
    let language = visit.language;
    let main = html! {
        (notice(Tone::Good, language.say("Đã bật xác thực hai bước", "The second factor is on"), html! {
            p {
                (language.say(
                    "Hãy in hoặc chép các mã khôi phục này và cất nơi an toàn: mỗi mã dùng được một lần khi mất điện thoại. Chúng không hiện lại nữa.",
                    "Print or write down these recovery codes and keep them safe: each holds once, for a lost phone. They are not shown again.",
                ))
            }
        }))
        ul { @for code in codes { li { code { (code) } } } }
        p { a href="/" { (language.say("Tiếp tục", "Go on")) } }
    };
    page_with(visit, StatusCode::OK, language.say("Mã khôi phục", "Recovery codes"), main)
}

/// The sessions of an account, each with a button that ends it.
pub(super) fn session_table(visit: &Visit<'_>, sessions: &[Session], action: &str, account: i64) -> Markup {
    let language = visit.language;
    let heads = [
        language.say("Thiết bị", "Device"),
        language.say("Đăng nhập", "Signed in"),
        language.say("Dùng lần cuối", "Last used"),
        language.say("Kết thúc", "End"),
    ];
    let row = |session: &Session| {
        let is_this = visit.session == Some(session.number) && visit.account.number == account;
        let end = language.say("Kết thúc", "End it");
        vec![
            html! { (words::device(language, &session.client)) @if is_this { " (" (language.say("phiên này", "this one")) ")" } },
            time(visit, session.created),
            time(visit, session.last_used),
            html! {
                form method="post" action=(action) {
                    input type="hidden" name="action" value="end";
                    input type="hidden" name="account" value=(account);
                    input type="hidden" name="session" value=(session.number);
                    (button(Button::Plain, "", "", end))
                }
            },
        ]
    };
    html! {
        @if sessions.is_empty() {
            p { (language.say("Không có phiên nào.", "None.")) }
        } @else {
            (table(language.say("Các phiên đăng nhập", "Sessions"), &heads, sessions.iter().map(row)))
        }
    }
}
