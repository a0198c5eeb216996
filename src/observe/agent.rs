//! What a user agent says about the client: device, system, application, agent.
//!
//! Owns the words that are looked for and the decision made from those found. Pure,
//! allocates nothing, takes any bytes and reads each once: one pass of an automaton
//! gathers a set of tokens and only the set is decided on, so a new word costs no time.
//! A wrong `Bot` loses a visitor's scan, a wrong `Person` adds one; the words of programs
//! are therefore those that no browser, application or telephone has in its name
//! (`scan`, `client`, `search` and a bare `google` are not among them).

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::core::scan::{Agent, App, Client, Device, Os};

/// Bytes of a user agent that are read. Of 35,000 of people the longest had 419; what lies behind
/// this can only be there to cost time.
const READ: usize = 1024;

/// What a word of a user agent tells, the applications apart.
#[derive(Debug, Clone, Copy)]
enum Token {
    // Who speaks.
    Mozilla,
    PhoneBrowser,
    WebKit,
    Program,
    Compatible,
    OldBrowser,
    // Devices.
    Mobile,
    Tablet,
    Pc,
    Television,
    Handset,
    // Systems.
    Harmony,
    WindowsPhone,
    Android,
    Ipad,
    Iphone,
    IosBuild,
    ChromeOs,
    Windows,
    Macos,
    Linux,
    X11,
}

/// Where in the user agent a word counts.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// Anywhere.
    Any,
    /// As the first bytes of the user agent.
    First,
    /// Where no letter or digit stands before it: ` Line/`, not `Online/`.
    Start,
    /// Where it does not name a telephone or tablet: the maker CUBOT, the models
    /// `VR BOT 552`, `M_bot_tab_71`, `IDbot553`, `htc_botdugls`, `Spider 8`.
    Noun,
}

/// The words in lower case, `|` between them.
const WORDS: &[(Token, Position, &str)] = &[
    (Token::Mozilla, Position::First, "mozilla/|opera/"),
    (Token::PhoneBrowser, Position::Any, "/midp|mqqbrowser|ucbrowser|ucweb"),
    (Token::WebKit, Position::Any, "applewebkit"),
    (Token::Program, Position::Noun, "bot|spider"),
    (
        Token::Program,
        Position::Any,
        "appinsights|catchpoint|checker|cloudflare|crawl|dareboost|datanyze|duplexweb|externalagent|\
         externalhit|favicon|fetcher|google-ads|google-adwords|google-assess|google-inspection|googleother|\
         gtmetrix|headless|hotjar|http:|https:|imageproxy|indexer|infeed|inspector|ips-agent|libwww|\
         lighthouse|linkcheck|measurement|mediapartners|monitor|netcraft|nutch|optimizer|phantomjs|pingdom|\
         playstore-google|playwright|port check|preview|ptst/|puppeteer|python|research|scrap|screenshot|\
         search console|selenium|siteimprove|slurp|speed insights|statuscake|synthetic|thousandeyes|\
         transcoder|uptime|validator|vulnerability|web archiv|www.|zgrab",
    ),
    // Names of programs whose user agent is that of a browser but for the name
    // (`tests/answering/agents.rs` says how many are known).
    (
        Token::Program,
        Position::Any,
        "adbeat|autoconfig test|collapsify|contextad|cookiehub|criticalcss|feeder.co;|foregenix|geedoshop|\
         hardenize|linktiger|mailto:|manus-user|marketgoo|miniature.io|netshelter|openvas|printfriendly|\
         pwabuilder|rigor)|scope3|securityheaders|silktide|sindup|splash version/|sqwatcher|testlocally|\
         translationserver|tsm-turingos|watchtowr|xmco.fr|ylt chrome",
    ),
    (Token::Compatible, Position::Any, "compatible;"),
    (Token::OldBrowser, Position::Any, "msie|konqueror"),
    (Token::Mobile, Position::Start, "midp|mobile|opera mini|opera mobi|phone;"),
    (Token::Tablet, Position::Start, "tablet"),
    (Token::Pc, Position::Any, "(pc;"),
    (Token::Television, Position::Any, "android tv|bravia|googletv|hbbtv|smart-tv|smarttv|web0s"),
    (Token::Handset, Position::Any, "bb10|blackberry|netfront|nintendo|playstation|series60|symbian|tizen"),
    (Token::Harmony, Position::Any, "harmonyos|openharmony"),
    (Token::WindowsPhone, Position::Any, "iemobile|windows ce|windows phone"),
    (Token::Android, Position::Any, "; adr |android"),
    (Token::Ipad, Position::Any, "ipad"),
    (Token::Iphone, Position::Any, "iph os|iphone|ipod"),
    (Token::IosBuild, Position::Any, " mobile/|crios/|edgios/|fxios/"),
    (Token::ChromeOs, Position::Start, "cros "),
    (Token::Windows, Position::Any, "windows"),
    (Token::Macos, Position::Any, "mac os x|macintosh"),
    (Token::Linux, Position::Any, "linux"),
    (Token::X11, Position::Start, "x11"),
];

/// The words of the applications, the narrowest claim first: `WeChat` and Alipay carry the
/// words of QQ's and UC's engine, and nearly all carry Chrome's or Safari's. `Other` are
/// those that have no variant, whose Chrome is not the browser of that name.
const APPS: &[(App, Position, &str)] = &[
    (App::Zalo, Position::Start, "zalo"),
    (App::Wechat, Position::Any, "micromessenger"),
    (App::Alipay, Position::Any, "alipay|aliapp(ap/"),
    (App::Instagram, Position::Any, "instagram"),
    (App::Facebook, Position::Any, "fb_iab/|fban/|fbav/|metaiab facebook"),
    (App::Tiktok, Position::Start, "aweme|bytedancewebview|musical_ly|tiktok|trill_"),
    (App::Line, Position::Start, "line/"),
    (App::Kakaotalk, Position::Any, "kakaotalk"),
    (App::Whatsapp, Position::Any, "whatsapp"),
    (App::Viber, Position::Start, "viber"),
    (App::Telegram, Position::Any, "telegram"),
    (App::Qq, Position::Any, " qq/|qqbrowser"),
    (App::Coccoc, Position::Any, "coc_coc|coccoc"),
    (App::Uc, Position::Any, "ucbrowser|ucweb"),
    (App::Samsung, Position::Any, "samsungbrowser"),
    (App::Huawei, Position::Any, "huaweibrowser"),
    (App::Xiaomi, Position::Any, "miuibrowser"),
    (App::Edge, Position::Start, "edg/|edga/|edge/|edgios/"),
    (App::Opera, Position::Start, "opera |opera/|opios/|opr/|opt/|opx/"),
    (App::Firefox, Position::Start, "firefox/|fxios/"),
    (
        App::Other,
        Position::Start,
        "baiduboxapp|baidubrowser|dingtalk|gsa/|heytapbrowser|linkedinapp|naver(|pinterest/|quark/|snapchat|\
         twitter for|version/4.0 chrome/|vivaldi/|vivobrowser|weibo|whale/|wv)|yabrowser",
    ),
    (App::Chrome, Position::Start, "chrome/|crios/"),
    (App::Safari, Position::Start, "safari/"),
];

/// Messengers that fetch the preview of a link under their bare name, one as
/// `WhatsApp/2.23.20.0`. Their in-app browsers begin with `Mozilla/`.
const PREVIEWERS: [App; 6] = [App::Zalo, App::Whatsapp, App::Viber, App::Line, App::Telegram, App::Kakaotalk];

/// The automaton, and for each of its patterns the bit it sets and where.
struct Reader {
    automaton: AhoCorasick,
    bits: Vec<(u64, Position)>,
}

static READER: LazyLock<Reader> = LazyLock::new(|| {
    let tokens = WORDS.iter().map(|&(token, position, words)| (Tokens::of(token), position, words));
    let apps = APPS.iter().map(|&(app, position, words)| (Tokens::of_app(app), position, words));
    let all = tokens.chain(apps);
    let words = all.flat_map(|(bit, position, words)| words.split('|').map(move |word| (word, bit, position)));
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        // The kind that reports overlapping matches: `bot` is inside `coccocbot`.
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .build(words.clone().map(|(word, ..)| word))
        .expect("a constant list of words builds");
    Reader { automaton, bits: words.map(|(_, bit, position)| (bit, position)).collect() }
});

/// The tokens found in a user agent: bits 0 to 31 by `Token`, from 32 on by `App`.
#[derive(Debug, Clone, Copy)]
struct Tokens(u64);

impl Tokens {
    const fn of(token: Token) -> u64 {
        1 << token as u8
    }

    const fn of_app(app: App) -> u64 {
        1 << (32 + app as u8)
    }

    fn read(text: &[u8]) -> Self {
        let reader = &*READER;
        let found = reader.automaton.find_overlapping_iter(text).map(|found| {
            let (bit, position) = reader.bits[found.pattern().as_usize()];
            if position.counts(&text[..found.start()], &text[found.end()..]) { bit } else { 0 }
        });
        Self(found.fold(0, |tokens, bit| tokens | bit))
    }

    const fn has(self, token: Token) -> bool {
        self.0 & Self::of(token) != 0
    }

    const fn names(self, app: App) -> bool {
        self.0 & Self::of_app(app) != 0
    }
}

impl Position {
    fn counts(self, before: &[u8], after: &[u8]) -> bool {
        let apart = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'_'));
        match self {
            Self::Any => true,
            Self::First => before.is_empty(),
            Self::Start => !before.last().is_some_and(u8::is_ascii_alphanumeric),
            Self::Noun => {
                let maker = before.last_chunk::<2>().is_some_and(|cu| cu.eq_ignore_ascii_case(b"cu"));
                let goes_on =
                    after.first().is_some_and(|&next| next.is_ascii_alphanumeric() && !matches!(next, b's' | b'S'));
                !(maker || goes_on || apart(before.last()) && apart(after.first()))
            }
        }
    }
}

/// One worker's cache of user agents and what they say. Phones of one make and browser send the same
/// text for weeks, so nine of ten need not be read again: reading takes 0.23 µs, and the hash, which the
/// repeat window needs anyway, a tenth of that. Only hashes are kept.
#[derive(Debug)]
pub struct Agents {
    /// By the last bits of the hash; a new user agent replaces the one that had its place.
    read: Box<[Option<(u64, Client)>]>,
}

/// A power of two; 16 bytes each.
const REMEMBERED: usize = 512;

impl Default for Agents {
    fn default() -> Self {
        Self { read: vec![None; REMEMBERED].into_boxed_slice() }
    }
}

impl Agents {
    /// The result of [`classify`] for a user agent; `hash` must be its own, by [`super::Keys::agent`]. (Two user agents with the same hash of 64 bits
    /// are left to chance: they can't be searched for without the keys.)
    #[allow(clippy::cast_possible_truncation, reason = "only the last bits of the hash are asked for")]
    pub fn classify(&mut self, user_agent: &[u8], hash: u64) -> Client {
        let remembered = &mut self.read[hash as usize % REMEMBERED];
        match *remembered {
            Some((of, client)) if of == hash => client,
            _ => {
                let client = classify(user_agent);
                *remembered = Some((hash, client));
                client
            }
        }
    }
}

/// What a user agent says about the client. The agent is a person or a bot, never a prefetch: that has a
/// person's user agent, and [`super::is_prefetch`] knows it by other headers. An empty user agent is a
/// bot's, since no browser leaves it out. Takes 0.23 µs for the 138 bytes of a telephone.
#[must_use]
pub fn classify(user_agent: &[u8]) -> Client {
    let tokens = Tokens::read(&user_agent[..user_agent.len().min(READ)]);
    let os = os(tokens);
    Client { device: device(tokens, os), os, app: app(tokens, os), agent: agent(tokens, os) }
}

/// The order is the rule: `HarmonyOS` and Windows Phone claim Android, Windows Phone and
/// copies of the iPhone claim iOS, iOS claims Mac OS X, Android and Chrome OS claim Linux.
fn os(tokens: Tokens) -> Os {
    if tokens.has(Token::Harmony) {
        Os::Harmony
    } else if tokens.has(Token::WindowsPhone) {
        Os::Windows
    } else if tokens.has(Token::Android) {
        Os::Android
    } else if tokens.has(Token::Iphone) || tokens.has(Token::Ipad) {
        Os::Ios
    } else if tokens.has(Token::ChromeOs) {
        Os::ChromeOs
    } else if tokens.has(Token::Windows) {
        Os::Windows
    } else if tokens.has(Token::Macos) {
        // An iPad asks for the pages of a Mac: its applications give their build, Safari nothing.
        if tokens.has(Token::IosBuild) { Os::Ios } else { Os::Macos }
    } else if tokens.has(Token::Linux) {
        Os::Linux
    } else {
        Os::Other
    }
}

fn device(tokens: Tokens, os: Os) -> Device {
    let mobile = tokens.has(Token::Mobile) && !tokens.has(Token::Tablet);
    match os {
        _ if tokens.has(Token::Television) => Device::Other,
        Os::Ios if tokens.has(Token::Iphone) => Device::Phone,
        Os::Ios => Device::Tablet,
        Os::Harmony if tokens.has(Token::Pc) => Device::Desktop,
        Os::Android | Os::Harmony if mobile => Device::Phone,
        // To leave out `Mobile` on a tablet is a habit of browsers; programs never say it.
        Os::Android | Os::Harmony if tokens.has(Token::Mozilla) || tokens.has(Token::WebKit) => Device::Tablet,
        Os::Windows if tokens.has(Token::WindowsPhone) => Device::Phone,
        Os::Windows | Os::Macos | Os::ChromeOs => Device::Desktop,
        _ if mobile => Device::Phone,
        _ if tokens.has(Token::X11) => Device::Desktop,
        _ => Device::Other,
    }
}

fn app(tokens: Tokens, os: Os) -> App {
    let named = APPS.iter().map(|&(app, ..)| app).find(|&app| tokens.names(app));
    // Android's first browser and many others also say Safari.
    let safari = matches!(os, Os::Ios | Os::Macos);
    named.filter(|&app| app != App::Safari || safari).unwrap_or(App::Other)
}

fn agent(tokens: Tokens, os: Os) -> Agent {
    // `(compatible; MSIE 8.0` was a browser; what calls itself so today is a crawler.
    let crawler = tokens.has(Token::Compatible) && !tokens.has(Token::OldBrowser);
    let person = if tokens.has(Token::Program) || crawler {
        false
    } else if tokens.has(Token::PhoneBrowser) {
        true
    } else if tokens.has(Token::Mozilla) {
        // A browser names what it runs on.
        os != Os::Other || tokens.has(Token::Mobile) || tokens.has(Token::Handset) || tokens.has(Token::X11)
    } else if PREVIEWERS.iter().any(|&app| tokens.names(app)) {
        false
    } else {
        // Applications of Meta, and browsers of old telephones that put the model first.
        let own = tokens.names(App::Instagram) || tokens.names(App::Facebook) || tokens.has(Token::WebKit);
        own && matches!(os, Os::Android | Os::Harmony | Os::Ios)
    };
    if person { Agent::Person } else { Agent::Bot }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Device, system, application and agent that a user agent is read as. `@A` is a web
    /// view of Android, `@I` one of iOS, `@C` Chrome's version, `@K` the engine.
    ///
    /// The first rows are about a trap met in the wild: a list of bots that had a bare `Zalo`
    /// beside the crawlers. It takes every person who scans with Zalo's camera for a program.
    const TABLE: &str = "
phone android zalo person | @A Zalo android/12100676 ZaloTheme/dark ZaloLanguage/vi
phone ios zalo person | @I Zalo iOS/640 ZaloTheme/light ZaloLanguage/vn
tablet ios zalo person | Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_6) @K Mobile/15E148 Zalo iOS/640
other other zalo bot | ZaloBot/1.0
other other zalo bot | Mozilla/5.0 (compatible; ZaloBot/1.0)
other android zalo bot | Zalo android/12100676
phone android wechat person | @A XWEB/1160065 MMWEBSDK/20231202 MicroMessenger/8.0.48.2580(0x28003036) WeChat/arm64 NetType/WIFI
phone ios wechat person | @I MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN
phone android alipay person | @A UCBS/3.22.2.12 NebulaSDK/1.8 AliApp(AP/10.6.58) AlipayClient/10.6.58.6000 Language/zh-Hans
phone android facebook person | @A [FB_IAB/FB4A;FBAV/443.0.0.23.229;]
phone android facebook person | @A [FB_IAB/Orca-Android;FBAV/440.0.0.37.111;]
phone android facebook person | @A MetaIAB Facebook
phone ios facebook person | @I [FBAN/FBIOS;FBAV/443.0.0.44.82;FBBV/539612211;FBDV/iPhone14,5;FBSN/iOS;FBLC/vi_VN]
phone ios facebook person | @I [FBAN/MessengerForiOS;FBAV/440.0;FBDV/iPhone12,1]
phone android instagram person | @A Instagram 309.0.0.40.113 Android (33/13; 420dpi; samsung; SM-A536E; vi_VN)
phone ios instagram person | Instagram 10.26.0 (iPhone7,2; iOS 10_1_1; en_US; scale=2.00) AppleWebKit/420+
phone android tiktok person | @A trill_320903 NetType/WIFI Channel/googleplay AppName/trill ByteLocale/vi-VN BytedanceWebview/d8a21c6
phone ios tiktok person | @I musical_ly_32.5.0 JsSdk/2.0 NetType/WIFI Channel/App Store Region/VN
phone android line person | @A Line/13.21.0/IAB
phone ios line person | @I Safari Line/14.1.0
phone android kakaotalk person | @A KAKAOTALK/10.4.7 (INAPP)
phone ios whatsapp person | @I WhatsApp/2.24.1
phone android telegram person | @A Telegram-Android/10.6.2 (Samsung SM-A536E; Android 13; SDK 33; AVERAGE)
phone android qq person | @A V1_AND_SQ_8.9.88_5318_YYB_D QQ/8.9.88.13035 NetType/4G WebP/0.3.0
phone android other person | @A
phone ios other person | @I
phone ios other person | Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) @K GSA/316.0 Mobile/15E148 Safari/604.1
phone android chrome person | Mozilla/5.0 (Linux; Android 10; K) @K @C Mobile Safari/537.36
tablet android chrome person | Mozilla/5.0 (Linux; Android 13; SM-X200) @K @C Safari/537.36
phone android chrome person | Mozilla/5.0 (Linux; Android 10; CUBOT NOTE 20) @K @C Mobile Safari/537.36
phone android chrome person | Mozilla/5.0 (Linux; Android 6.0; VR BOT 552) @K @C Mobile Safari/537.36
phone android samsung person | Mozilla/5.0 (Linux; Android 13; SAMSUNG SM-A536E) @K SamsungBrowser/23.0 @C Mobile Safari/537.36
phone android xiaomi person | Mozilla/5.0 (Linux; U; Android 12; vi-vn; M2101) @K Version/4.0 @C Mobile XiaoMi/MiuiBrowser/14.7
phone android huawei person | Mozilla/5.0 (Linux; Android 10; LYA-L29) @K @C HuaweiBrowser/14.0.2.311 Mobile Safari/537.36
phone harmony huawei person | Mozilla/5.0 (Phone; OpenHarmony 5.0) @K @C ArkWeb/4.1.6.1 Mobile HuaweiBrowser/5.0.4.300
phone android uc person | Mozilla/5.0 (Linux; U; Android 11; vi; V2027) @K Version/4.0 @C UCBrowser/13.4.0.1306 Mobile Safari/537.36
phone android coccoc person | Mozilla/5.0 (Linux; Android 11) @K coc_coc_browser/98.0.221 @C Mobile Safari/537.36
phone android edge person | Mozilla/5.0 (Linux; Android 10; K) @K @C Mobile Safari/537.36 EdgA/120.0.0.0
phone android opera person | Mozilla/5.0 (Linux; Android 10; K) @K @C Mobile Safari/537.36 OPR/76.2
phone android firefox person | Mozilla/5.0 (Android 13; Mobile; rv:121.0) Gecko/121.0 Firefox/121.0
phone ios chrome person | Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) @K CriOS/126.0 Mobile/15E148 Safari/604.1
phone ios safari person | Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) @K Version/17.5 Mobile/15E148 Safari/604.1
tablet ios safari person | Mozilla/5.0 (iPad; CPU OS 15_6 like Mac OS X) @K Version/15.6 Mobile/15E148 Safari/604.1
desktop macos safari person | Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) @K Version/17.5 Safari/605.1.15
desktop windows edge person | Mozilla/5.0 (Windows NT 10.0; Win64; x64) @K @C Safari/537.36 Edg/126.0.0.0
desktop windows other person | Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)
desktop linux firefox person | Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0
desktop chromeos chrome person | Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) @K @C Safari/537.36
phone windows edge person | Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; NOKIA) @K @C Mobile Safari/537.36 Edge/15.15254
phone android chrome bot | Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) @K @C Mobile Safari/537.36 (compatible; Googlebot/2.1;)
phone android other bot | Mozilla/5.0 (Linux; Android 7.0;) @K Mobile Safari/537.36 (compatible; PetalBot;+https://webmaster.petalsearch.com)
desktop linux other bot | Mozilla/5.0 (X11; Linux x86_64) @K HeadlessChrome/126.0.0.0 Safari/537.36
desktop macos safari bot | Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) @K Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0
other other coccoc bot | Mozilla/5.0 (compatible; coccocbot-web/1.0; +http://help.coccoc.com/searchengine)
other other telegram bot | TelegramBot (like TwitterBot)
other other whatsapp bot | WhatsApp/2.23.20.0
other other viber bot | Viber
other other other bot | Twitterbot/1.0
other other other bot | Facebot/1.0
other other other bot | LinkedInBot/1.0 (compatible; Mozilla/5.0; Jakarta Commons-HttpClient/4.3 +http://www.linkedin.com)
other other other bot | Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)
other other other bot | Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)
desktop windows other bot | Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5
other other other bot | facebookexternalhit/1.1
other other other bot | Mozilla/5.0
other android other bot | Dalvik/2.1.0 (Linux; U; Android 13; SM-A536E)
other other other bot | curl/8.5.0
other other other bot | okhttp/4.12.0
other other other bot |";

    #[test]
    fn real_user_agents_are_read() {
        for row in TABLE.lines().filter(|row| !row.is_empty()) {
            let (expected, text) = row.split_once('|').expect("a row has a bar");
            let text = text
                .trim()
                .replace("@A", "Mozilla/5.0 (Linux; Android 12; A217F; wv) @K Version/4.0 @C Mobile Safari/537.36")
                .replace("@I", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) @K Mobile/15E148")
                .replace("@C", "Chrome/109.0.5414.117")
                .replace("@K", "AppleWebKit/537.36 (KHTML, like Gecko)");
            for text in [text.to_ascii_lowercase(), text] {
                let Client { device, os, app, agent } = classify(text.as_bytes());
                let got = [device.as_str(), os.as_str(), app.as_str(), agent.as_str()].join(" ");
                assert_eq!(got, expected.trim(), "{text}");
            }
        }
    }

    #[test]
    fn what_lies_behind_the_read_part_is_not_seen() {
        let mut text = b"Mozilla/5.0 (Linux; Android 12; ".to_vec();
        text.resize(READ, b'x');
        text.extend_from_slice(b"Googlebot");
        assert_eq!(classify(&text).agent, Agent::Person);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, words in prop::collection::vec(0..WORDS.len(), 0..20)) {
            let words: String = words.into_iter().map(|at| WORDS[at].2).collect();
            let both = [bytes.as_slice(), words.as_bytes(), bytes.as_slice()].concat();
            prop_assert_ne!(classify(&both).agent, Agent::Prefetch);
        }
    }
}
