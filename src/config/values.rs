//! What a value in `waypost.toml` may be.
//!
//! Owns the kinds of values that several sections have, and the form of an error: what is
//! expected, with the limits or an example, and what was found.

use std::time::Duration;

use toml::de::DeValue;

use super::secret::SecretError;
use crate::registry::{HostPatternError, TargetError};
use crate::store::AuthoritiesError;

/// Why a value is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    /// It is of another kind, or beyond its limits.
    #[error("expected {expected}, found {found}")]
    Expected { expected: String, found: String },
    /// It is no URL that a visitor may be sent to.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// It is no pattern of hosts.
    #[error(transparent)]
    Host(#[from] HostPatternError),
    /// The authorities in the file that it names can't be used.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The secret in the file that it names can't be used.
    #[error("{file:?}: {source}")]
    Secret { file: String, source: SecretError },
}

pub(super) fn expected(expected: impl Into<String>, found: impl Into<String>) -> ValueError {
    ValueError::Expected { expected: expected.into(), found: found.into() }
}

/// A value as it stands in the file, or what kind it is.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", text.as_ref()),
        // What is no number may be taken for a broken one, whatever bytes are in it.
        DeValue::Integer(number) => number.to_string().escape_debug().to_string(),
        DeValue::Float(number) => number.to_string().escape_debug().to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Datetime(time) => time.to_string(),
    }
}

pub(super) fn string(value: &DeValue<'_>) -> Result<String, ValueError> {
    value.as_str().map(str::to_owned).ok_or_else(|| expected("a string in quotes", shown(value)))
}

pub(super) fn strings(value: &DeValue<'_>) -> Result<Vec<String>, ValueError> {
    const EXPECTED: &str = "a list of strings such as [\"a\", \"b\"]";
    let list = value.as_array().ok_or_else(|| expected(EXPECTED, shown(value)))?;
    let read = |item: &DeValue<'_>| {
        item.as_str().map(str::to_owned).ok_or_else(|| expected(EXPECTED, format!("one with {}", shown(item))))
    };
    list.iter().map(|item| read(item.get_ref())).collect()
}

/// A list of strings that is not empty; `at_least` says what one of them is.
pub(super) fn some_strings(value: &DeValue<'_>, at_least: &str) -> Result<Vec<String>, ValueError> {
    let list = strings(value)?;
    if list.is_empty() { Err(expected(format!("at least {at_least}"), "an empty list")) } else { Ok(list) }
}

/// A list of tables, each with these keys alone, which have strings.
pub(super) fn tables<const N: usize>(
    keys: [&'static str; N],
) -> impl Fn(&DeValue<'_>) -> Result<Vec<[String; N]>, ValueError> {
    move |value| {
        let example = keys.map(|key| format!("{key} = \"…\"")).join(", ");
        let wrong = |found: String| expected(format!("a list of tables such as [{{ {example} }}]"), found);
        let list = value.as_array().ok_or_else(|| wrong(shown(value)))?;
        let read = |item: &DeValue<'_>| {
            let table = item.as_table().ok_or_else(|| wrong(format!("one with {}", shown(item))))?;
            if let Some((key, _)) = table.iter().find(|(key, _)| !keys.contains(&key.get_ref().as_ref())) {
                return Err(wrong(format!("the key {:?}", key.get_ref())));
            }
            let mut texts = [const { String::new() }; N];
            for (key, text) in keys.iter().zip(&mut texts) {
                let value = table.get(*key).ok_or_else(|| wrong(format!("a table without {key}")))?;
                let found = value.get_ref();
                found.as_str().ok_or_else(|| wrong(format!("{key} = {}", shown(found))))?.clone_into(text);
            }
            Ok(texts)
        };
        list.iter().map(|item| read(item.get_ref())).collect()
    }
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, ValueError> {
    value.as_bool().ok_or_else(|| expected("true or false", shown(value)))
}

/// An integer within limits, which must fit the type.
pub(super) fn integer<T: TryFrom<u64>>(least: u64, most: u64) -> impl Fn(&DeValue<'_>) -> Result<T, ValueError> {
    move |value| {
        let number = value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        let number = number.filter(|n| (least..=most).contains(n)).and_then(|n| T::try_from(n).ok());
        number.ok_or_else(|| expected(format!("an integer from {least} to {most}"), shown(value)))
    }
}

/// A number within limits, with or without a fraction.
pub(super) fn number(least: f64, most: f64) -> impl Fn(&DeValue<'_>) -> Result<f64, ValueError> {
    move |value| {
        let number = match value {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            _ => None,
        };
        let number = number.filter(|n| (least..=most).contains(n));
        number.ok_or_else(|| expected(format!("a number from {least} to {most}"), shown(value)))
    }
}

/// A duration within limits, such as `"5s"` or `"200ms"`.
pub(super) fn duration(least: Duration, most: Duration) -> impl Fn(&DeValue<'_>) -> Result<Duration, ValueError> {
    move |value| {
        let read = value.as_str().and_then(|text| text.parse::<jiff::SignedDuration>().ok());
        let read = read.and_then(|duration| Duration::try_from(duration).ok());
        read.filter(|duration| (least..=most).contains(duration)).ok_or_else(|| {
            let [least, most] = [least, most].map(shown_duration);
            expected(format!("a duration from {least} to {most} such as \"5s\""), shown(value))
        })
    }
}

/// An age in whole days such as `"400d"`, or a duration; `None` is none, written as `"0d"`.
pub(super) fn age(least: Duration, most: Duration) -> impl Fn(&DeValue<'_>) -> Result<Option<Duration>, ValueError> {
    const HOURS: u64 = 24;
    move |value| {
        let days = |text: &str| text.strip_suffix('d')?.trim().parse::<u64>().ok();
        let read = value.as_str().and_then(|text| match days(text) {
            Some(days) => days.checked_mul(HOURS * 60 * 60).map(Duration::from_secs),
            None => text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok()),
        });
        let read = read.filter(|age| age.is_zero() || (least..=most).contains(age));
        read.map(|age| (!age.is_zero()).then_some(age)).ok_or_else(|| {
            let [least, most] = [least, most].map(|age| age.as_secs() / (HOURS * 60 * 60));
            expected(
                format!("\"0d\", which is for ever, or an age from {least}d to {most}d such as \"400d\""),
                shown(value),
            )
        })
    }
}

fn shown_duration(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or(String::new(), |duration| format!("{duration:#}"))
}

/// The units of sizes, the largest first.
const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A size in bytes within limits, such as `"16MiB"`.
pub(super) fn size(least: u64, most: u64) -> impl Fn(&DeValue<'_>) -> Result<u64, ValueError> {
    move |value| {
        let read = value.as_str().and_then(bytes);
        read.filter(|n| (least..=most).contains(n)).ok_or_else(|| {
            let [least, most] = [least, most].map(shown_size);
            expected(format!("a size from {least} to {most} such as \"16MiB\""), shown(value))
        })
    }
}

fn bytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit.trim() {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Bytes in the largest unit of which they are a multiple, as they may be written.
pub(super) fn shown_size(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    let (name, unit) = unit.unwrap_or(&("B", 1));
    format!("{}{name}", bytes / unit)
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, ValueError> {
    move |value| {
        let read = value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
        read.map(|(_, value)| *value).ok_or_else(|| {
            let mut allowed: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            let last = allowed.pop().unwrap_or_default();
            expected(format!("{} or {last}", allowed.join(", ")), shown(value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_one_of_days_or_a_duration_and_none_is_for_ever() {
        let read = |text: &'static str| {
            let value = DeValue::String(text.into());
            age(Duration::from_hours(31 * 24), Duration::from_hours(36500 * 24))(&value).ok()
        };
        for (text, hours) in [("31d", 31 * 24), ("400d", 9600), ("9600h", 9600), ("36500 d", 36500 * 24)] {
            assert_eq!(read(text), Some(Some(Duration::from_hours(hours))), "{text}");
        }
        for text in ["0d", "0s"] {
            assert_eq!(read(text), Some(None), "{text}");
        }
        for wrong in ["", "d", "400", "-40d", "30d", "1.5d", "36501d", "99999999999999999999d", "one year"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_size_is_read_as_it_is_shown() {
        for (text, size) in
            [("0B", 0), ("1B", 1), ("1025B", 1025), ("64KiB", 64 << 10), ("3MiB", 3 << 20), ("1024TiB", 1 << 50)]
        {
            assert_eq!((bytes(text), shown_size(size).as_str()), (Some(size), text));
        }
        assert_eq!((bytes("512"), bytes("4 GiB")), (Some(512), Some(4 << 30)));
        for wrong in ["", "GiB", "-1B", "4GB", "1.5MiB", "99999999TiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
