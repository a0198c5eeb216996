//! The anonymous scan: everything that is ever written about a visit.
//!
//! Owns the vocabulary of a record. A `Scan` is a fixed-size copy without a
//! pointer into the request, so that neither an address nor a user agent can
//! travel further than the worker's stack. The numbers of the variants are part
//! of the journal's format: append new ones, never renumber.

use arrayvec::ArrayString;

use super::Code;

/// An enumeration stored as one byte in the journal and as a word in a store.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $number:literal $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $(#[doc = concat!("`", $word, "`")] $(#[$variant_meta])* $variant = $number,)+ }

        impl $name {
            /// Every variant, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word that stores and people see.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The variant of a word, if there is one.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|variant| variant.as_str() == word)
            }

            /// The variant of a byte read from a journal, if there is one.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// What the code was found to be: a sign's, a retired sign's, or no sign's.
    Outcome { Found = 0 "found", Retired = 1 "retired", Unknown = 2 "unknown", }
}

words! {
    /// How the code came to the edge: scanned as a QR code, by NFC, or typed.
    Channel { Qr = 0 "qr", Nfc = 1 "nfc", Typed = 2 "typed", }
}

words! {
    /// The kind of device, as far as the user agent tells.
    Device { Other = 0 "other", Phone = 1 "phone", Tablet = 2 "tablet", Desktop = 3 "desktop", }
}

words! {
    /// The operating system family.
    Os {
        Other = 0 "other", Android = 1 "android", Ios = 2 "ios", Harmony = 3 "harmony",
        Windows = 4 "windows", Macos = 5 "macos", Linux = 6 "linux", ChromeOs = 7 "chromeos",
    }
}

words! {
    /// The application that sent the request: a scanner's in-app browser, or a plain browser.
    App {
        Other = 0 "other", Zalo = 1 "zalo", Wechat = 2 "wechat", Alipay = 3 "alipay",
        Facebook = 4 "facebook", Instagram = 5 "instagram", Tiktok = 6 "tiktok", Line = 7 "line",
        Kakaotalk = 8 "kakaotalk", Whatsapp = 9 "whatsapp", Viber = 10 "viber",
        Telegram = 11 "telegram", Qq = 12 "qq", Coccoc = 13 "coccoc", Safari = 14 "safari",
        Chrome = 15 "chrome", Samsung = 16 "samsung", Edge = 17 "edge", Firefox = 18 "firefox",
        Opera = 19 "opera", Uc = 20 "uc", Huawei = 21 "huawei", Xiaomi = 22 "xiaomi",
    }
}

words! {
    /// Who sent the request: a person, a program (crawler, link preview, HTTP library), or a
    /// browser that fetches ahead of a person. Flagged, never dropped.
    Agent { Person = 0 "person", Bot = 1 "bot", Prefetch = 2 "prefetch", }
}

/// What the user agent and the fetch headers say about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Kind of device.
    pub device: Device,
    /// Operating system family.
    pub os: Os,
    /// Scanner or browser.
    pub app: App,
    /// Person, bot or prefetch.
    pub agent: Agent,
}

/// A short word kept inline: a language tag or a country code.
pub type Word = ArrayString<12>;
/// The name or code of a region, inline, cut at a character's boundary.
pub type Region = ArrayString<40>;

/// Where the visitor's address is, at the configured precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// ISO 3166-1 alpha-2, upper case; empty where unknown.
    pub country: ArrayString<2>,
    /// ISO 3166-2 subdivision code, or the name the database has; empty where unknown.
    pub region: Region,
}

/// One scan, as it is journalled and stored. The edge and the batch that it
/// belongs to are written once for each segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Milliseconds since the Unix epoch, UTC.
    pub ts_ms: i64,
    /// Generation of the registry that answered.
    pub generation: u64,
    /// Canonical code.
    pub code: Code,
    /// Whether a sign has the code, and is in use.
    pub outcome: Outcome,
    /// QR, NFC or typed.
    pub channel: Channel,
    /// Device, system, application, kind of agent.
    pub client: Client,
    /// The same address, user agent and code within the repeat window.
    pub repeat: bool,
    /// Primary language asked for; `other`, or empty where none was named.
    pub lang: Word,
    /// Language of the target sent; empty unless the outcome is `found`.
    pub served: Word,
    /// Country and region.
    pub origin: Origin,
}

impl Scan {
    /// Whether it is one that the headline figures count, as [`DEFINITION`] says.
    #[must_use]
    pub fn is_headline(&self) -> bool {
        self.outcome == Outcome::Found && self.client.agent == Agent::Person && !self.repeat
    }
}

/// The type of a column of [`COLUMNS`], and how its value is read from a scan.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// Milliseconds since the Unix epoch, UTC.
    Time(fn(&Scan) -> i64),
    /// A canonical code.
    Code(fn(&Scan) -> Code),
    /// A word from a list, a tag or a name.
    Text(fn(&Scan) -> &str),
    /// True or false.
    Flag(fn(&Scan) -> bool),
    /// A count or number.
    Number(fn(&Scan) -> u64),
}

/// One column of a recorded scan.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// As stores, `journal cat` and the documentation call it.
    pub name: &'static str,
    /// How its value is read from a scan.
    pub field: Field,
}

/// THE list of a scan's columns, in the order in which both stores have them. Behind these come the
/// edge, the batch and the position in it, which are known from the segment.
pub const COLUMNS: [Column; 14] = {
    const fn column(name: &'static str, field: Field) -> Column {
        Column { name, field }
    }
    [
        column("ts", Field::Time(|scan| scan.ts_ms)),
        column("code", Field::Code(|scan| scan.code)),
        column("outcome", Field::Text(|scan| scan.outcome.as_str())),
        column("channel", Field::Text(|scan| scan.channel.as_str())),
        column("lang", Field::Text(|scan| &scan.lang)),
        column("served", Field::Text(|scan| &scan.served)),
        column("country", Field::Text(|scan| &scan.origin.country)),
        column("region", Field::Text(|scan| &scan.origin.region)),
        column("device", Field::Text(|scan| scan.client.device.as_str())),
        column("os", Field::Text(|scan| scan.client.os.as_str())),
        column("app", Field::Text(|scan| scan.client.app.as_str())),
        column("agent", Field::Text(|scan| scan.client.agent.as_str())),
        column("repeat", Field::Flag(|scan| scan.repeat)),
        column("generation", Field::Number(|scan| scan.generation)),
    ]
};

/// The counting rule behind every headline figure, printed beside it.
pub const DEFINITION: &str = "scans = answered requests for the code of a sign, by a person (no crawler, \
link preview or prefetch), and not a repeat (same address, user agent and code within the repeat window \
of one edge). Scans are counted, never visitors.";
