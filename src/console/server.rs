//! From a request to its page.
//!
//! Owns the order: whether it may be answered at all (`security`), its body, who asks, whether the account may
//! (`routes`), the handler. Only the first two are done on the console's own thread; the rest reads files and is done
//! on its few threads for that. A password is checked by one thread at a time: the right to do so goes with the
//! work, so that a client that hangs up starts no second one, and who waits for longer than [`HASH_WAIT`] is asked
//! to try again.
//!
//! Every response has the headers of [`HEADERS`]: no script at all, nothing from elsewhere, in no frame, kept by no
//! cache (but the style sheet, whose address changes with it).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONNECTION, FORWARDED, HeaderMap, HeaderName, HeaderValue, REFRESH,
    RETRY_AFTER, SET_COOKIE, USER_AGENT,
};
use hyper::http::request::Parts as Head;
use hyper::{Method, Request, StatusCode};
use jiff::Timestamp;
use maud::{Markup, html};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answer::{self, Failure, Response};
use super::elements::problems;
use super::fields::Fields;
use super::language::Language;
use super::metrics::{Counters, Reason, SignInResult};
use super::page;
use super::routes;
use super::security::{Origin, Refusal};
use super::sign_in;
use super::words;
use super::{Parts, Settings, Visit};
use crate::accounts::{Account, AccountError, Attempt};
use crate::core::{LanguagePreference, Stage};
use crate::observe;
use crate::web::{self, Activity, Connections, Trust};

/// Most connections open at a time: some forty browsers with six each; silent ones give way.
const MAX_CONNECTIONS: usize = 256;
/// The largest form without a file, in bytes,
const MAX_FORM: u64 = 64 << 10;
/// and one with texts: a thousand characters are up to 12 KB as a form spells them, and come twice, as they were and as
/// they are, in each of ten languages.
const MAX_TEXTS: u64 = 256 << 10;
/// How long a form may take to come,
const FORM_TIME: Duration = Duration::from_secs(10);
/// and one with a file: 16 MiB at half a megabit a second.
const UPLOAD_TIME: Duration = Duration::from_mins(5);
/// Files that are in memory at a time.
const UPLOADS: usize = 2;
/// How long a sign-in waits for its turn: 20 people at once are 0.6 s of a core that others use as well.
const HASH_WAIT: Duration = Duration::from_secs(5);
/// After how many seconds a client that is told to try again may.
const RETRY: u64 = 2;

/// On every response.
const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'; script-src 'none'",
    ),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
];

const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><path fill=\"#0b5d7a\" \
                    d=\"M7 1h2v1h4l2 2-2 2H9v9H7V6H2V2h5z\"/></svg>";

/// The console, which serves once it is told where.
pub struct Console {
    pub(super) parts: Parts,
    pub(super) settings: Settings,
    pub(super) origin: Origin,
    trust: Trust,
    /// A proxy that `console.proxies` does not have is said once.
    undeclared_proxy: Once,
    connections: Arc<Connections>,
    hashing: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    pub(super) counters: Counters,
}

/// What is known of a request before its body is read.
pub(super) struct Asked {
    /// Anything but GET and HEAD: something is to be done.
    pub is_post: bool,
    pub path: String,
    /// Of a GET.
    pub query: String,
    /// The browser's, or that of `?lang=`.
    pub language: Language,
    /// Of whoever asks, behind proxies.
    pub address: IpAddr,
    /// Whether it comes from this machine, and by no proxy.
    pub is_local: bool,
    /// The kind of device, such as `chrome, android`.
    pub client: String,
    pub cookie: Option<String>,
    /// Whom a proxy names, if that is how people sign in; an empty name where it can't be read.
    pub user: Option<String>,
    pub now: Timestamp,
}

/// Who asks.
enum Who {
    /// Somebody with a session, or whom a proxy has signed in.
    Account(Box<Account>, Option<i64>),
    Nobody,
    /// A proxy names somebody who has no account here.
    Stranger(String),
}

impl Console {
    /// Serves nobody yet. `port` is the one that the listener has.
    pub fn new(parts: Parts, settings: Settings, port: u16) -> Arc<Self> {
        let header = HeaderName::from_static("x-forwarded-for");
        Arc::new(Self {
            origin: Origin::new(&settings.origin, port),
            trust: Trust { proxies: settings.proxies.clone(), header },
            undeclared_proxy: Once::new(),
            connections: Arc::new(Connections::new("console", MAX_CONNECTIONS)),
            hashing: Arc::new(Semaphore::new(1)),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            counters: Counters::default(),
            parts,
            settings,
        })
    }

    /// Serves until the listeners of the edge close. On a runtime of its own, whose threads for what blocks are few
    /// and go last.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut stage: watch::Receiver<Stage>) {
        self.invite_first(&listener);
        let connections = self.connections.clone();
        // An error means that the sender is gone, and with it the rest of the process.
        let until = async move { drop(stage.wait_for(|stage| *stage >= Stage::Closing).await) };
        let answer = move |activity: Arc<Activity>, request| {
            let console = self.clone();
            async move { console.answer(&activity, request).await }
        };
        web::serve(listener, connections, until, answer).await;
    }

    /// Logs a link that makes the first account, where there is none. It would lead nowhere where people come by another
    /// address than loopback: there the command makes it.
    fn invite_first(&self, listener: &TcpListener) {
        let is_loopback = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
        if let Err(error) = self.try_to_invite(is_loopback && !self.origin.is_https()) {
            tracing::error!(%error, "the first account can't be made");
        }
    }

    fn try_to_invite(&self, by_link: bool) -> Result<(), AccountError> {
        let accounts = &self.parts.accounts;
        if by_link {
            if let Some(token) = accounts.invite_first(Timestamp::now())? {
                tracing::info!(url = format!("{}/invite/{token}", self.origin.url), "console invitation");
            }
        } else if accounts.all()?.is_empty() {
            let command = "waypost console invite NAME --role manager";
            tracing::warn!(command, "the console has no account yet; the command makes the first one");
        }
        Ok(())
    }

    async fn answer(self: Arc<Self>, activity: &Activity, request: Request<Incoming>) -> Response {
        let (head, body) = request.into_parts();
        let counters = self.clone();
        let mut response = self.respond(activity, head, body).await;
        counters.counters.answered(response.status());
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }

    async fn respond(self: Arc<Self>, activity: &Activity, head: Head, body: Incoming) -> Response {
        let asked = self.read(activity.peer, &head);
        if let Err(refusal) = self.origin.check(&head) {
            return self.refuse(&asked, refusal);
        }
        let is_get = matches!(head.method, Method::GET | Method::HEAD);
        if !is_get && head.method != Method::POST {
            return not_allowed(&asked, "GET, HEAD, POST");
        }
        match asked.path.as_str() {
            "/style.css" | "/favicon.ico" if !is_get => return not_allowed(&asked, "GET, HEAD"),
            "/style.css" => return kept(answer::body(StatusCode::OK, "text/css; charset=utf-8", page::STYLE)),
            "/favicon.ico" => return kept(answer::body(StatusCode::OK, "image/svg+xml", ICON)),
            _ => {}
        }
        if is_get {
            if asked.cookie.is_none() && asked.user.is_none() && Origin::is_from_elsewhere(&head.headers) {
                return once_more(asked.language);
            }
            let fields = Fields::parse(&asked.query);
            return self.handle(asked, Form { fields, ..Form::default() }).await;
        }
        match self.read_form(activity, &asked, &head.headers, body).await {
            Ok(form) => self.handle(asked, form).await,
            Err(response) => response,
        }
    }

    fn read(&self, peer: SocketAddr, head: &Head) -> Asked {
        let headers = &head.headers;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let query = head.uri.query().unwrap_or_default();
        let lang = query.split('&').find_map(|pair| pair.strip_prefix("lang="));
        let asks = LanguagePreference::read(lang, text(ACCEPT_LANGUAGE));
        let client = observe::classify(headers.get(USER_AGENT).map_or(b"", HeaderValue::as_bytes));
        let address = self.trust.client(peer, headers);
        if headers.contains_key(&self.trust.header) && !self.trust.trusts(peer.ip().to_canonical()) {
            self.undeclared_proxy.call_once(|| {
                tracing::warn!(
                    "expected X-Forwarded-For from the networks of console.proxies alone, found it from another address; if \
                     that is a proxy's, all who sign in by it count as one network until it is in console.proxies"
                );
            });
        }
        let (direct, is_post) = (peer.ip().to_canonical(), !matches!(head.method, Method::GET | Method::HEAD));
        let user = self.settings.user_header.as_ref().filter(|_| self.trust.trusts(direct)).and_then(|header| {
            let mut values = headers.get_all(header).iter();
            let first = values.next()?;
            // Two names are nobody's: one of them a client may have sent.
            let one = std::str::from_utf8(first.as_bytes()).ok().filter(|_| values.next().is_none());
            Some(one.unwrap_or_default().to_owned())
        });
        Asked {
            is_post,
            path: head.uri.path().to_owned(),
            query: query.to_owned(),
            language: if asks.primary() == "en" { Language::English } else { Language::Vietnamese },
            // What a proxy sends on may be from anywhere, also where it does not say from where, or we do not know it.
            is_local: direct.is_loopback()
                && ![&self.trust.header, &FORWARDED].into_iter().any(|name| headers.contains_key(name)),
            address,
            client: format!("{}, {}", client.app.as_str(), client.os.as_str()),
            cookie: self.origin.cookie(headers),
            user,
            now: Timestamp::now(),
        }
    }

    fn refuse(&self, asked: &Asked, refusal: Refusal) -> Response {
        let language = asked.language;
        let (reason, status) = match refusal {
            Refusal::Host => (Reason::Host, StatusCode::MISDIRECTED_REQUEST),
            Refusal::Site => (Reason::Site, StatusCode::FORBIDDEN),
            Refusal::Origin => (Reason::Origin, StatusCode::FORBIDDEN),
        };
        let why = if refusal == Refusal::Host {
            language.say(
                "Địa chỉ này không phải là địa chỉ của trang quản trị (console.origin).",
                "This is not the console's address (console.origin).",
            )
        } else {
            language.say(
                "Yêu cầu này đến từ một trang khác nên bị từ chối.",
                "The request comes from a page of another site, and is refused.",
            )
        };
        self.counters.refused(reason);
        bare(asked, status, language.say("Bị từ chối", "Refused"), why)
    }

    /// The form of a request, with the right to compute a hash where it takes one.
    async fn read_form(
        self: &Arc<Self>,
        activity: &Activity,
        asked: &Asked,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Result<Form, Response> {
        let is_upload = asked.path == "/import";
        let (most, time) = match is_upload {
            true => (self.settings.max_upload + MAX_FORM, UPLOAD_TIME),
            false if asked.path.starts_with("/about/") => (MAX_TEXTS, FORM_TIME),
            false => (MAX_FORM, FORM_TIME),
        };
        let upload = if is_upload { Some(self.may_upload(asked).await?) } else { None };
        activity.wait_for_client(true);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let read = tokio::time::timeout(time, Limited::new(body, most).collect()).await;
        activity.wait_for_client(false);
        let status = match read {
            Ok(Ok(body)) => match Fields::read(headers, body.to_bytes()).await {
                Some(fields) => return self.ready(asked, Form { fields, upload, ..Form::default() }).await,
                None => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            },
            Ok(Err(error)) if error.is::<LengthLimitError>() => StatusCode::PAYLOAD_TOO_LARGE,
            Ok(Err(_)) => StatusCode::BAD_REQUEST,
            Err(_) => StatusCode::REQUEST_TIMEOUT,
        };
        self.counters.refused(Reason::Body);
        let language = asked.language;
        let why = match status {
            StatusCode::PAYLOAD_TOO_LARGE => language.say("Nội dung gửi lên quá lớn.", "What was sent is too large."),
            StatusCode::REQUEST_TIMEOUT => language.say("Nội dung gửi lên quá chậm.", "What was sent came too slowly."),
            _ => language.say("Nội dung gửi lên không phải là một biểu mẫu.", "What was sent is no form."),
        };
        let mut response = bare(asked, status, language.say("Không đọc được", "It can't be read"), why);
        // The rest of the body is still on its way.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        Err(response)
    }

    /// The right to send a file, for who may: nobody else's is read.
    async fn may_upload(self: &Arc<Self>, asked: &Asked) -> Result<OwnedSemaphorePermit, Response> {
        let (console, cookie, user, now) = (self.clone(), asked.cookie.clone(), asked.user.clone(), asked.now);
        let who = tokio::task::spawn_blocking(move || console.who(cookie.as_deref(), user.as_deref(), now)).await;
        match who {
            Ok(Ok(Who::Account(account, _))) if account.role.has(crate::accounts::Right::Propose) => {}
            Ok(Ok(Who::Account(..))) => {
                self.counters.refused(Reason::Rights);
                return Err(bare(asked, StatusCode::FORBIDDEN, forbidden(asked.language), ""));
            }
            _ => return Err(self.no_session(asked)),
        }
        self.uploads.clone().try_acquire_owned().map_err(|_| self.busy(asked))
    }

    /// Waits for its turn where a password is to be checked.
    async fn ready(&self, asked: &Asked, form: Form) -> Result<Form, Response> {
        let is_sign_in = asked.path == "/login";
        if !is_sign_in && asked.path != "/account" && !asked.path.starts_with("/invite/") {
            return Ok(form);
        }
        let limits = &self.parts.accounts.limits;
        let begun = is_sign_in.then(|| limits.begin(form.fields.get("name"), asked.address, Instant::now(), asked.now));
        let attempt = begun.transpose().map_err(|pause| {
            self.counters.sign_in(SignInResult::Limited);
            sign_in::limited(asked, pause)
        })?;
        let turn = tokio::time::timeout(HASH_WAIT, self.hashing.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = turn else {
            if is_sign_in {
                self.counters.sign_in(SignInResult::Busy);
            }
            return Err(self.busy(asked));
        };
        Ok(Form { attempt, hash: Some(permit), ..form })
    }

    async fn handle(self: Arc<Self>, asked: Asked, form: Form) -> Response {
        let language = asked.language;
        let work = move || {
            let Form { fields, attempt, hash, upload } = form;
            let response = self.page(&asked, fields, attempt);
            drop((hash, upload));
            response
        };
        // It breaks off where the handler panics in a debug build; in a release build that ends the process.
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| broken(language))
    }

    /// On a thread that may block.
    fn page(&self, asked: &Asked, fields: Fields, attempt: Option<Attempt>) -> Response {
        let who = match self.who(asked.cookie.as_deref(), asked.user.as_deref(), asked.now) {
            Ok(who) => who,
            Err(error) => {
                tracing::error!(%error, "the console's file can't be used");
                return broken(asked.language);
            }
        };
        let (account, session) = match who {
            Who::Stranger(name) => {
                self.counters.refused(Reason::User);
                return sign_in::stranger(asked, &name);
            }
            Who::Account(account, session) => (Some(*account), session),
            Who::Nobody => (None, None),
        };
        if let Some(response) = sign_in::answer(self, asked, &fields, account.as_ref(), attempt) {
            return response;
        }
        let Some(account) = account else {
            return if asked.is_post { self.no_session(asked) } else { sign_in::first(asked) };
        };
        let language = match account.language.as_str() {
            "vi" => Language::Vietnamese,
            "en" => Language::English,
            _ => asked.language,
        };
        let visit = Visit {
            parts: &self.parts,
            language,
            now: asked.now,
            registry: self.parts.publisher.current(),
            path: asked.path.clone(),
            fields,
            session,
            address: asked.address,
            must_enrol: session.is_some()
                && !account.has_second_factor
                && self.settings.second_factor.contains(&account.role),
            origin: &self.origin.url,
            account,
        };
        let response = routed(&visit, asked.is_post).unwrap_or_else(|failure| Self::failed(&visit, failure));
        // A form that is shown again with what was typed is refused all the same.
        if response.status() == StatusCode::FORBIDDEN {
            self.counters.refused(Reason::Rights);
        }
        response
    }

    /// The page of a failure, in the frame.
    fn failed(visit: &Visit<'_>, failure: Failure) -> Response {
        let language = visit.language;
        let (status, title) = match &failure {
            Failure::NotFound => (StatusCode::NOT_FOUND, language.say("Không tìm thấy", "Not found")),
            Failure::NotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, language.say("Không làm được ở đây", "Not to be done here"))
            }
            Failure::Forbidden(_) => (StatusCode::FORBIDDEN, language.say("Không được phép", "Not allowed")),
            Failure::Wrong(_) => (StatusCode::UNPROCESSABLE_ENTITY, language.say("Chưa được", "Not yet")),
            Failure::Change(_) => (StatusCode::CONFLICT, language.say("Đã có thay đổi", "Something has changed")),
            Failure::Database(_) => (StatusCode::INTERNAL_SERVER_ERROR, language.say("Lỗi", "An error")),
        };
        let said = match failure {
            Failure::NotFound => html! {
                p { (language.say("Không có trang này.", "There is no such page.")) }
                (ways_on(language))
            },
            Failure::NotAllowed => ways_on(language),
            Failure::Forbidden(why) => html! { p { (why) } (ways_on(language)) },
            Failure::Wrong(list) => problems(language, &list),
            Failure::Change(error) => html! { p { bdi { (words::change_problem(language, &error)) } } },
            Failure::Database(error) => {
                tracing::error!(%error, "the console's file can't be used");
                html! { p { (unusable(language)) } }
            }
        };
        let mut response = page::page_with(visit, status, title, said);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }

    fn who(
        &self,
        cookie: Option<&str>,
        user: Option<&str>,
        now: Timestamp,
    ) -> Result<Who, crate::history::DatabaseError> {
        let accounts = &self.parts.accounts;
        if let Some(name) = user {
            let Some(account) = accounts.named(name)?.filter(|account| !account.is_disabled) else {
                return Ok(Who::Stranger(name.to_owned()));
            };
            accounts.signed_in_elsewhere(now, &account)?;
            return Ok(Who::Account(Box::new(account), None));
        }
        let Some(token) = cookie else { return Ok(Who::Nobody) };
        let session = accounts.session(now, token)?;
        Ok(session.map_or(Who::Nobody, |(account, number)| Who::Account(Box::new(account), Some(number))))
    }

    fn no_session(&self, asked: &Asked) -> Response {
        self.counters.refused(Reason::NoSession);
        sign_in::ended(asked)
    }

    fn busy(&self, asked: &Asked) -> Response {
        self.counters.refused(Reason::Busy);
        let language = asked.language;
        let why = language.say(
            "Đang có nhiều yêu cầu cùng lúc. Xin thử lại sau vài giây.",
            "There are many requests at once. Please try again in a few seconds.",
        );
        let title = language.say("Xin thử lại", "Please try again");
        let mut response = bare(asked, StatusCode::SERVICE_UNAVAILABLE, title, why);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY));
        response
    }

    /// A response with the cookie of a new session, or without one.
    pub(super) fn with_cookie(&self, mut response: Response, token: Option<&str>) -> Response {
        // A token is hexadecimal.
        if let Ok(value) = HeaderValue::from_str(&self.origin.set_cookie(token)) {
            response.headers_mut().insert(SET_COOKIE, value);
        }
        response
    }
}

impl Collector for Console {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.counters.collect()
    }
}

/// A form that was read.
#[derive(Default)]
struct Form {
    fields: Fields,
    /// Of a sign-in.
    attempt: Option<Attempt>,
    /// The right to compute a hash.
    hash: Option<OwnedSemaphorePermit>,
    /// The right to have a file in memory.
    upload: Option<OwnedSemaphorePermit>,
}

/// By the table of routes.
fn routed(visit: &Visit<'_>, is_post: bool) -> Result<Response, Failure> {
    let (route, rest) = routes::find(&visit.path)?;
    if visit.must_enrol && route.path != "/account" {
        return Ok(answer::see_other("/account"));
    }
    let (right, handler) = match (is_post, route.change) {
        (false, _) => (route.see, route.get),
        (true, Some(change)) => change,
        (true, None) => return Err(Failure::NotAllowed),
    };
    if !visit.account.role.has(right) {
        return Err(Failure::Forbidden(forbidden(visit.language).to_owned()));
    }
    handler(visit, &rest)
}

fn forbidden(language: Language) -> &'static str {
    language.say("Tài khoản này không có quyền làm việc đó.", "This account may not do that.")
}

/// Where to go from a page on which nothing can be done.
fn ways_on(language: Language) -> Markup {
    html! {
        p.row {
            a href="/" { (language.say("Về trang đầu", "To the first page")) }
            a href="/signs" { (language.say("Tìm biển", "Find a sign")) }
            a href="/places" { (language.say("Tìm địa điểm", "Find a place")) }
        }
    }
}

fn unusable(language: Language) -> &'static str {
    language.say(
        "Có lỗi trên máy chủ, chưa có gì được thay đổi. Người vận hành xem được lý do trong nhật ký.",
        "Something is wrong on the server, and nothing was changed. The log tells its operator why.",
    )
}

fn broken(language: Language) -> Response {
    let title = language.say("Lỗi", "An error");
    page::bare(language, StatusCode::INTERNAL_SERVER_ERROR, title, html! { p { (unusable(language)) } })
}

/// A page of a few words for somebody who may not be signed in.
pub(super) fn bare(asked: &Asked, status: StatusCode, title: &str, text: &str) -> Response {
    page::bare(asked.language, status, title, html! { @if !text.is_empty() { p { (text) } } })
}

fn not_allowed(asked: &Asked, allow: &'static str) -> Response {
    let title = asked.language.say("Không làm được ở đây", "Not to be done here");
    let mut response = bare(asked, StatusCode::METHOD_NOT_ALLOWED, title, "");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// What has an address of its own for each content.
fn kept(mut response: Response) -> Response {
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, forever);
    response
}

/// A link on another site has led here, such as one in a mail, and the browser has kept the cookie back. Asked once
/// more by this page, it sends it.
fn once_more(language: Language) -> Response {
    let title = language.say("Đang mở", "Opening");
    let text = language.say("Đang mở trang…", "Opening the page…");
    let mut response = page::bare(language, StatusCode::OK, title, html! { p { (text) } });
    response.headers_mut().insert(REFRESH, HeaderValue::from_static("0"));
    response
}
