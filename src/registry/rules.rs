//! What a target, a time and a language in the registry's files may be.
//!
//! Owns the checks that stand between a slip of the pen and a visitor: `https` (or
//! `http` where the configuration says so), a host on the list, no user info, no
//! control bytes. Checked when the registry is read, never while a visitor waits.

use jiff::{Timestamp, civil, tz::TimeZone};
use url::{Host, Url};

use crate::core::Tag;

/// Longest target, in bytes: what browsers, proxies and in-app scanners all take.
const MAX_TARGET: usize = 2048;

/// The part of the configuration that the files are checked against.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The language of the columns without one: `name`, `target`.
    pub default_language: Tag,
    /// Of times without an offset, and of days and hours in reports.
    pub timezone: TimeZone,
    /// Hosts that a target may have.
    pub allowed_hosts: Vec<HostPattern>,
    /// Whether `http://` targets are taken.
    pub allow_http: bool,
    /// The host printed on the plates; a target there would lead back to us.
    pub public_host: String,
}

/// A host, or every host below one: `langson.gov.vn`, `*.langson.gov.vn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// Lower case, in the DNS's ASCII form.
    host: String,
    below: bool,
}

impl HostPattern {
    /// Reads a pattern; the error says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        const ALLOWED: &str = "allowed are a host name such as \"langson.gov.vn\" and \"*.\" before one";
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        match Host::parse(name) {
            Ok(Host::Domain(host)) if !host.contains('*') && (!below || host.contains('.')) => Ok(Self { host, below }),
            Ok(Host::Ipv4(address)) if !below => Ok(Self { host: address.to_string(), below }),
            Ok(Host::Ipv6(address)) if !below => Ok(Self { host: format!("[{address}]"), below }),
            _ => Err(format!("{text:?} is not a host; {ALLOWED}")),
        }
    }

    fn matches(&self, host: &str) -> bool {
        if self.below {
            host.strip_suffix(self.host.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            host == self.host
        }
    }
}

impl Rules {
    /// Checks a target and gives it as it will be sent: ASCII, percent-encoded.
    pub fn target(&self, text: &str) -> Result<String, String> {
        if text.len() > MAX_TARGET {
            return Err(format!("is {} bytes long; at most {MAX_TARGET} are allowed", text.len()));
        }
        if let Some(control) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("contains {control:?}; a URL has no spaces or control characters"));
        }
        let schemes = if self.allow_http { "https:// or http://" } else { "https://" };
        let url =
            Url::parse(text).map_err(|error| format!("{text:?} is not a URL ({error}); it must begin {schemes}"))?;
        // First of all: what follows repeats the text.
        if !url.username().is_empty() || url.password().is_some() {
            return Err("has user info before its host; none is allowed".to_owned());
        }
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => {
                return Err(format!("{text:?} is http; only https is allowed (registry.allow_http is false)"));
            }
            scheme => return Err(format!("the scheme {scheme:?} is not allowed; it must begin {schemes}")),
        }
        let host = url.host_str().unwrap_or("");
        if !self.allowed_hosts.iter().any(|pattern| pattern.matches(host)) {
            return Err(format!("host {host} is not in allowed_hosts"));
        }
        if host == self.public_host {
            return Err(format!("host {host} is this service's own (edge.public_url); a scan would lead back here"));
        }
        Ok(url.into())
    }

    /// Reads a time: RFC 3339, or local in the configured zone. Milliseconds since the epoch.
    pub fn time(&self, text: &str) -> Result<i64, String> {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(time.as_millisecond());
        }
        let wrong = || {
            format!(
                "{text:?} is not a time; allowed are 2027-02-27T08:00 (in {}) and 2027-02-27T08:00:00+07:00",
                self.timezone.iana_name().unwrap_or("the configured zone")
            )
        };
        // A date alone would leave open whether the day itself is meant to be in.
        if !text.contains(':') {
            return Err(wrong());
        }
        let local: civil::DateTime = text.parse().map_err(|_| wrong())?;
        let zoned = local.to_zoned_datetime(self.timezone.clone()).map_err(|_| wrong())?;
        Ok(zoned.timestamp().as_millisecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow_http: bool) -> Rules {
        Rules {
            default_language: Tag::from("vi").expect("short"),
            timezone: TimeZone::get("Asia/Ho_Chi_Minh").expect("compiled in"),
            allowed_hosts: ["*.langson.gov.vn", "langson.gov.vn"]
                .map(|text| HostPattern::parse(text).expect("a pattern"))
                .to_vec(),
            allow_http,
            public_host: "qr.langson.gov.vn".to_owned(),
        }
    }

    #[test]
    fn a_target_stays_on_the_allowed_hosts() {
        let rules = rules(false);
        assert!(rules.target("https://langson.gov.vn/vi/x?id=1").is_ok());
        assert!(rules.target("https://a.b.langson.gov.vn:8443/").is_ok());
        for (target, reason) in [
            ("https://example.com/", "host example.com is not in allowed_hosts"),
            ("https://evillangson.gov.vn/", "allowed_hosts"),
            ("https://.langson.gov.vn/", "allowed_hosts"),
            ("https://langson.gov.vn.evil.com/", "allowed_hosts"),
            ("https://langson.gov.vn@evil.com/", "user info"),
            ("http://user:secret@langson.gov.vn/", "user info"),
            ("https://evil.com\\@langson.gov.vn/", "allowed_hosts"),
            ("http://langson.gov.vn/", "only https"),
            ("javascript:alert(1)", "scheme"),
            ("//langson.gov.vn/", "not a URL"),
            ("https://langson.gov.vn/a\r\nSet-Cookie: x", "control"),
            ("https://langson.gov.vn/a b", "spaces"),
            ("https://qr.langson.gov.vn/7K3M9QX2", "lead back here"),
        ] {
            let error = rules.target(target).expect_err(target);
            assert!(error.contains(reason), "{target}: {error}");
        }
    }

    #[test]
    fn what_is_sent_is_ascii() {
        let sent = rules(true).target("http://langson.gov.vn/đường/Hùng Vương".replace(' ', "-").as_str());
        assert_eq!(sent.as_deref(), Ok("http://langson.gov.vn/%C4%91%C6%B0%E1%BB%9Dng/H%C3%B9ng-V%C6%B0%C6%A1ng"));
    }

    #[test]
    fn times_are_rfc_3339_or_local() {
        let rules = rules(false);
        let utc = rules.time("2027-02-26T17:00:00Z").expect("RFC 3339");
        assert_eq!(rules.time("2027-02-27T00:00"), Ok(utc));
        assert_eq!(rules.time("2027-02-27 00:00:00"), Ok(utc));
        assert_eq!(rules.time("2027-02-27T00:00:00+07:00"), Ok(utc));
        for wrong in ["2027-02-27", "27/02/2027", "", "soon", "2027-02-30T00:00"] {
            assert!(rules.time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bare_star_is_no_pattern() {
        for wrong in ["*", "*.", "*.vn.*", "a*b.vn", "", "*.1.2.3.4", "*.vn"] {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
