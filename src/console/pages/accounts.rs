//! `/accounts`: who may do what; for managers.
//!
//! A link that was made is shown once, on the page that answers the form.

use std::collections::BTreeMap;

use hyper::StatusCode;
use maud::{Markup, html};
use unicode_normalization::UnicodeNormalization as _;

use super::super::Visit;
use super::super::answer::{self, Answer, Failure, Response};
use super::super::elements::{Button, Field, Tone, badge, button, facts, notice, problems, table, tick, time};
use super::super::page::{page, page_with};
use super::super::sign_in::said;
use super::super::words;
use super::account::session_table;
use crate::accounts::{Account, AccountError, NewAccount, Refused, Rights, Role};
use crate::registry::PlaceRef;

pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    match visit.fields.get("account") {
        "" => list(visit, StatusCode::OK, html! {}, &Entered::default()),
        number => one(visit, number.parse().map_err(|_| Failure::NotFound)?, StatusCode::OK, html! {}, None),
    }
}

pub(in crate::console) fn post(visit: &Visit<'_>, _rest: &str) -> Answer {
    let (accounts, now, by) = (&visit.parts.accounts, visit.now, visit.account.number);
    let action = visit.fields.get("action");
    let entered = Entered::of(visit);
    if action == "invite" {
        let name = visit.fields.get("name");
        let made = entered.rights(visit, &[]).and_then(|Rights { role, areas, applies_first }| {
            let new = NewAccount { name: name.to_owned(), role, areas, applies_first };
            accounts.invite(now, Some(by), &new).map_err(|error| vec![said(visit.language, &error)])
        });
        return match made {
            Ok(token) => Ok(link(visit, name, &token)),
            Err(wrong) => list(visit, StatusCode::UNPROCESSABLE_ENTITY, problems(visit.language, &wrong), &entered),
        };
    }
    let number: i64 = visit.fields.get("account").parse().map_err(|_| Failure::NotFound)?;
    let account = find(visit, number)?;
    let done = match action {
        "rights" => match entered.rights(visit, &account.areas) {
            Ok(rights) => accounts.change_rights(now, by, number, &rights),
            Err(wrong) => {
                let above = problems(visit.language, &wrong);
                return one(visit, number, StatusCode::UNPROCESSABLE_ENTITY, above, Some(&entered));
            }
        },
        "disable" => accounts.disable(now, by, number, true),
        "enable" => accounts.disable(now, by, number, false),
        "end" => {
            let session = visit.fields.get("session").parse().map_err(|_| Failure::NotFound)?;
            accounts.end_session(number, session).map_err(AccountError::from)
        }
        "erase" if visit.fields.has("sure") => match accounts.erase(now, by, number) {
            Ok(()) => return Ok(answer::see_other("/accounts")),
            Err(error) => Err(error),
        },
        "erase" => {
            let why = visit
                .language
                .say("Xin đánh dấu ô xác nhận trước khi xóa.", "Please tick the box before you erase it.");
            let above = problems(visit.language, &[why.to_owned()]);
            return one(visit, number, StatusCode::UNPROCESSABLE_ENTITY, above, None);
        }
        "reset" => match accounts.reset(now, Some(by), &account.name) {
            Ok(token) => return Ok(link(visit, &account.name, &token)),
            Err(error) => Err(error),
        },
        _ => return Err(Failure::NotFound),
    };
    match done {
        Ok(()) => Ok(answer::see_other(&format!("/accounts?account={number}"))),
        Err(error) => {
            let above = problems(visit.language, &[said(visit.language, &error)]);
            let entered = Some(&entered).filter(|_| action == "rights");
            one(visit, number, StatusCode::UNPROCESSABLE_ENTITY, above, entered)
        }
    }
}

/// The rights of a form, as they are entered. Every area is a choice of its own: a box that somebody forgets to tick
/// gives no right.
struct Entered {
    role: String,
    is_everywhere: bool,
    areas: Vec<String>,
    applies_first: bool,
}

impl Default for Entered {
    fn default() -> Self {
        let role = Role::Editor.as_str().to_owned();
        Self { role, is_everywhere: false, areas: Vec::new(), applies_first: false }
    }
}

impl Entered {
    fn of(visit: &Visit<'_>) -> Self {
        let fields = &visit.fields;
        Self {
            role: fields.get("role").to_owned(),
            is_everywhere: fields.has("every_area"),
            areas: fields.all("area").map(str::to_owned).collect(),
            applies_first: fields.has("applies_first"),
        }
    }

    /// Those that an account has.
    fn had_by(account: &Account) -> Self {
        Self {
            role: account.role.as_str().to_owned(),
            is_everywhere: account.areas.is_empty(),
            areas: account.areas.clone(),
            applies_first: account.applies_first,
        }
    }

    fn has(&self, area: &str) -> bool {
        self.areas.iter().any(|own| own.nfc().eq(area.nfc()))
    }

    /// What they come to, with the areas as the table spells them; or all that is wrong. `before` are the areas that the account has.
    fn rights(&self, visit: &Visit<'_>, before: &[String]) -> Result<Rights, Vec<String>> {
        let (language, known) = (visit.language, areas(visit, before));
        let mut wrong = Vec::new();
        let role = Role::named(&self.role);
        if role.is_none() {
            wrong.push(language.say("Xin chọn một vai trò.", "Please choose a role.").to_owned());
        }
        if self.is_everywhere != self.areas.is_empty() {
            let choose = language.say(
                "Xin chọn mọi khu vực, hoặc từng khu vực, không phải cả hai.",
                "Please choose every area, or some areas, and not both.",
            );
            wrong.push(choose.to_owned());
        }
        let mut chosen = BTreeMap::new();
        for area in &self.areas {
            match known.get_key_value(&area.nfc().collect::<String>()) {
                Some((key, spelled)) => {
                    chosen.insert(key, (*spelled).to_owned());
                }
                None => wrong.push(said(language, &AccountError::Area(area.clone()))),
            }
        }
        let areas = chosen.into_values().collect();
        let rights = role.map(|role| Rights { role, areas, applies_first: self.applies_first });
        rights.filter(|_| wrong.is_empty()).ok_or(wrong)
    }
}

fn find(visit: &Visit<'_>, number: i64) -> Result<Account, Failure> {
    let mut all = visit.parts.accounts.all()?.into_iter();
    all.find(|account| account.number == number && !account.is_erased()).ok_or(Failure::NotFound)
}

/// The areas of the registry, and those that an account has besides, as they are spelled; by their composed form, in
/// which they are compared.
fn areas<'a>(visit: &'a Visit<'_>, of: &'a [String]) -> BTreeMap<String, &'a str> {
    let places = visit.registry.places().map(PlaceRef::area);
    let mut areas = BTreeMap::new();
    for area in places.chain(of.iter().map(String::as_str)).filter(|area| !area.is_empty()) {
        areas.entry(area.nfc().collect()).or_insert(area);
    }
    areas
}

fn list(visit: &Visit<'_>, status: StatusCode, above: Markup, entered: &Entered) -> Answer {
    let language = visit.language;
    let all: Vec<Account> = visit.parts.accounts.all()?.into_iter().filter(|account| !account.is_erased()).collect();
    let heads = [
        language.say("Tên", "Name"),
        language.say("Vai trò", "Role"),
        language.say("Khu vực", "Areas"),
        language.say("Trạng thái", "State"),
        language.say("Đăng nhập lần cuối", "Last sign-in"),
    ];
    let row = |account: &Account| {
        vec![
            html! { a href={ "/accounts?account=" (account.number) } { bdi { (account.name) } } },
            html! { (words::role(language, account.role)) },
            html! { bdi { (area_words(visit, account)) } },
            states(visit, account),
            html! { @match account.last_sign_in { Some(last) => (time(visit, last)), None => "–" } },
        ]
    };
    let main = html! {
        (above)
        (table(language.say("Tài khoản", "Accounts"), &heads, all.iter().map(row)))
        (refusals(visit, &all))
        h2 { (language.say("Mời một người", "Invite somebody")) }
        form.form method="post" action="/accounts" {
            input type="hidden" name="action" value="invite";
            (Field {
                name: "name",
                label: language.say("Tên tài khoản", "Account name"),
                hint: language.say("Người đó sẽ gõ tên này khi đăng nhập.", "As it will be typed at the sign-in."),
                value: visit.fields.get("name"),
                is_required: true,
                ..Field::default()
            }.line())
            (rights_fields(visit, entered, &[]))
            (button(Button::Primary, "", "", language.say("Tạo liên kết mời", "Make a link")))
        }
    };
    Ok(page_with(visit, status, language.say("Tài khoản", "Accounts"), main))
}

/// `entered`: of a form that was refused.
fn one(visit: &Visit<'_>, number: i64, status: StatusCode, above: Markup, entered: Option<&Entered>) -> Answer {
    let (language, account) = (visit.language, find(visit, number)?);
    let had = Entered::had_by(&account);
    let sessions = visit.parts.accounts.sessions(visit.now, number)?;
    let form = |action: &str, inside: Markup| {
        html! {
            form.form method="post" action="/accounts" {
                input type="hidden" name="action" value=(action);
                input type="hidden" name="account" value=(number);
                (inside)
            }
        }
    };
    let disable = if account.is_disabled {
        form("enable", button(Button::Plain, "", "", language.say("Cho đăng nhập lại", "Let it sign in again")))
    } else {
        form("disable", button(Button::Danger, "", "", language.say("Khóa tài khoản", "Disable it")))
    };
    let sure = language.say("Tôi hiểu: tên không lấy lại được.", "I know that the name can't be brought back.");
    let main = html! {
        (above)
        (facts([
            (language.say("Trạng thái", "State").to_owned(), states(visit, &account)),
            (
                language.say("Đăng nhập lần cuối", "Last sign-in").to_owned(),
                html! { @match account.last_sign_in { Some(last) => (time(visit, last)), None => "–" } },
            ),
        ]))
        h2 { (language.say("Quyền", "Rights")) }
        (form("rights", html! {
            (rights_fields(visit, entered.unwrap_or(&had), &account.areas))
            (button(Button::Primary, "", "", language.say("Lưu quyền", "Save the rights")))
        }))
        h2 { (language.say("Các phiên đăng nhập", "Sessions")) }
        (session_table(visit, &sessions, "/accounts", number))
        h2 { (language.say("Quên mật khẩu, mất điện thoại", "A forgotten password, a lost phone")) }
        p {
            (language.say(
                "Mật khẩu, xác thực hai bước và mọi phiên bị xóa; liên kết mới để đặt lại chỉ hiện một lần.",
                "Takes password, second factor and sessions away, and shows a link to set a new password, once.",
            ))
        }
        (form("reset", button(Button::Plain, "", "", language.say("Đặt lại", "Reset"))))
        h2 { (language.say("Ngừng sử dụng", "An end")) }
        (disable)
        p {
            (language.say(
                "Xóa tên: tên trở thành một con số và không ai đăng nhập được nữa; những việc đã làm vẫn ở trong lịch sử.",
                "Erased: the name becomes a number, and nobody can sign in; what was done stays in the history.",
            ))
        }
        (form("erase", html! {
            (tick("sure", "1", html! { (sure) }, false))
            (button(Button::Danger, "", "", language.say("Xóa tên", "Erase the name")))
        }))
    };
    Ok(page_with(visit, status, &account.name, main))
}

/// `before` are the areas that the account has.
fn rights_fields(visit: &Visit<'_>, entered: &Entered, before: &[String]) -> Markup {
    let language = visit.language;
    let roles = Role::ALL.map(|role| (role.as_str(), words::role(language, role)));
    let role =
        Field { name: "role", label: language.say("Vai trò", "Role"), value: &entered.role, ..Field::default() };
    html! {
        (role.choice(roles))
        fieldset {
            legend { (language.say("Khu vực", "Areas")) }
            (tick("every_area", "1", html! {
                strong { (language.say("Mọi khu vực, cả những khu vực có sau này", "Every area, also those that come later")) }
            }, entered.is_everywhere))
            p.hint { (language.say("Hoặc từng khu vực:", "Or some:")) }
            div.ticks {
                @for area in areas(visit, before).into_values() {
                    (tick("area", area, html! { bdi { (area) } }, entered.has(area)))
                }
            }
        }
        (tick("applies_first", "1", html! {
            (language.say(
                "Được áp dụng ngay, người khác xem lại sau (cho trang trở nên có hại)",
                "May apply at once, to be reviewed afterwards (for a page that turned harmful)",
            ))
        }, entered.applies_first))
    }
}

fn area_words(visit: &Visit<'_>, account: &Account) -> String {
    if account.areas.is_empty() {
        return visit.language.say("mọi khu vực", "every area").to_owned();
    }
    account.areas.join(", ")
}

fn states(visit: &Visit<'_>, account: &Account) -> Markup {
    let language = visit.language;
    html! {
        @if account.is_disabled { (badge(Tone::Danger, language.say("đã khóa", "disabled"))) " " }
        @if account.is_invited { (badge(Tone::Warning, language.say("chưa đặt mật khẩu", "no password yet"))) " " }
        @if !account.is_disabled && !account.is_invited { (badge(Tone::Info, language.say("đang hoạt động", "active"))) " " }
        @if account.has_second_factor { (badge(Tone::Good, language.say("xác thực hai bước", "second factor"))) " " }
        @if account.applies_first { (badge(Tone::Info, language.say("áp dụng trước", "applies first"))) }
    }
}

/// What was refused at each account since the service started.
fn refusals(visit: &Visit<'_>, all: &[Account]) -> Markup {
    let language = visit.language;
    let list = visit.parts.accounts.limits.refused();
    let heads = [
        language.say("Tài khoản", "Account"),
        language.say("Sai", "Wrong"),
        language.say("Trong lúc phải chờ", "During a pause"),
        language.say("Lần cuối", "Last"),
    ];
    let row = |(number, refused): &(Option<i64>, Refused)| {
        let name = all.iter().find(|account| Some(account.number) == *number).map(|account| account.name.as_str());
        let name = name.unwrap_or_else(|| language.say("tên không tồn tại", "names that are none"));
        vec![
            html! { bdi { (name) } },
            html! { (language.number(refused.wrong)) },
            html! { (language.number(refused.limited)) },
            time(visit, refused.last),
        ]
    };
    html! {
        @if !list.is_empty() {
            h2 { (language.say("Đăng nhập bị từ chối từ khi khởi động", "Refused sign-ins since the start")) }
            (table(language.say("Đăng nhập bị từ chối", "Refused sign-ins"), &heads, list.iter().map(row)))
        }
    }
}

/// A link that was made.
fn link(visit: &Visit<'_>, name: &str, token: &str) -> Response {
    let language = visit.language;
    let url = format!("{}/invite/{token}", visit.origin);
    let main = html! {
        (notice(Tone::Good, "", html! {
            p {
                (language.say("Gửi liên kết này cho ", "Give this link to ")) strong { bdi { (name) } }
                (language.say(
                    ". Nó dùng được một lần trong 72 giờ, và không hiện lại nữa.",
                    ". It holds once, for 72 hours, and is not shown again.",
                ))
            }
            p { code { (url) } }
        }))
        p { a href="/accounts" { (language.say("Về danh sách", "Back to the list")) } }
    };
    page(visit, language.say("Liên kết một lần", "A one-time link"), main)
}
