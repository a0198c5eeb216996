//! What things are called, in Vietnamese and English: one word for each, the same on every page.

use super::language::Language;
use crate::accounts::Role;
use crate::changes::{self, APPLIED_FIRST, ChangeError, MAX_CELLS, MAX_REASON, NO_APPROVAL_NEEDED};
use crate::health;
use crate::history::{Action, Entry};
use crate::registry::{Answer, Status, TargetError, TargetSource};
use crate::source::TableName;

/// A sign's place in its life.
pub(super) const fn status(language: Language, status: Status) -> &'static str {
    match status {
        Status::Planned => language.say("đã in, chưa gắn", "planned"),
        Status::Active => language.say("đang sử dụng", "active"),
        Status::Retired => language.say("ngừng sử dụng", "retired"),
    }
}

/// How a sign is.
pub(super) const fn health(language: Language, state: health::State) -> &'static str {
    match state {
        health::State::Silent => language.say("im lặng", "silent"),
        health::State::Quiet => language.say("ít hơn thường lệ", "quieter than usual"),
        health::State::Normal => language.say("bình thường", "as usual"),
        health::State::NotEnoughData => language.say("chưa đủ số liệu", "too few scans to tell"),
        health::State::NeverScanned => language.say("chưa từng được quét", "never scanned"),
        health::State::New => language.say("mới gắn", "new"),
    }
}

/// Where a change set is in its life.
pub(super) const fn change_state(language: Language, state: changes::State) -> &'static str {
    match state {
        changes::State::Draft => language.say("bản nháp", "draft"),
        changes::State::Submitted => language.say("chờ phê duyệt", "waits for approval"),
        changes::State::Approved => language.say("đã phê duyệt, chờ áp dụng", "approved, to be applied"),
        changes::State::Applied => language.say("đã áp dụng", "applied"),
        changes::State::Refused => language.say("bị từ chối", "refused"),
        changes::State::Withdrawn => language.say("đã rút lại", "withdrawn"),
        changes::State::Conflict => language.say("xung đột, chưa áp dụng", "in conflict, not applied"),
    }
}

/// What was done, as the history says it.
pub(super) const fn action(language: Language, action: Action) -> &'static str {
    match action {
        Action::Submitted => language.say("gửi duyệt", "submitted"),
        Action::Approved => language.say("phê duyệt", "approved"),
        Action::Refused => language.say("từ chối", "refused"),
        Action::Withdrawn => language.say("rút lại", "withdrawn"),
        Action::Applied => language.say("áp dụng", "applied"),
        Action::Conflict => language.say("không áp dụng được", "could not be applied"),
        Action::Reviewed => language.say("xem lại sau khi áp dụng", "reviewed after it was applied"),
        Action::Outside => language.say("thay đổi ngoài trang quản trị", "changed outside the console"),
        Action::Account => language.say("tài khoản", "account"),
        Action::SignedIn => language.say("đăng nhập", "signed in"),
    }
}

/// What an entry tells. A set that nobody has approved is not said to be approved: why it goes on is.
pub(super) fn told(language: Language, entry: &Entry) -> &'static str {
    match (entry.action, entry.remark()) {
        (Action::Approved, APPLIED_FIRST) => language.say(
            "áp dụng trước khi có người phê duyệt, chờ xem lại",
            "applied before anybody approved, to be reviewed",
        ),
        (Action::Approved, NO_APPROVAL_NEEDED) => language.say("không cần phê duyệt", "needed no approval"),
        (action, _) => self::action(language, action),
    }
}

/// The remark of an entry that somebody has written, or that says why a set could not be applied; one that
/// [`told`] says in words is none.
pub(super) fn remark(entry: &Entry) -> &str {
    if entry.action == Action::Approved { "" } else { entry.remark() }
}

/// Browsers by the words of [`App`](crate::core::scan::App); names are the same in both languages.
const BROWSERS: [(&str, &str); 22] = [
    ("zalo", "Zalo"),
    ("wechat", "WeChat"),
    ("alipay", "Alipay"),
    ("facebook", "Facebook"),
    ("instagram", "Instagram"),
    ("tiktok", "TikTok"),
    ("line", "LINE"),
    ("kakaotalk", "KakaoTalk"),
    ("whatsapp", "WhatsApp"),
    ("viber", "Viber"),
    ("telegram", "Telegram"),
    ("qq", "QQ"),
    ("coccoc", "Cốc Cốc"),
    ("safari", "Safari"),
    ("chrome", "Chrome"),
    ("samsung", "Samsung Internet"),
    ("edge", "Edge"),
    ("firefox", "Firefox"),
    ("opera", "Opera"),
    ("uc", "UC Browser"),
    ("huawei", "Huawei Browser"),
    ("xiaomi", "Mi Browser"),
];
/// Systems by the words of [`Os`](crate::core::scan::Os).
const SYSTEMS: [(&str, &str); 7] = [
    ("android", "Android"),
    ("ios", "iPhone, iPad"),
    ("harmony", "HarmonyOS"),
    ("windows", "Windows"),
    ("macos", "macOS"),
    ("linux", "Linux"),
    ("chromeos", "ChromeOS"),
];

/// The device of a session, `chrome, android`: "Chrome trên Android".
pub(super) fn device(language: Language, client: &str) -> String {
    let named = |names: &[(&str, &'static str)], word: &str| {
        names.iter().find(|(known, _)| *known == word).map(|(_, name)| *name)
    };
    let (browser, system) = client.split_once(", ").unwrap_or((client, ""));
    let browser = named(&BROWSERS, browser).unwrap_or(language.say("trình duyệt khác", "another browser"));
    match named(&SYSTEMS, system) {
        Some(system) => format!("{browser} {} {system}", language.say("trên", "on")),
        None => browser.to_owned(),
    }
}

/// What somebody may do.
pub(super) const fn role(language: Language, role: Role) -> &'static str {
    match role {
        Role::Viewer => language.say("người xem", "viewer"),
        Role::Editor => language.say("người soạn", "editor"),
        Role::Approver => language.say("người phê duyệt", "approver"),
        Role::Manager => language.say("người quản lý", "manager"),
    }
}

/// Why a sign leads where it leads.
pub(super) const fn source(language: Language, source: TargetSource) -> &'static str {
    match source {
        TargetSource::SignOverride => {
            language.say("chuyển hướng tạm thời của biển này", "a temporary override of this sign")
        }
        TargetSource::PlaceOverride => {
            language.say("chuyển hướng tạm thời của địa điểm", "a temporary override of its place")
        }
        TargetSource::Sign => language.say("trang đích riêng của biển này", "this sign's own target"),
        TargetSource::Place => language.say("trang đích của địa điểm", "the target of its place"),
    }
}

/// What a place's signs are answered with, in a filter or a list.
pub(super) const fn answer(language: Language, answer: Answer) -> &'static str {
    match answer {
        Answer::Target => language.say("trang đích", "a target"),
        Answer::OwnPage => language.say("trang riêng của hệ thống", "a page of our own"),
        Answer::Neither => language.say("chưa có trang nào", "no page yet"),
    }
}

/// A table, as a heading says it.
pub(super) const fn table(language: Language, table: TableName) -> &'static str {
    match table {
        TableName::Places => language.say("Địa điểm", "Places"),
        TableName::Signs => language.say("Biển", "Signs"),
        TableName::Overrides => language.say("Chuyển hướng tạm thời", "Overrides"),
    }
}

/// A kind of place: the words of the sample tables have a name, others are shown as they are written.
pub(super) fn kind(language: Language, kind: &str) -> &str {
    match kind {
        "street" => language.say("đường phố", "street"),
        "relic" => language.say("di tích", "relic"),
        "scenic" => language.say("danh thắng", "scenic site"),
        "public_work" => language.say("công trình công cộng", "public work"),
        "gate" => language.say("cửa khẩu", "border gate"),
        other => other,
    }
}

/// A language of targets, by its tag; a tag without a name here is shown as it is.
pub(super) fn tongue(language: Language, tag: &str) -> &str {
    match tag {
        "vi" => language.say("Tiếng Việt", "Vietnamese"),
        "en" => language.say("Tiếng Anh", "English"),
        "zh" => language.say("Tiếng Trung", "Chinese"),
        "fr" => language.say("Tiếng Pháp", "French"),
        "ko" => language.say("Tiếng Hàn", "Korean"),
        "ja" => language.say("Tiếng Nhật", "Japanese"),
        other => other,
    }
}

/// A column of a table, as `target:en`: what an office calls it.
pub(super) fn column(language: Language, column: &str) -> String {
    let (word, tag) = column.split_once(':').map_or((column, None), |(word, tag)| (word, Some(tag)));
    let word = match word {
        "place" => language.say("Địa điểm", "Place"),
        "code" => language.say("Mã", "Code"),
        "name" => language.say("Tên", "Name"),
        "kind" => language.say("Loại", "Kind"),
        "area" => language.say("Khu vực", "Area"),
        "target" => language.say("Trang đích", "Target"),
        "namesake" => language.say("Đặt tên theo", "Named after"),
        "about" => language.say("Giới thiệu", "About"),
        "source" => language.say("Nguồn", "Source"),
        "compiled" => language.say("Ngày biên soạn", "Compiled on"),
        "status" => language.say("Tình trạng", "Status"),
        "lat" => language.say("Vĩ độ", "Latitude"),
        "lon" => language.say("Kinh độ", "Longitude"),
        "mounted" => language.say("Ngày gắn", "Mounted"),
        "successor" => language.say("Biển thay thế", "Successor"),
        "aliases" => language.say("Địa chỉ cũ", "Old addresses"),
        "scope" => language.say("Áp dụng cho", "Scope"),
        "from" => language.say("Từ", "From"),
        "until" => language.say("Đến", "Until"),
        "note" => language.say("Ghi chú", "Note"),
        other => other,
    };
    match tag {
        Some(tag) => format!("{word} ({})", tongue(language, tag)),
        None => word.to_owned(),
    }
}

/// Why a URL is no target. The text for operators is the error's own.
pub(super) fn target_problem(language: Language, error: &TargetError) -> String {
    if language == Language::English {
        return error.to_string();
    }
    match error {
        TargetError::TooLong(bytes) => format!("dài {bytes} byte, quá giới hạn 2048 byte"),
        TargetError::Control(_) => "có dấu cách hoặc ký tự điều khiển".to_owned(),
        TargetError::NotAUrl { allowed, .. } => {
            format!("không phải là địa chỉ trang web; địa chỉ phải bắt đầu bằng {}", allowed.replace(" or ", " hoặc "))
        }
        TargetError::UserInfo => "có tên hoặc mật khẩu đứng trước tên miền".to_owned(),
        TargetError::Http(_) => "phải bắt đầu bằng https://, không dùng http://".to_owned(),
        TargetError::Scheme { found, allowed } => {
            format!("phải bắt đầu bằng {}, không phải {found}:", allowed.replace(" or ", " hoặc "))
        }
        TargetError::Host(host) => format!("tên miền {host} không có trong danh sách được phép (allowed_hosts)"),
        TargetError::OwnHost(host) => format!("{host} là tên miền của chính các biển: quét biển sẽ quay lại chính nó"),
    }
}

/// Why something can't be done to a change set. The text for operators is the error's own.
pub(super) fn change_problem(language: Language, error: &ChangeError) -> String {
    match error {
        ChangeError::State { found, .. } => {
            let found = change_state(language, *found);
            match language {
                Language::Vietnamese => {
                    format!("Đề xuất hiện {found}, nên không thực hiện được việc này. Xin xem lại đề xuất.")
                }
                Language::English => format!("The change set is by now: {found}. Please look at it again."),
            }
        }
        ChangeError::OwnSet => language
            .say(
                "Việc này phải do người khác làm, không phải người lập đề xuất.",
                "Somebody else must do this, not the author.",
            )
            .to_owned(),
        ChangeError::NotTheAuthor => {
            language.say("Chỉ người lập đề xuất làm được việc này.", "Only the author can do this.").to_owned()
        }
        ChangeError::Empty => {
            language.say("Không có ô nào khác với hiện tại.", "No cell differs from what is there.").to_owned()
        }
        error if language == Language::English => error.to_string(),
        ChangeError::Reason(found) => format!("Lý do cần từ 1 đến {MAX_REASON} ký tự; hiện có {found}."),
        ChangeError::TooMany(found) => format!("Một đề xuất đổi nhiều nhất {MAX_CELLS} ô; hiện có {found}."),
        ChangeError::Twice { key, column } => format!("Ô {column} của dòng {key} được đổi hai lần."),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_approved_is_not_said_to_be_approved() {
        let entry = |remark: &str| Entry {
            seq: 1,
            time: jiff::Timestamp::UNIX_EPOCH,
            account: Some(1),
            action: Action::Approved,
            object: "set 1".to_owned(),
            change_set: Some(1),
            reason: String::new(),
            approver: None,
            generations: None,
            details: serde_json::json!({ "remark": remark }),
            hash: [0; 32],
        };
        for remark in [APPLIED_FIRST, NO_APPROVAL_NEEDED] {
            let said = [Language::Vietnamese, Language::English].map(|language| told(language, &entry(remark)));
            assert!(said[0] != "phê duyệt" && said[1] != "approved", "{said:?}");
            assert_eq!(super::remark(&entry(remark)), "");
        }
        assert_eq!(told(Language::Vietnamese, &entry("")), "phê duyệt");
    }

    #[test]
    fn a_device_is_said_in_words() {
        for (client, said) in [
            ("chrome, android", ["Chrome trên Android", "Chrome on Android"]),
            ("other, linux", ["trình duyệt khác trên Linux", "another browser on Linux"]),
            ("other, other", ["trình duyệt khác", "another browser"]),
            ("", ["trình duyệt khác", "another browser"]),
        ] {
            assert_eq!([Language::Vietnamese, Language::English].map(|language| device(language, client)), said);
        }
    }
}
