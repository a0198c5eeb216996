//! The pages before somebody is signed in: `/login`, `/logout` and one-time links.
//!
//! Owns them. Whoever is refused is told the same for a wrong name, password and code. A link that is looked at is not
//! used up: the password that is set with it does that.

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use maud::{Markup, html};

use super::answer::{self, Response};
use super::elements::{Button, Field, Tone, button, notice};
use super::fields::Fields;
use super::language::Language;
use super::metrics::SignInResult;
use super::page;
use super::server::{Asked, Console, bare};
use crate::accounts::{
    Account, AccountError, Attempt, Credentials, Invited, MIN_PASSWORD, PasswordError, Pause, SignInError,
};

/// Answers what is asked here; `None`: it is a page of the signed-in.
pub(super) fn answer(
    console: &Console,
    asked: &Asked,
    fields: &Fields,
    account: Option<&Account>,
    attempt: Option<Attempt>,
) -> Option<Response> {
    let token = asked.path.strip_prefix("/invite/");
    Some(match (asked.path.as_str(), token, asked.is_post) {
        ("/login", _, true) => sign_in(console, asked, fields, attempt),
        ("/login", _, false) if account.is_some() => answer::see_other(next(fields)),
        ("/login", _, false) => form(asked, next(fields), "", StatusCode::OK, html! {}),
        ("/logout", _, true) => sign_out(console, asked),
        ("/logout", _, false) => answer::see_other("/"),
        (_, Some(token), true) => accept(console, asked, fields, token),
        (_, Some(token), false) => invitation(console, asked, token),
        _ => return None,
    })
}

/// To the sign-in, and then back here.
pub(super) fn first(asked: &Asked) -> Response {
    let page = if asked.query.is_empty() { asked.path.clone() } else { format!("{}?{}", asked.path, asked.query) };
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", &page).finish();
    answer::see_other(&if page == "/" { "/login".to_owned() } else { format!("/login?{query}") })
}

/// A form was sent after its session had ended.
pub(super) fn ended(asked: &Asked) -> Response {
    let language = asked.language;
    let said = html! {
        p {
            (language.say(
                "Phiên làm việc đã hết nên chưa có gì được gửi. Đăng nhập ở một thẻ khác rồi gửi lại từ trang trước.",
                "The session has ended, and nothing was sent. Sign in on another tab, and send it again from the page before.",
            ))
        }
        p { a href="/login" target="_blank" { (language.say("Đăng nhập", "Sign in")) } }
    };
    page::bare(language, StatusCode::FORBIDDEN, language.say("Chưa đăng nhập", "Not signed in"), said)
}

/// A proxy names somebody who has no account.
pub(super) fn stranger(asked: &Asked, name: &str) -> Response {
    let language = asked.language;
    let said = html! {
        p {
            (language.say("Chưa có tài khoản hoạt động nào mang tên ", "No account that may sign in has the name "))
            bdi { (name) }
            (language.say(". Xin hỏi người quản lý tài khoản.", ". Please ask who manages accounts."))
        }
    };
    page::bare(language, StatusCode::FORBIDDEN, language.say("Chưa có tài khoản", "No account"), said)
}

/// Too many tries before.
pub(super) fn limited(asked: &Asked, Pause(pause): Pause) -> Response {
    let language = asked.language;
    let seconds = pause.as_secs() + 1;
    let said = html! {
        p {
            (language.say("Đã có nhiều lần đăng nhập không thành công. Xin thử lại sau ", "There were many tries that failed. Please try again in "))
            (seconds) (language.say(" giây.", " seconds."))
        }
    };
    let notice = notice(Tone::Danger, "", said);
    let mut response = form(asked, "/", "", StatusCode::TOO_MANY_REQUESTS, notice);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn sign_in(console: &Console, asked: &Asked, fields: &Fields, attempt: Option<Attempt>) -> Response {
    let credentials =
        Credentials { name: fields.get("name"), password: fields.get("password"), code: fields.get("code") };
    let accounts = &console.parts.accounts;
    let session = accounts.sign_in(asked.now, credentials, &asked.client, asked.cookie.as_deref());
    match session {
        Ok(session) => {
            if let Some(attempt) = attempt {
                attempt.succeed();
            }
            console.counters.sign_in(SignInResult::Ok);
            console.with_cookie(answer::see_other(next(fields)), Some(&session.token))
        }
        Err(SignInError::Refused { account }) => {
            console.counters.sign_in(SignInResult::Wrong);
            if attempt.is_some_and(|attempt| attempt.fail(account, asked.now))
                && let Err(error) = accounts.note_burst(asked.now, account)
            {
                tracing::error!(%error, "refused sign-ins can't be noted in the history");
            }
            let language = asked.language;
            let said = language.say(
                "Tên, mật khẩu hoặc mã xác thực không đúng, hoặc tài khoản không được đăng nhập.",
                "The name, the password or the code is wrong, or the account may not sign in.",
            );
            let notice = html! { div.notice.danger role="alert" { p #refused { (said) } } };
            form(asked, next(fields), fields.get("name"), StatusCode::FORBIDDEN, notice)
        }
        Err(error) => failed(asked, &error),
    }
}

fn sign_out(console: &Console, asked: &Asked) -> Response {
    if let Some(token) = &asked.cookie {
        let accounts = &console.parts.accounts;
        let ended = accounts.session(asked.now, token).and_then(|session| match session {
            Some((account, number)) => accounts.end_session(account.number, number),
            None => Ok(()),
        });
        if let Err(error) = ended {
            return failed(asked, &error);
        }
    }
    console.with_cookie(answer::see_other("/login"), None)
}

/// The page to go to afterwards: one of ours.
fn next(fields: &Fields) -> &str {
    let next = fields.get("next");
    if answer::is_ours(next) { next } else { "/" }
}

fn form(asked: &Asked, next: &str, name: &str, status: StatusCode, above: Markup) -> Response {
    let language = asked.language;
    let code = Field {
        name: "code",
        label: language.say("Mã xác thực", "Code"),
        hint: language.say(
            "Sáu chữ số trên điện thoại, hoặc một mã khôi phục; để trống nếu tài khoản chưa bật xác thực hai bước.",
            "Six digits from the phone, or a recovery code; empty if the account has no second factor.",
        ),
        autocomplete: "one-time-code",
        ..Field::default()
    };
    let main = html! {
        (above)
        form.form method="post" action={ "/login?lang=" (language.tag()) } {
            input type="hidden" name="next" value=(next);
            (name_field(language, name).line())
            (password_field(language, "current-password").line())
            (code.line())
            (button(Button::Primary, "", "", language.say("Đăng nhập", "Sign in")))
        }
    };
    page::bare(language, status, language.say("Đăng nhập", "Sign in"), main)
}

fn name_field(language: Language, name: &str) -> Field<'_> {
    Field {
        name: "name",
        label: language.say("Tên tài khoản", "Account name"),
        value: name,
        autocomplete: "username",
        is_required: true,
        ..Field::default()
    }
}

fn password_field(language: Language, autocomplete: &'static str) -> Field<'static> {
    Field {
        name: "password",
        label: language.say("Mật khẩu", "Password"),
        kind: "password",
        autocomplete,
        is_required: true,
        ..Field::default()
    }
}

fn invitation(console: &Console, asked: &Asked, token: &str) -> Response {
    match console.parts.accounts.invitation(asked.now, token) {
        Ok(Some(invited)) if is_here(asked, &invited) => welcome(asked, &invited, "", StatusCode::OK, ""),
        Ok(_) => gone(asked),
        Err(error) => failed(asked, &error),
    }
}

/// The first account is made on this machine, or by who has a tunnel to it.
fn is_here(asked: &Asked, invited: &Invited) -> bool {
    *invited != Invited::First || asked.is_local
}

fn welcome(asked: &Asked, invited: &Invited, name: &str, status: StatusCode, error: &str) -> Response {
    let language = asked.language;
    let hint = format!(
        "{} {MIN_PASSWORD} {}",
        language.say("Ít nhất", "At least"),
        language.say("ký tự; một câu dễ nhớ là tốt nhất.", "characters; a sentence that is easy to remember is best.")
    );
    let password = Field { hint: &hint, error, ..password_field(language, "new-password") };
    let main = html! {
        p {
            (language.say(
                "Đặt mật khẩu để dùng trang quản trị biển. Liên kết này chỉ dùng được một lần.",
                "Set a password for the console. This link can be used once.",
            ))
        }
        form.form method="post" action={ (asked.path) "?lang=" (language.tag()) } {
            @match invited {
                Invited::First => { (name_field(language, name).line()) }
                Invited::Account(account) => {
                    p { (language.say("Tài khoản: ", "Account: ")) strong { bdi { (account.name) } } }
                    // For the browser's store of passwords.
                    input type="text" name="name" value=(account.name) autocomplete="username" hidden;
                }
            }
            (password.line())
            (button(Button::Primary, "", "", language.say("Đặt mật khẩu và vào", "Set the password and go in")))
        }
    };
    page::bare(language, status, language.say("Chào mừng", "Welcome"), main)
}

fn accept(console: &Console, asked: &Asked, fields: &Fields, token: &str) -> Response {
    let accounts = &console.parts.accounts;
    let invited = match accounts.invitation(asked.now, token) {
        Ok(Some(invited)) if is_here(asked, &invited) => invited,
        Ok(_) => return gone(asked),
        Err(error) => return failed(asked, &error),
    };
    let (name, password) = (fields.get("name"), fields.get("password"));
    let session = accounts.accept(asked.now, token, (name, password), (&asked.client, asked.cookie.as_deref()));
    match session {
        Ok(session) => {
            console.counters.sign_in(SignInResult::Ok);
            console.with_cookie(answer::see_other("/"), Some(&session.token))
        }
        Err(AccountError::Link) => gone(asked),
        Err(error @ (AccountError::Password(_) | AccountError::Name(_) | AccountError::Taken(_))) => {
            let why = said(asked.language, &error);
            welcome(asked, &invited, name, StatusCode::UNPROCESSABLE_ENTITY, &why)
        }
        Err(error) => failed(asked, &error),
    }
}

fn gone(asked: &Asked) -> Response {
    let language = asked.language;
    let said = language.say(
        "Liên kết này đã dùng, đã quá 72 giờ, hoặc chưa từng có. Xin người quản lý tài khoản một liên kết mới.",
        "This link was used, is older than 72 hours, or never was one. Please ask who manages accounts for another.",
    );
    bare(asked, StatusCode::NOT_FOUND, language.say("Liên kết không còn dùng được", "The link holds no longer"), said)
}

fn failed(asked: &Asked, error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "the console's file can't be used");
    let language = asked.language;
    let said =
        language.say("Có lỗi trên máy chủ. Xin thử lại sau.", "Something is wrong on the server. Please try later.");
    bare(asked, StatusCode::INTERNAL_SERVER_ERROR, language.say("Lỗi", "An error"), said)
}

/// Why something can't be done to an account, for people.
pub(super) fn said(language: Language, error: &AccountError) -> String {
    let text = match error {
        AccountError::Database(_) | AccountError::Random(_) => {
            tracing::error!(%error, "an account can't be changed");
            language.say("Có lỗi trên máy chủ.", "Something is wrong on the server.")
        }
        AccountError::Unknown => language.say("Không có tài khoản này.", "There is no such account."),
        AccountError::LastManager => language.say(
            "Đây là người quản lý cuối cùng: phải còn một người khác đăng nhập được.",
            "This is the last manager: there must be another who can sign in.",
        ),
        AccountError::Name(_) => language.say(
            "Tên cần từ 1 đến 64 ký tự và không bắt đầu bằng dấu #.",
            "A name has 1 to 64 characters, and does not begin with #.",
        ),
        AccountError::Taken(_) => language.say("Tên này đã có người dùng.", "Somebody has this name."),
        AccountError::Area(area) => {
            return format!("{} {area:?}", language.say("Không có khu vực", "There is no area"));
        }
        AccountError::Link => language.say("Liên kết không còn dùng được.", "The link holds no longer."),
        AccountError::Password(PasswordError::Length(_)) => {
            language.say("Mật khẩu cần từ 12 đến 200 ký tự.", "A password has 12 to 200 characters.")
        }
        AccountError::Password(PasswordError::Name) => {
            language.say("Mật khẩu không được là tên tài khoản.", "A password is not the account's name.")
        }
        AccountError::Password(PasswordError::Common) => {
            language.say("Mật khẩu này quá dễ đoán.", "This password is too easy to guess.")
        }
        AccountError::Wrong => language.say("Mật khẩu hiện tại không đúng.", "The present password is wrong."),
        AccountError::Code => {
            language.say("Mã không đúng với ứng dụng lúc này.", "The code is not what the application shows now.")
        }
    };
    text.to_owned()
}
