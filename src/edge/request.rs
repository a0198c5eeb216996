//! What a visitor's request asks for, read without keeping a byte of it.
//!
//! Owns the reading of a request: method, path, query, languages. Everything here borrows: a header value
//! that is kept pins hyper's read buffer of 8 KiB.

use std::net::IpAddr;

use hyper::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::http::request::Parts;

use crate::core::scan::Channel;
use crate::core::{Code, LanguagePreference};
use crate::registry::Route;

/// A request, read once. This value alone is passed on.
pub(super) struct Request<'a> {
    pub method: Method,
    pub route: Route,
    /// Path and query as they were sent: what an alias is compared with.
    pub target: &'a str,
    pub query: Query<'a>,
    pub languages: LanguagePreference<'a>,
    /// Empty where there is none.
    pub user_agent: &'a [u8],
    /// For whether it is a prefetch.
    pub headers: &'a HeaderMap,
    /// The visitor's: of the other side of the connection, or of whom a proxy there speaks for.
    pub address: IpAddr,
    /// When its bytes were read, in milliseconds since the Unix epoch.
    pub received_ms: i64,
}

/// What a request may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    /// Answered as a GET, never recorded.
    Head,
    /// Any other, which is refused.
    Other,
}

impl<'a> Request<'a> {
    pub fn read(address: IpAddr, received_ms: i64, parts: &'a Parts) -> Self {
        let method = match parts.method {
            hyper::Method::GET => Method::Get,
            hyper::Method::HEAD => Method::Head,
            _ => Method::Other,
        };
        let (uri, headers) = (&parts.uri, &parts.headers);
        let query = Query::read(uri.query());
        // One walk over the eight or so that there are costs less than two lookups. Of several, the first counts.
        let (mut accept_language, mut user_agent) = (None, None);
        for (name, value) in headers {
            if *name == ACCEPT_LANGUAGE {
                accept_language.get_or_insert(value);
            } else if *name == USER_AGENT {
                user_agent.get_or_insert(value);
            }
        }
        let accept_language = accept_language.and_then(|value| value.to_str().ok());
        Self {
            method,
            route: Route::of(uri.path()),
            target: uri.path_and_query().map_or("", |target| target.as_str()),
            query,
            languages: LanguagePreference::read(query.lang, accept_language),
            user_agent: user_agent.map_or(&[], HeaderValue::as_bytes),
            headers,
            address,
            received_ms,
        }
    }

    pub fn is_head(&self) -> bool {
        self.method == Method::Head
    }

    /// The code that was typed into the box of a page: `/go?code=7k3m-9qx2`.
    pub fn typed_code(&self) -> Option<Code> {
        typed_code(self.target.split_once('?')?.1)
    }
}

/// What `c` says where a link on a page of ours was followed.
pub(super) const FROM_PAGE: &str = "page";

/// The two parameters that are read: how the visitor came, and a language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query<'a> {
    pub channel: Channel,
    /// The visitor chose another language on the page of a place, so that this is no scan.
    pub is_from_page: bool,
    pub lang: Option<&'a str>,
}

impl<'a> Query<'a> {
    pub fn read(query: Option<&'a str>) -> Self {
        let mut read = Self { channel: Channel::Qr, is_from_page: false, lang: None };
        let Some(query) = query else { return read };
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("c", "nfc")) => read.channel = Channel::Nfc,
                Some(("c", "typed")) => read.channel = Channel::Typed,
                Some(("c", FROM_PAGE)) => read.is_from_page = true,
                Some(("lang", lang)) if !lang.is_empty() => read.lang = Some(lang),
                _ => {}
            }
        }
        read
    }
}

/// The parameter `code` of a query, as a browser sends a form.
fn typed_code(query: &str) -> Option<Code> {
    let (_, text) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code")?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> Code {
        text.parse().expect("a code")
    }

    #[test]
    fn of_a_header_that_comes_twice_the_first_counts() {
        let request = hyper::Request::get("/A1")
            .header("user-agent", "first")
            .header("accept-language", "vi")
            .header("user-agent", "second")
            .header("accept-language", "en")
            .body(())
            .expect("a request");
        let (parts, ()) = request.into_parts();
        let request = Request::read([10, 0, 0, 1].into(), 0, &parts);
        assert_eq!((request.user_agent, request.languages.primary()), (&b"first"[..], "vi"));
    }

    #[test]
    fn the_box_takes_a_code_as_people_type_it() {
        assert_eq!(typed_code("code=7k3m+9qx5"), Some(code("7K3M9QX5")));
        assert_eq!(typed_code("x=1&code=%37K3M-9QX5"), Some(code("7K3M9QX5")));
        assert_eq!(typed_code("c%6Fde=7K3M+9QX5&code=A1"), Some(code("7K3M9QX5")));
        // A plus that was typed is a plus, and no code has one.
        assert_eq!(typed_code("code=7K3M%2B9QX5"), None);
        assert_eq!(typed_code("code="), None);
        assert_eq!(typed_code("code=<script>"), None);
        assert_eq!(typed_code(""), None);
    }

    proptest! {
        #[test]
        fn any_path_and_query_is_read_without_a_panic(text in ".{0,200}") {
            let _ = Query::read(Some(&text));
            let _ = typed_code(&text);
        }
    }
}
