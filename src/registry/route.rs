//! Where the path of a request leads, before any sign is looked up.
//!
//! Owns the order of the routes: our own pages, then codes, then everything else, which is an
//! alias or not found. Requests and the registry's builder read a path by this one function, so an
//! alias that no request would ever reach is refused when the tables are read.

use std::borrow::Cow;

use arrayvec::ArrayVec;
use url::Url;

use crate::core::Code;

/// Longest alias, in bytes.
pub(super) const MAX_ALIAS: usize = 1024;
/// Longest path that can be a code, with its hyphens and escapes.
const MAX_CODE_PATH: usize = 128;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/CODE`
    Code(Code),
    /// `/CODE+`, the page about a code
    Inspect(Code),
    /// `/`
    Home,
    /// `/go`, to which the box for a code is sent
    Typed,
    /// `/robots.txt`
    Robots,
    /// `/favicon.ico`
    Favicon,
    /// Anything else: an alias, or not found.
    Other,
}

impl Route {
    /// Of a path without its query. One slash at its end changes nothing.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let path = match path.strip_suffix('/') {
            // Of `//` nothing would be left that is a path.
            Some(rest) if !rest.is_empty() && !rest.ends_with('/') => rest,
            _ => path,
        };
        match path {
            "/" => return Self::Home,
            "/go" => return Self::Typed,
            "/robots.txt" => return Self::Robots,
            "/favicon.ico" => return Self::Favicon,
            _ => {}
        }
        let Some(text) = path.strip_prefix('/').filter(|text| text.len() <= MAX_CODE_PATH) else {
            return Self::Other;
        };
        let mut decoded = ArrayVec::<u8, MAX_CODE_PATH>::new();
        let mut text = text.as_bytes();
        if text.contains(&b'%') {
            decoded.extend(percent_encoding::percent_decode(text));
            text = &decoded;
        }
        let (text, inspect) = match text.strip_suffix(b"+") {
            Some(text) => (text, true),
            None => (text, false),
        };
        match Code::parse(text) {
            Ok(code) if inspect => Self::Inspect(code),
            Ok(code) => Self::Code(code),
            Err(_) => Self::Other,
        }
    }
}

/// Why no request would ever be answered by an alias.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// It is something else than a path.
    #[error("it does not begin with / (the host is left out)")]
    NoSlash,
    /// More than 1,024 bytes.
    #[error("it is {0} bytes long; at most {MAX_ALIAS} are allowed")]
    TooLong(usize),
    /// Browsers send nothing from the `#` on.
    #[error("it contains #, and browsers send nothing from there on")]
    Fragment,
    /// Not even browsers can read it.
    #[error("it is no path ({0})")]
    NotAPath(#[source] url::ParseError),
    /// It is sent as another path.
    #[error("browsers send it as {0:?}; write it so")]
    SentAs(String),
    /// It is the code of another sign, in whichever spelling.
    #[error("it is read as the code {0} of another sign")]
    Code(Code),
    /// The page about a code goes first.
    #[error("it is never reached, as it is read as the page that says what {0} is")]
    Inspect(Code),
    /// A page of our own goes first.
    #[error("it is a page of this service ({0})")]
    Page(String),
}

/// An old path and query as browsers send it, or why no browser does. Browsers escape some
/// characters, which is done here in the same way; and they resolve `.`, `..` and `\` before they
/// send anything (<https://url.spec.whatwg.org/#url-parsing>), so that such an alias would never be
/// asked for as it is written.
pub fn as_sent(alias: &str) -> Result<String, AliasError> {
    if !alias.starts_with('/') {
        return Err(AliasError::NoSlash);
    }
    if alias.contains('#') {
        return Err(AliasError::Fragment);
    }
    let url = Url::parse(&format!("https://host{alias}")).map_err(AliasError::NotAPath)?;
    let sent = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let meant = |text: &str| -> Vec<u8> { Cow::from(percent_encoding::percent_decode_str(text)).into_owned() };
    if meant(&sent) != meant(alias) {
        return Err(AliasError::SentAs(sent));
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> Code {
        text.parse().expect("a code")
    }

    #[test]
    fn paths_go_where_they_should() {
        for (path, route) in [
            ("/", Route::Home),
            ("/go", Route::Typed),
            ("/7k3m-9qx5", Route::Code(code("7K3M9QX5"))),
            ("/7k3m%2D9qx5", Route::Code(code("7K3M9QX5"))),
            ("/7K3M%209QX5", Route::Code(code("7K3M9QX5"))),
            ("/7K3M9QX5+", Route::Inspect(code("7K3M9QX5"))),
            ("/7K3M9QX5%2b", Route::Inspect(code("7K3M9QX5"))),
            ("/GO", Route::Code(code("G0"))),
            ("/wp-login.php", Route::Other),
            ("/a/b", Route::Other),
            ("/+", Route::Other),
            ("/%ff", Route::Other),
            ("/%", Route::Other),
            ("*", Route::Other),
            ("", Route::Other),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn one_slash_at_the_end_changes_nothing() {
        for (path, route) in [
            ("/7K3M9QX5/", Route::Code(code("7K3M9QX5"))),
            ("/7k3m%2D9qx5/", Route::Code(code("7K3M9QX5"))),
            ("/7K3M9QX5+/", Route::Inspect(code("7K3M9QX5"))),
            ("/go/", Route::Typed),
            ("/robots.txt/", Route::Robots),
            ("/7K3M9QX5//", Route::Other),
            ("/7K3M9QX5%2F", Route::Other),
            ("//7K3M9QX5", Route::Other),
            ("//7K3M9QX5/", Route::Other),
            ("//", Route::Other),
            ("///", Route::Other),
            ("/a/b/", Route::Other),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn an_alias_is_kept_as_browsers_send_it() {
        for (alias, sent) in [
            ("/vi/duong/hung-vuong?id=12", "/vi/duong/hung-vuong?id=12"),
            ("/cu/đường", "/cu/%C4%91%C6%B0%E1%BB%9Dng"),
            ("/cu/%C4%91uong", "/cu/%C4%91uong"),
            ("/cu/%c4%91uong", "/cu/%c4%91uong"),
            ("/a{1}<b>?q=\"x'<", "/a%7B1%7D%3Cb%3E?q=%22x%27%3C"),
            ("//twice//x", "//twice//x"),
            ("/old?", "/old?"),
            ("/old/", "/old/"),
            ("/a:b@c;d=e,f", "/a:b@c;d=e,f"),
            ("/50%", "/50%"),
        ] {
            assert_eq!(as_sent(alias).as_deref(), Ok(sent), "{alias}");
        }
        for (alias, sent) in
            [("/a/../b", "/b"), ("/a/./b", "/a/b"), ("/a/%2e%2E/b", "/b"), ("/a/..", "/"), ("/a\\b", "/a/b")]
        {
            assert_eq!(as_sent(alias), Err(AliasError::SentAs(sent.to_owned())), "{alias}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_a_panic(text in ".{0,200}") {
            // One slash more at the end of what does not end with one.
            if !text.ends_with('/') && text.len() > 1 {
                prop_assert_eq!(Route::of(&format!("{text}/")), Route::of(&text));
            }
            let sent = as_sent(&format!("/{text}"));
            prop_assert!(sent.is_err() || sent.is_ok_and(|sent| sent.is_ascii()));
        }

        /// What a browser sends is what hyper gives, or an alias would never be found.
        #[test]
        fn what_is_sent_arrives_as_it_is(alias in "/[!-~đ？]{0,40}") {
            if let Ok(sent) = as_sent(&alias) {
                let arrived: hyper::Uri = sent.parse().expect("what hyper takes");
                prop_assert_eq!(arrived.path_and_query().map(|path| path.as_str().to_owned()), Some(sent));
            }
        }

        #[test]
        fn what_is_sent_is_sent_again_as_it_is(alias in "/[!-~]{0,40}") {
            if let Ok(sent) = as_sent(&alias) {
                prop_assert_eq!(as_sent(&sent), Ok(sent.clone()));
            }
        }
    }
}
