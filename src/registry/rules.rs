//! What a target and a time in the registry may be.
//!
//! Owns the checks that stand between a slip of the pen and a visitor: `https` (or
//! `http` where the configuration says so), a host on the list, no user info, no
//! control bytes. Checked when the registry is read, never while a visitor waits.

use jiff::{Timestamp, civil, tz::TimeZone};
use url::{Host, Url};

use crate::core::Tag;

/// Longest target, in bytes: what browsers, proxies and in-app scanners all take.
const MAX_TARGET: usize = 2048;

/// The part of the configuration that the registry's rows are checked against.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The language of the columns without one: `name`, `target`.
    pub default_language: Tag,
    /// The time zone of times without an offset, and of days and hours in reports.
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
    /// Reads a pattern: a host name, an address, or `*.` before a host name of at least two labels.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        match Host::parse(name) {
            Ok(Host::Domain(host)) if !host.contains('*') && (!below || host.contains('.')) => Ok(Self { host, below }),
            Ok(Host::Ipv4(address)) if !below => Ok(Self { host: address.to_string(), below }),
            Ok(Host::Ipv6(address)) if !below => Ok(Self { host: format!("[{address}]"), below }),
            _ => Err(HostPatternError { found: text.to_owned() }),
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

/// Why a text is no [`HostPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a host such as \"langson.gov.vn\", or one after \"*.\", found {found:?}")]
pub struct HostPatternError {
    found: String,
}

/// Why a URL is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// More than 2,048 bytes.
    #[error("expected at most {MAX_TARGET} bytes, found {0}")]
    TooLong(usize),
    /// It would not be sent as it is written.
    #[error("expected no spaces or control characters, found {0:?}")]
    Control(char),
    /// Not an absolute URL.
    #[error("expected a URL that begins {allowed}, found {found:?} ({error})")]
    NotAUrl {
        /// The target.
        found: String,
        /// Schemes that are allowed.
        allowed: &'static str,
        /// What is wrong with it.
        #[source]
        error: url::ParseError,
    },
    /// A name or a password before the host; the text does not repeat them.
    #[error("expected no user info before the host, found some")]
    UserInfo,
    /// `http`, where the configuration asks for `https`.
    #[error("expected https://, found {0:?} (registry.allow_http is false)")]
    Http(String),
    /// Another scheme.
    #[error("expected {allowed}, found the scheme {found:?}")]
    Scheme {
        /// The scheme.
        found: String,
        /// Schemes that are allowed.
        allowed: &'static str,
    },
    /// Not a host of the list.
    #[error("host {0} is not in allowed_hosts")]
    Host(String),
    /// The host printed on the plates.
    #[error("host {0} is this service's own (edge.public_url); a scan would lead back here")]
    OwnHost(String),
}

/// Why a text is no time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("expected a time such as 2027-02-27T08:00 (in {zone}) or 2027-02-27T08:00:00+07:00, found {found:?}")]
pub struct TimeError {
    found: String,
    zone: String,
    /// `None` for a date alone.
    #[source]
    error: Option<jiff::Error>,
}

impl Rules {
    /// Checks a target and gives it as it will be sent: ASCII, percent-encoded.
    pub fn target(&self, text: &str) -> Result<String, TargetError> {
        if text.len() > MAX_TARGET {
            return Err(TargetError::TooLong(text.len()));
        }
        if let Some(control) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
            return Err(TargetError::Control(control));
        }
        let allowed = if self.allow_http { "https:// or http://" } else { "https://" };
        let url = Url::parse(text).map_err(|error| TargetError::NotAUrl { found: text.to_owned(), allowed, error })?;
        // Before the other checks, whose errors repeat the text: it may hold a password.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::UserInfo);
        }
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => return Err(TargetError::Http(text.to_owned())),
            scheme => return Err(TargetError::Scheme { found: scheme.to_owned(), allowed }),
        }
        let host = url.host_str().unwrap_or("");
        if !self.allowed_hosts.iter().any(|pattern| pattern.matches(host)) {
            return Err(TargetError::Host(host.to_owned()));
        }
        if host == self.public_host {
            return Err(TargetError::OwnHost(host.to_owned()));
        }
        Ok(url.into())
    }

    /// Reads a time: RFC 3339, or local in the configured zone. Milliseconds since the Unix epoch.
    pub fn time(&self, text: &str) -> Result<i64, TimeError> {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(time.as_millisecond());
        }
        let wrong = |error| TimeError {
            found: text.to_owned(),
            zone: self.timezone.iana_name().unwrap_or("the configured zone").to_owned(),
            error,
        };
        // A date alone leaves open whether the day itself is included.
        if !text.contains(':') {
            return Err(wrong(None));
        }
        let local = text.parse::<civil::DateTime>().and_then(|time| time.to_zoned_datetime(self.timezone.clone()));
        Ok(local.map_err(|error| wrong(Some(error)))?.timestamp().as_millisecond())
    }
}

/// Where a target that was taken leads: its scheme and host, up to the `/` that begins the path. Others with the same
/// beginning need not be read as URLs if what follows is plain, and most of a table's targets are so.
#[derive(Debug, Default)]
pub(super) struct Site(String);

impl Site {
    /// Of a target that [`Rules::target`] has taken, and as it is sent.
    pub fn of(target: &str, sent: &str) -> Self {
        let host = target.find("://").map_or(target.len(), |at| at + 3);
        let end = target[host..].find('/').map_or(0, |at| host + at + 1);
        Self(if sent.starts_with(&target[..end]) { target[..end].to_owned() } else { String::new() })
    }

    /// Whether a text is a target as well, sent as it is written: the path and the query have only such characters as
    /// stand for themselves there, and no segment `.` or `..` (<https://url.spec.whatwg.org/#path-state>).
    pub fn holds(&self, text: &str) -> bool {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_~/.?=&".contains(&b);
        let Some(path) = text.strip_prefix(&self.0).filter(|_| !self.0.is_empty()) else { return false };
        let is_plain = path.bytes().all(plain) && !path.starts_with('.') && !path.contains("/.");
        is_plain && text.len() <= MAX_TARGET
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("http://langson.gov.vn/", "expected https://, found"),
            ("javascript:alert(1)", "scheme"),
            ("//langson.gov.vn/", "expected a URL"),
            ("https://langson.gov.vn/a\r\nSet-Cookie: x", "control"),
            ("https://langson.gov.vn/a b", "spaces"),
            ("https://qr.langson.gov.vn/7K3M9QX2", "lead back here"),
        ] {
            let error = rules.target(target).expect_err(target);
            assert!(error.to_string().contains(reason), "{target}: {error}");
        }
    }

    proptest! {
        /// Of two targets with the same beginning the second is taken as it would be alone.
        #[test]
        fn a_known_site_has_only_targets_that_are_sent_as_they_are(
            site in "(https?|HTTPS)://(a\\.|x@|0x7f\\.|%61)?(langson\\.gov\\.vn|evil\\.com)(:(443|8443))?[/?#]?",
            [first, second] in prop::array::uniform2("[a-z/.?=&%2eE#@:\\\\ ~_-]{0,12}"),
        ) {
            let rules = rules(false);
            let first = format!("{site}{first}");
            if let Ok(sent) = rules.target(&first) {
                let second = format!("{site}{second}");
                if Site::of(&first, &sent).holds(&second) {
                    prop_assert_eq!(rules.target(&second), Ok(second));
                }
            }
            prop_assert!(!Site::default().holds(&first));
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
        for same in ["2027-02-27T00:00", "2027-02-27 00:00:00", "2027-02-27T00:00:00+07:00"] {
            assert_eq!(rules.time(same).expect(same), utc);
        }
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
