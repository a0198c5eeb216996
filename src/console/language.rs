//! The language of a page: Vietnamese or English.
//!
//! Owns the two, and how numbers and times are written in each.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Vietnamese,
    English,
}

impl Language {
    /// The tag, for `lang=`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Vietnamese => "vi",
            Self::English => "en",
        }
    }

    /// The other one, for the switch.
    pub const fn other(self) -> Self {
        match self {
            Self::Vietnamese => Self::English,
            Self::English => Self::Vietnamese,
        }
    }

    /// Its own name, in itself.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vietnamese => "Tiếng Việt",
            Self::English => "English",
        }
    }

    /// The text in this language. Both stand side by side where they are used, so that neither is forgotten.
    pub const fn say<'t>(self, vietnamese: &'t str, english: &'t str) -> &'t str {
        match self {
            Self::Vietnamese => vietnamese,
            Self::English => english,
        }
    }

    /// What so many things are called; a noun has one form in Vietnamese.
    pub const fn count<'t>(self, count: usize, vietnamese: &'t str, one: &'t str, many: &'t str) -> &'t str {
        self.say(vietnamese, if count == 1 { one } else { many })
    }

    /// A count with its thousands apart: `20.000` and `20,000`.
    pub fn number(self, count: u64) -> String {
        let digits = count.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push_str(self.say(".", ","));
            }
            text.push(digit);
        }
        text
    }
}

/// A time as people here write it, in both languages: `26/11/2026 20:13`.
pub(super) fn time_text(time: Timestamp, zone: &TimeZone) -> String {
    zone.to_datetime(time).strftime("%d/%m/%Y %H:%M").to_string()
}

/// A day: `26/11/2026`.
pub(super) fn date_text(date: Date) -> String {
    date.strftime("%d/%m/%Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!(Language::Vietnamese.number(0), "0");
        assert_eq!(Language::Vietnamese.number(999), "999");
        assert_eq!(Language::Vietnamese.number(1_000), "1.000");
        assert_eq!(Language::English.number(12_345_678), "12,345,678");
    }

    #[test]
    fn a_time_is_in_the_zone_of_the_registry() {
        let zone = TimeZone::get("Asia/Ho_Chi_Minh").expect("compiled in");
        let time = "2026-11-26T17:30:00Z".parse().expect("a time");
        assert_eq!(time_text(time, &zone), "27/11/2026 00:30");
    }
}
