//! Lists as CSV, for a spreadsheet.
//!
//! Owns that nothing in them is a formula: a cell that begins like one gets an apostrophe before it, which spreadsheets
//! take for "this is text".

use hyper::header::{CONTENT_DISPOSITION, HeaderValue};

use super::answer::{self, Response};

/// Rows below a header. Begins with a byte-order mark, without which Excel takes UTF-8 for something else; lines end
/// as RFC 4180 says.
pub(super) fn csv_text(header: &[String], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = String::from("\u{feff}");
    line(&mut text, header);
    rows.into_iter().for_each(|row| line(&mut text, &row));
    text
}

/// The same as a file to be saved; its name is of letters, digits, `-` and `.`.
pub(super) fn csv_file(name: &str, header: &[String], rows: impl IntoIterator<Item = Vec<String>>) -> Response {
    let mut response = answer::body(hyper::StatusCode::OK, "text/csv; charset=utf-8", csv_text(header, rows));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    response
}

fn line(text: &mut String, cells: &[String]) {
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let apostrophe = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        if cell.contains([',', '"', '\n', '\r']) {
            text.push('"');
            text.push_str(apostrophe);
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(apostrophe);
            text.push_str(cell);
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        let cells = ["=HYPERLINK(\"x\")", "+1", "-1", "@x", "\tx", "\rx", "a=b", "7K3M-9QX5", "", "a,b"];
        let text = csv_text(&["code".to_owned()], [cells.map(str::to_owned).to_vec()]);
        let expected =
            "\u{feff}code\r\n\"'=HYPERLINK(\"\"x\"\")\",'+1,'-1,'@x,'\tx,\"'\rx\",a=b,7K3M-9QX5,,\"a,b\"\r\n";
        assert_eq!(text, expected);
    }
}
