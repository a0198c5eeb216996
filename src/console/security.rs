//! Whose requests are answered.
//!
//! Owns three rules. A request by a name that is not the console's may be another site's (DNS rebinding), and is
//! refused. What changes something comes from a page of the console itself, as the browser says: by
//! `Sec-Fetch-Site`, where `same-site` is refused like `cross-site` since other hosts of a province have been taken
//! over before; by `Origin` where a browser sends no such header; where neither is there it is no browser. (Go's
//! `CrossOriginProtection` does it like this.) And the cookie is sent to no other host, by no other site, to no script.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts as Head;

use crate::accounts::MOST;

pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a browser calls the console.
#[derive(Debug)]
pub(super) struct Origin {
    /// Without a slash at its end; what links that leave the console begin with.
    pub url: String,
    /// What `Host` may be, in lower case.
    hosts: Vec<String>,
    /// What `Origin` may be.
    origins: Vec<String>,
}

/// Why a request is refused; the label of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Host,
    Site,
    Origin,
}

impl Origin {
    /// As it is configured; empty: loopback by its port.
    pub fn new(configured: &str, port: u16) -> Self {
        if let Some((scheme, host)) = configured.split_once("://") {
            let default = if scheme == "https" { ":443" } else { ":80" };
            // Without a port the default one may be named; with one (a browser names no default) it is another.
            let hosts = vec![host.to_ascii_lowercase(), format!("{host}{default}").to_ascii_lowercase()];
            return Self { url: configured.to_owned(), hosts, origins: vec![configured.to_owned()] };
        }
        let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}")).to_vec();
        let origins: Vec<String> = hosts.iter().map(|host| format!("http://{host}")).collect();
        Self { url: origins[0].clone(), hosts, origins }
    }

    /// Whether a request may be answered.
    pub fn check(&self, head: &Head) -> Result<(), Refusal> {
        let target = head.uri.authority().map(|authority| authority.as_str().as_bytes());
        let mut hosts = all(&head.headers, &HOST).chain(target).peekable();
        let is_ours = |host: &[u8]| self.hosts.iter().any(|own| host.eq_ignore_ascii_case(own.as_bytes()));
        if hosts.peek().is_none() || !hosts.all(is_ours) {
            return Err(Refusal::Host);
        }
        if head.method.is_safe() {
            return Ok(());
        }
        let mut sites = all(&head.headers, &SEC_FETCH_SITE).peekable();
        if sites.peek().is_some() {
            let is_own = sites.all(|site| matches!(site, b"same-origin" | b"none"));
            return if is_own { Ok(()) } else { Err(Refusal::Site) };
        }
        let is_own = |origin: &[u8]| self.origins.iter().any(|own| own.as_bytes() == origin);
        if all(&head.headers, &ORIGIN).all(is_own) { Ok(()) } else { Err(Refusal::Origin) }
    }

    /// Whether a page of another site has led here. The browser then keeps the cookie back.
    pub fn is_from_elsewhere(headers: &HeaderMap) -> bool {
        all(headers, &SEC_FETCH_SITE).any(|site| site == b"cross-site")
    }

    /// What the cookie of a request has.
    pub fn cookie(&self, headers: &HeaderMap) -> Option<String> {
        let lines = all(headers, &COOKIE).filter_map(|line| std::str::from_utf8(line).ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == self.cookie_name())?;
        Some(value.to_owned())
    }

    /// The header that sets the cookie; `None` takes it away.
    pub fn set_cookie(&self, token: Option<&str>) -> String {
        let (name, secure) = (self.cookie_name(), if self.is_https() { " Secure;" } else { "" });
        let age = token.map_or(0, |_| MOST.as_secs());
        let token = token.unwrap_or_default();
        format!("{name}={token}; Path=/; Max-Age={age};{secure} HttpOnly; SameSite=Strict")
    }

    /// The prefix binds a cookie to its host, and browsers take it only with `Secure`; on plain loopback Firefox and
    /// Safari would not take that.
    fn cookie_name(&self) -> &'static str {
        if self.is_https() { "__Host-waypost" } else { "waypost" }
    }

    /// Whether browsers reach it by TLS, so from beyond this machine; without, it is on loopback alone.
    pub fn is_https(&self) -> bool {
        self.url.starts_with("https://")
    }
}

fn all<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: &Origin, method: &str, headers: &[(&str, &str)]) -> Option<Refusal> {
        let request = hyper::Request::builder().method(method).uri("/signs");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        origin.check(&request.body(()).expect("a request").into_parts().0).err()
    }

    #[test]
    fn only_our_own_names_are_answered() {
        let public = Origin::new("https://bien.langson.gov.vn", 9080);
        let local = Origin::new("", 9080);
        for (origin, host, refused) in [
            (&public, "bien.langson.gov.vn", false),
            (&public, "Bien.LangSon.gov.vn:443", false),
            (&public, "bien.langson.gov.vn:8443", true),
            (&public, "127.0.0.1:9080", true),
            (&public, "langson.gov.vn", true),
            (&local, "127.0.0.1:9080", false),
            (&local, "localhost:9080", false),
            (&local, "[::1]:9080", false),
            (&local, "localhost", true),
            (&local, "evil.example:9080", true),
            (&local, "", true),
        ] {
            let found = check(origin, "GET", &[("host", host)]);
            assert_eq!(found, refused.then_some(Refusal::Host), "{host}");
        }
        assert_eq!(check(&local, "GET", &[]), Some(Refusal::Host));
        let two = [("host", "localhost:9080"), ("host", "evil.example")];
        assert_eq!(check(&local, "GET", &two), Some(Refusal::Host));
    }

    #[test]
    fn only_our_own_pages_change_something() {
        let origin = Origin::new("https://bien.langson.gov.vn", 9080);
        let host = ("host", "bien.langson.gov.vn");
        for (headers, refused) in [
            (&[][..], None),
            (&[("sec-fetch-site", "same-origin")], None),
            (&[("sec-fetch-site", "none")], None),
            (&[("sec-fetch-site", "same-site")], Some(Refusal::Site)),
            (&[("sec-fetch-site", "cross-site")], Some(Refusal::Site)),
            (&[("sec-fetch-site", "")], Some(Refusal::Site)),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], Some(Refusal::Site)),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://bien.langson.gov.vn")], Some(Refusal::Site)),
            (&[("origin", "https://bien.langson.gov.vn")], None),
            (&[("origin", "https://langson.gov.vn")], Some(Refusal::Origin)),
            (&[("origin", "http://bien.langson.gov.vn")], Some(Refusal::Origin)),
            (&[("origin", "null")], Some(Refusal::Origin)),
        ] {
            let headers = [&[host], headers].concat();
            for method in ["POST", "PUT", "DELETE", "PATCH"] {
                assert_eq!(check(&origin, method, &headers), refused, "{method} {headers:?}");
            }
            assert_eq!(check(&origin, "GET", &headers), None, "looking is no harm: the cookie is not sent");
        }
    }

    #[test]
    fn the_cookie_is_bound_to_its_host() {
        let public = Origin::new("https://bien.langson.gov.vn", 9080);
        assert_eq!(
            public.set_cookie(Some("abc")),
            "__Host-waypost=abc; Path=/; Max-Age=604800; Secure; HttpOnly; SameSite=Strict"
        );
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=b; waypost=planted; __Host-waypost=abc".parse().expect("a value"));
        assert_eq!(public.cookie(&headers).as_deref(), Some("abc"));
        let local = Origin::new("", 9080);
        assert_eq!(local.cookie(&headers).as_deref(), Some("planted"));
        assert_eq!(local.set_cookie(None), "waypost=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }
}
