//! Who has a table open in an office program.
//!
//! Owns the reading of the files that office programs put beside a document that they have open: a later save there
//! overwrites what was written meanwhile. A program that crashed leaves its file behind, so this is advice and never a
//! refusal. Nothing is read but regular files, and of these the beginning.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use crate::system::regular_file;

/// Bytes that are read of such a file; Excel's have 165.
const MAX_LOCK: u64 = 1 << 10;
/// Where in Excel's file the name of the user stands in UTF-16, after its length (16 bits), as read in files of
/// Excel for Windows.
const EXCEL_NAME: usize = 55;

/// Who has a table open, as far as the program says: `Lan (pc-7)`.
pub(super) fn open_by(table: &Path) -> Option<String> {
    let real = table.canonicalize().ok().filter(|real| real != table);
    [Some(table), real.as_deref()].into_iter().flatten().find_map(|path| {
        let beside = |before: &str, after: &str| {
            let mut name = OsString::from(before);
            name.push(path.file_name()?);
            name.push(after);
            read(&path.with_file_name(name))
        };
        let libre_office = beside(".~lock.", "#").map(|bytes| libre_office_user(&bytes));
        libre_office.or_else(|| beside("~$", "").map(|bytes| excel_user(&bytes)))
    })
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let (file, _) = regular_file::open_itself(path).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_LOCK).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// `NAME,USER,HOST,TIME,PROFILE;` with a backslash before a comma, a semicolon or a backslash in a name.
fn libre_office_user(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ',' => parts.push(String::new()),
            ';' => break,
            '\\' => parts.last_mut().into_iter().for_each(|part| part.extend(characters.next())),
            other => parts.last_mut().into_iter().for_each(|part| part.push(other)),
        }
    }
    let part = |at: usize| parts.get(at).map_or("", |part| part.trim());
    let user = if part(0).is_empty() { part(1) } else { part(0) };
    match (user, part(2)) {
        ("", "") => "LibreOffice".to_owned(),
        ("", host) => host.to_owned(),
        (user, "") => user.to_owned(),
        (user, host) => format!("{user} ({host})"),
    }
}

fn excel_user(bytes: &[u8]) -> String {
    let unit = |at: usize| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let len = unit(EXCEL_NAME).map_or(0, usize::from);
    let units: Vec<u16> = (0..len).map_while(|at| unit(EXCEL_NAME + 2 + 2 * at)).collect();
    let name = String::from_utf16_lossy(&units);
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    if name.trim().is_empty() { "Excel".to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_user_is_named_as_the_program_names_him() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = folder.path().join("signs.csv");
        let link = folder.path().join("link.csv");
        std::os::unix::fs::symlink("signs.csv", &link).expect("a link");
        fs::write(&table, "").expect("a file");
        assert_eq!(open_by(&table), None);
        let excel = folder.path().join("~$signs.csv");
        let mut bytes = vec![b' '; EXCEL_NAME];
        bytes.extend([4, 0]);
        bytes.extend("Hạnh".encode_utf16().flat_map(u16::to_le_bytes));
        fs::write(&excel, &bytes).expect("a file");
        assert_eq!(open_by(&table).as_deref(), Some("Hạnh"));
        let libre_office = folder.path().join(".~lock.signs.csv#");
        for (text, who) in [
            ("Nguyễn Lan\\, tổ 3,lan,pc-7,26.11.2026 20:15,file:///home/lan/.config;", "Nguyễn Lan, tổ 3 (pc-7)"),
            (",lan,pc-7,26.11.2026 20:15,file:///;", "lan (pc-7)"),
            (",,,;", "LibreOffice"),
            ("", "LibreOffice"),
            ("\\", "LibreOffice"),
        ] {
            fs::write(&libre_office, text).expect("a file");
            assert_eq!(open_by(&table).as_deref(), Some(who), "{text}");
            assert_eq!(open_by(&link).as_deref(), Some(who), "{text}");
        }
        fs::remove_file(&libre_office).expect("it is there");
        fs::write(&excel, "x").expect("a file");
        assert_eq!(open_by(&table).as_deref(), Some("Excel"));
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join(".~lock.signs.csv#");
        std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("~$signs.csv")).expect("a link");
        assert_eq!(open_by(&folder.path().join("signs.csv")), None);
    }
}
