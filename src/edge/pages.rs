//! Our own pages: a code to type, a sign that is retired, a sign that is inspected.
//!
//! Owns their words in Vietnamese, English and Chinese. A page is one small HTML
//! document for a phone: no script, nothing fetched from elsewhere, light and dark by
//! the phone's setting. Nothing of a request is in it but a canonical code, which is
//! letters and digits.

use hyper::StatusCode;

use super::place_page;
use super::response::{self, Response};
use crate::core::{Code, LanguagePreference, Tag};
use crate::registry::{SignRef, Status, Targets};

/// `/robots.txt` (RFC 9309): a code is not a page to be listed, and a crawler's visit is not a scan. Those that fetch a
/// link which somebody shares may, so that it shows a title and a text; what they send is counted as a program's.
pub(super) const ROBOTS: &str = "\
User-agent: Discordbot
User-agent: facebookexternalhit
User-agent: Facebot
User-agent: LinkedInBot
User-agent: SkypeUriPreview
User-agent: Slackbot-LinkExpanding
User-agent: TelegramBot
User-agent: Twitterbot
User-agent: WhatsApp
Allow: /

User-agent: *
Disallow: /
";
/// `/favicon.ico`: a waypost, 200 bytes.
pub(super) const FAVICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\">\
<path fill=\"#0b5\" d=\"M7 1h2v1h4l2 2-2 2H9v9H7V6H2V2h5z\"/></svg>";

/// `word-break` is for phones from before `overflow-wrap:anywhere` (Chrome 80, Safari 15.4).
pub(super) const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f23;--soft:#57606a;--paper:#fff;--line:#d0d7de;--go:#0a5c2f}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--paper:#111519;--line:#3d444d;--go:#3fb56f}}\
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);\
font:1.0625rem/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Noto Sans\",\"Noto Sans SC\",sans-serif}\
main{max-width:32rem;margin:0 auto;padding:2rem 1.25rem;word-break:break-word;overflow-wrap:anywhere}h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}\
p{margin:0 0 1rem}.text{white-space:pre-line;font-size:1.125rem}.soft{color:var(--soft)}a{color:var(--go)}\
dl{margin:0 0 1.5rem;border-top:1px solid var(--line)}dl div{padding:.6rem 0;border-bottom:1px solid var(--line)}\
dt{color:var(--soft);font-size:.875rem}dd{margin:0}\
.code{font:600 1.125rem/1.4 ui-monospace,Menlo,Consolas,monospace;letter-spacing:.08em}\
form{display:flex;flex-wrap:wrap;gap:.5rem;margin:1.5rem 0}label{flex:1 0 100%}\
input,button,.go{font:inherit;min-height:3rem;border-radius:.5rem;padding:.5rem 1rem}\
input{flex:1 1 10rem;min-width:0;border:1px solid var(--soft);background:var(--paper);color:var(--ink);\
text-transform:uppercase;letter-spacing:.08em}::placeholder{color:var(--soft);opacity:1}\
button,.go{border:0;background:var(--go);color:var(--paper);font-weight:600}\
.go{display:inline-block;text-decoration:none;line-height:2rem}\
nav{margin-top:2.5rem;padding-top:1rem;border-top:1px solid var(--line)}nav a{display:inline-block;padding:.6rem 1rem .6rem 0}dl+nav{margin:0;padding:0;border:0}";

/// The languages of the pages, in the order of the words below.
pub(super) const LANGUAGES: [(&str, &str); 3] = [("vi", "Tiếng Việt"), ("en", "English"), ("zh", "中文")];

/// One phrase in every language.
pub(super) type Phrase = [&'static str; 3];

const BOX_LABEL: Phrase = ["Nhập mã in trên biển", "Type the code printed on the sign", "请输入标牌上的编码"];
const BOX_BUTTON: Phrase = ["Mở", "Open", "打开"];
const HOME_TITLE: Phrase = ["Biển chỉ dẫn", "Signs", "标牌"];
const HOME_TEXT: Phrase = [
    "Quét mã QR trên biển, hoặc nhập mã in bên dưới mã QR.",
    "Scan the QR code of a sign, or type the code printed below it.",
    "请扫描标牌上的二维码，或输入二维码下方的编码。",
];
const UNKNOWN_TITLE: Phrase = ["Không có biển nào mang mã này", "No sign has this code", "没有使用此编码的标牌"];
const UNKNOWN_TEXT: Phrase = [
    "Hãy so sánh với mã in trên biển và nhập lại.",
    "Please compare it with the code on the sign and type it again.",
    "请与标牌上的编码核对后重新输入。",
];
const RETIRED_TITLE: Phrase = ["Biển này đã ngừng sử dụng", "This sign has been retired", "此标牌已停用"];
const RETIRED_SUCCESSOR: Phrase = ["Biển thay thế:", "It has been replaced by the sign of:", "替代标牌："];
const RETIRED_GO: Phrase = ["Mở trang", "Open its page", "打开页面"];
const INSPECT_TITLE: Phrase = ["Biển chính thức", "Official sign", "官方标牌"];
const INSPECT_OF: Phrase = ["Đây là biển chính thức của ", "This is an official sign of ", "这是以下机构的官方标牌："];
const FULL_STOP: Phrase = [".", ".", "。"];
const INSPECT_RETIRED: Phrase = [
    "Biển này là biển chính thức nhưng đã ngừng sử dụng.",
    "This sign was official and has been retired.",
    "此标牌曾为官方标牌，现已停用。",
];
const PLACE: Phrase = ["Địa điểm", "Place", "地点"];
pub(super) const AREA: Phrase = ["Khu vực", "Area", "区域"];
const CODE: Phrase = ["Mã", "Code", "编码"];
const LEADS_TO: Phrase = ["Dẫn đến", "Leads to", "指向"];
const IN_LANGUAGES: Phrase = ["Ngôn ngữ", "Languages", "语言"];
const OWN_PAGE: Phrase =
    ["Trang của chúng tôi về địa điểm này", "Our own page about this place", "本站关于此地点的页面"];
const CAUTION: Phrase = [
    "Chúng tôi không bao giờ yêu cầu chuyển tiền, đăng nhập hay cài ứng dụng.",
    "We never ask for money, a login or an app.",
    "我们绝不会要求您付款、登录或安装应用。",
];

/// The pages, as configured.
#[derive(Debug, Clone)]
pub struct Pages {
    /// The authority behind the signs, in each of the pages' languages.
    pub authority: [String; 3],
    /// Where `/` leads; empty for a page of our own.
    pub home_url: String,
    /// The language for a visitor who asks for none of the pages' languages.
    pub default_language: Tag,
}

impl Pages {
    /// `/`
    pub(super) fn home(&self, languages: &LanguagePreference<'_>) -> Response {
        if !self.home_url.is_empty() {
            return response::redirect(StatusCode::FOUND, &self.home_url);
        }
        let page = self.begin(languages, HOME_TITLE);
        page.paragraph(HOME_TEXT).code_box().end(StatusCode::OK, "/")
    }

    /// Code-shaped text that no sign has, or a box that was filled with something else.
    pub(super) fn unknown(&self, languages: &LanguagePreference<'_>, code: Option<Code>) -> Response {
        let mut page = self.begin(languages, UNKNOWN_TITLE);
        if let Some(code) = code {
            page.html += &format!("<p class=code>{}</p>", code.grouped());
        }
        page.paragraph(UNKNOWN_TEXT).code_box().end(StatusCode::NOT_FOUND, "")
    }

    /// A sign that is gone, and its successor.
    pub(super) fn retired(&self, languages: &LanguagePreference<'_>, sign: SignRef<'_>, now_ms: i64) -> Response {
        let mut page = self.begin(languages, RETIRED_TITLE);
        page.html += &format!("<p>{}</p>", escaped(sign.place().name_in(page.tag())));
        page.html += &format!("<p class=\"code soft\">{}</p>", sign.code().grouped());
        // The last of the line: a successor may itself have been replaced.
        let last = std::iter::successors(sign.successor(), |sign| sign.successor()).last();
        if let Some(last) = last {
            page.html += &format!(
                "<p>{}<br><strong>{}</strong></p>",
                page.say(RETIRED_SUCCESSOR),
                escaped(last.place().name_in(page.tag()))
            );
            let targets = last.targets(now_ms);
            let go = targets.choose(languages).map(|target| escaped(target.url));
            if let Some(go) = go.or_else(|| own_page(last, &targets)) {
                page.html += &format!("<p><a class=go href=\"{go}\">{}</a></p>", page.say(RETIRED_GO));
            }
        }
        page.end(StatusCode::GONE, "")
    }

    /// What a plate is, and where it leads, for people who distrust a sticker.
    pub(super) fn inspect(&self, languages: &LanguagePreference<'_>, sign: SignRef<'_>, now_ms: i64) -> Response {
        let (place, targets) = (sign.place(), sign.targets(now_ms));
        let is_retired = sign.status() == Status::Retired;
        let mut page = self.begin(languages, if is_retired { RETIRED_TITLE } else { INSPECT_TITLE });
        if is_retired {
            page = page.paragraph(INSPECT_RETIRED);
        } else {
            // The space and the full stop are the language's own: Chinese has neither of ours.
            page.html += &format!(
                "<p>{}<strong>{}</strong>{}</p>",
                page.say(INSPECT_OF),
                escaped(&self.authority[page.language]),
                page.say(FULL_STOP)
            );
        }
        page.html += "<dl>";
        page.fact(PLACE, &escaped(place.name_in(page.tag())));
        page.fact(AREA, &escaped(place.area()));
        page.fact(CODE, &format!("<span class=code>{}</span>", sign.code().grouped()));
        // A retired sign leads nowhere, whatever targets its place has.
        let target = targets.choose(languages).filter(|_| !is_retired);
        let target = target.map(|target| {
            let tags: Vec<&str> = targets.iter().map(|target| target.language).collect();
            (format!("<a href=\"{0}\">{0}</a>", escaped(target.url)), tags)
        });
        let own = || {
            let link = format!("<a href=\"{}\">{}</a>", own_page(sign, &targets)?, page.say(OWN_PAGE));
            Some((link, place.abouts().map(|(tag, _)| tag).collect()))
        };
        if let Some((link, tags)) = target.or_else(own) {
            page.fact(LEADS_TO, &link);
            let offered: Vec<String> = tags.into_iter().map(|tag| escaped(endonym(tag))).collect();
            page.fact(IN_LANGUAGES, &offered.join(", "));
        }
        page.html += "</dl>";
        // Whose the plate is and where it leads is what was asked; what is told of the place comes after that.
        let (language, text) = place.choose_about(languages).unwrap_or((page.tag(), ""));
        page.html += &place_page::told(place, language, text, page.language, page.tag());
        let mut provenance = place_page::provenance(place, page.language).peekable();
        if provenance.peek().is_some() {
            page.html += "<dl>";
            for (name, value) in provenance {
                page.fact(name, &value);
            }
            page.html += "</dl>";
        }
        page.html += &format!("<p class=soft>{}</p>", page.say(CAUTION));
        page.end(StatusCode::OK, "")
    }

    fn begin(&self, languages: &LanguagePreference<'_>, title: Phrase) -> Page {
        let default = || ours(self.default_language.as_str()).unwrap_or(1);
        let language = languages.choose(LANGUAGES.iter().map(|(tag, _)| *tag)).unwrap_or_else(default);
        let title = title[language];
        let html = format!(
            "<!doctype html><html lang={}><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">\
             <meta name=robots content=noindex><title>{title}</title><style>{STYLE}</style><main><h1>{title}</h1>",
            LANGUAGES[language].0
        );
        Page { language, html }
    }
}

/// A page being written.
struct Page {
    language: usize,
    html: String,
}

impl Page {
    fn say(&self, phrase: Phrase) -> &'static str {
        phrase[self.language]
    }

    fn tag(&self) -> &'static str {
        LANGUAGES[self.language].0
    }

    fn paragraph(mut self, phrase: Phrase) -> Self {
        self.html += &format!("<p>{}</p>", self.say(phrase));
        self
    }

    fn fact(&mut self, name: Phrase, value: &str) {
        if !value.is_empty() {
            self.html += &format!("<div><dt>{}</dt><dd>{value}</dd></div>", self.say(name));
        }
    }

    fn code_box(mut self) -> Self {
        self.html += &format!(
            "<form action=\"/go\"><label for=code>{}</label><input id=code name=code maxlength=40 required \
             autocapitalize=characters autocomplete=off spellcheck=false enterkeyhint=go placeholder=\"7K3M-9QX5\">\
             <button>{}</button></form>",
            self.say(BOX_LABEL),
            self.say(BOX_BUTTON)
        );
        self
    }

    /// Links to the page's other languages, and the response.
    fn end(mut self, status: StatusCode, path: &str) -> Response {
        self.html += "<nav>";
        for (tag, name) in LANGUAGES {
            if tag != self.tag() {
                self.html += &format!("<a href=\"{path}?lang={tag}\" lang={tag} hreflang={tag}>{name}</a>");
            }
        }
        self.html += "</nav></main></html>";
        response::page(status, self.html, true)
    }
}

/// Which of the pages' languages a tag is.
pub(super) fn ours(tag: &str) -> Option<usize> {
    LANGUAGES.iter().position(|(ours, _)| *ours == tag)
}

/// The address of our page about a sign's place, for one who comes from another page of ours: that is no scan. `None`
/// where there is no such page while these targets hold.
fn own_page(sign: SignRef<'_>, targets: &Targets<'_>) -> Option<String> {
    sign.has_own_page(targets).then(|| format!("/{}?c=page", sign.code().grouped()))
}

/// As text of an element or of a quoted attribute, without control characters: names of a table may have any.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let entity = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            b'\t' | b'\n' => continue,
            0..b' ' | 0x7f => "",
            _ => continue,
        };
        escaped.push_str(&text[from..at]);
        escaped.push_str(entity);
        from = at + 1;
    }
    escaped.push_str(&text[from..]);
    escaped
}

/// A language's name in itself; of others than these, the tag.
pub(super) fn endonym(tag: &str) -> &str {
    match tag {
        "vi" => "Tiếng Việt",
        "en" => "English",
        "zh" | "zh-Hans" => "中文",
        "zh-Hant" => "繁體中文",
        "fr" => "Français",
        "ko" => "한국어",
        "ja" => "日本語",
        "th" => "ไทย",
        "lo" => "ລາວ",
        "km" => "ខ្មែរ",
        "ru" => "Русский",
        "de" => "Deutsch",
        "es" => "Español",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::scan::Agent;
    use crate::observe::classify;

    #[test]
    fn whoever_may_fetch_a_shared_link_is_counted_as_a_program() {
        let names = ROBOTS.lines().filter_map(|line| line.strip_prefix("User-agent: ")).filter(|name| *name != "*");
        assert_eq!(names.clone().count(), 9);
        for name in names {
            assert_eq!(classify(name.as_bytes()).agent, Agent::Bot, "{name}");
            assert_eq!(classify(format!("{name}/1.0").as_bytes()).agent, Agent::Bot, "{name}");
        }
    }

    #[test]
    fn control_characters_and_markup_are_no_part_of_a_text() {
        assert_eq!(escaped("a\u{1}\u{0}<b>\n\t\r\u{7f}&\"'đ"), "a&lt;b&gt;\n\t&amp;&quot;&#39;đ");
    }
}
