//! Tables for a spreadsheet.
//!
//! Owns what leaves the console as CSV: UTF-8 with a byte-order mark, as Excel wants it, CRLF as RFC 4180 says, and no
//! cell that a spreadsheet would take for a formula. One that begins like one gets an apostrophe before it, which an
//! upload takes away again.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, HeaderValue};

use super::answer::{Response, body};
use crate::core::defused;

/// A table as text, its header first.
pub(super) fn csv_text<'c, R, C>(rows: R) -> String
where
    R: IntoIterator<Item = C>,
    C: IntoIterator<Item = Cow<'c, str>>,
{
    let mut text = "\u{feff}".to_owned();
    for row in rows {
        for (at, cell) in row.into_iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            let cell = defused(&cell);
            if cell.contains([',', '"', '\r', '\n', ';', '\t']) || cell.starts_with(' ') || cell.ends_with(' ') {
                text.push('"');
                text.push_str(&cell.replace('"', "\"\""));
                text.push('"');
            } else {
                text.push_str(&cell);
            }
        }
        text.push_str("\r\n");
    }
    text
}

/// A list to be kept as a file.
pub(super) fn download_list(name: &str, header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> Response {
    let rows = [header].into_iter().chain(rows).map(|row| row.into_iter().map(Cow::from));
    download(name, csv_text(rows))
}

/// A table to be kept as a file; the name is ours, ASCII without quotes.
pub(super) fn download(name: &str, text: String) -> Response {
    let mut response = body(StatusCode::OK, "text/csv; charset=utf-8", text);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (cell, written) in [
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+84 205", "'+84 205"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\tx", "\"'\tx\""),
            ("\n=x", "\"'\n=x\""),
            ("＝1+1", "'＝1+1"),
            ("'=1", "''=1"),
            ("'Trích'", "'Trích'"),
            ("a=b", "a=b"),
            ("7K3M-9QX5", "7K3M-9QX5"),
            ("a\r\nb;c", "\"a\r\nb;c\""),
        ] {
            let text = csv_text([[Cow::from(cell), Cow::from("Đường")]]);
            assert_eq!(text, format!("\u{feff}{written},Đường\r\n"));
        }
    }
}
