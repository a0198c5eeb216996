//! Charts of use, as SVG that the server makes.
//!
//! A bar for each of the last 30 days, the oldest at the left. The last day is today, which is not over: its bar looks
//! different. What a chart shows it also says, in words.

use jiff::Span;
use jiff::civil::Date;
use maud::{Markup, html};

use super::figures::DAYS;
use super::language::{Language, date_text};

/// Scans on each of the last days, the oldest first.
pub(super) type Days = [u64; DAYS];

/// Of one sign, or the sum of several.
pub(super) fn sum<'d>(signs: impl Iterator<Item = &'d [u32; DAYS]>) -> Days {
    let mut sum = [0; DAYS];
    for days in signs {
        sum.iter_mut().zip(days).for_each(|(sum, &day)| *sum += u64::from(day));
    }
    sum
}

/// What a chart says, in words.
fn words(language: Language, days: &Days) -> String {
    let total = days.iter().sum::<u64>();
    let most = days.iter().max().copied().unwrap_or(0);
    match language {
        Language::Vietnamese => {
            format!("{DAYS} ngày qua: {} lượt quét, ngày nhiều nhất {}", language.number(total), language.number(most))
        }
        Language::English => {
            format!("last {DAYS} days: {} scans, {} on the busiest", language.number(total), language.number(most))
        }
    }
}

/// The height of a bar in pixels, of `full`: a day with a scan is never without one.
fn height(scans: u64, most: u64, full: u64) -> u64 {
    if scans == 0 { 0 } else { (scans.saturating_mul(full) / most.max(1)).max(1) }
}

/// For a row of a list: 90 by 24 pixels.
pub(super) fn small(language: Language, days: &Days) -> Markup {
    const FULL: u64 = 22;
    let most = days.iter().max().copied().unwrap_or(0);
    // One path for the days that are over keeps a page of 50 rows short.
    let mut path = String::new();
    for (at, &scans) in days.iter().enumerate().take(DAYS - 1).filter(|(_, scans)| **scans > 0) {
        let height = height(scans, most, FULL);
        path.push_str(&format!("M{} {}h2v{height}h-2z", at * 3, FULL - height));
    }
    let today = height(days[DAYS - 1], most, FULL);
    html! {
        svg.chart role="img" aria-label=(words(language, days)) width="90" height="24" viewBox="0 0 90 24" {
            path.axis d="M0 23h90" {}
            @if !path.is_empty() { path d=(path) {} }
            @if today > 0 { rect.today x=((DAYS - 1) * 3) y=(FULL - today) width="2" height=(today) {} }
        }
    }
}

/// For the page of a sign or place: with days and numbers, and the same as a table.
pub(super) fn large(language: Language, days: &Days, today: Option<Date>) -> Markup {
    const FULL: u64 = 114;
    const TOP: u64 = 24;
    const STEP: usize = 20;
    let most = days.iter().max().copied().unwrap_or(0);
    let width = DAYS * STEP;
    let day = |at: usize| {
        let ago = i64::try_from(DAYS - 1 - at).unwrap_or(0);
        today.and_then(|today| today.checked_sub(Span::new().days(ago)).ok())
    };
    let label = |at: usize| day(at).map_or(String::new(), |day| day.strftime("%d/%m").to_string());
    let today_text = language.say("hôm nay", "today");
    html! {
        figure.stack {
            svg.chart.large role="img" aria-label=(words(language, days)) viewBox={ "0 0 " (width) " 160" } {
                text x="0" y="17" { (language.number(most)) }
                path.axis d={ "M0 23.5h" (width) "M0 138.5h" (width) } {}
                @for (at, &scans) in days.iter().enumerate() {
                    @let height = height(scans, most, FULL);
                    @if height > 0 {
                        rect.today[at == DAYS - 1] x=(at * STEP + 2) y=(TOP + FULL - height) width=(STEP - 4) height=(height) {
                            title { (label(at)) ": " (language.number(scans)) }
                        }
                    }
                }
                text x="0" y="156" { (label(0)) }
                text x=(width / 2) y="156" text-anchor="middle" { (label(DAYS / 2)) }
                text x=(width) y="156" text-anchor="end" { (today_text) }
            }
            figcaption.soft { (words(language, days)) }
            details {
                summary { (language.say("Số liệu từng ngày", "Numbers by day")) }
                table.plain {
                    thead { tr { th scope="col" { (language.say("Ngày", "Day")) } th scope="col" { (language.say("Lượt quét", "Scans")) } } }
                    tbody {
                        @for (at, &scans) in days.iter().enumerate().rev() {
                            tr {
                                td { @if at == DAYS - 1 { (today_text) } @else if let Some(day) = day(at) { (date_text(day)) } @else { "−" (DAYS - 1 - at) } }
                                td.number { (language.number(scans)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_says_in_words_what_it_shows() {
        let mut days = [0; DAYS];
        (days[0], days[DAYS - 1]) = (1_500, 3);
        let text = small(Language::Vietnamese, &days).into_string();
        assert!(text.contains("30 ngày qua: 1.503 lượt quét, ngày nhiều nhất 1.500"), "{text}");
        assert!(text.contains("role=\"img\""), "{text}");
        // A bar of full height, and the least one for today.
        assert!(text.contains("M0 0h2v22h-2z") && text.contains("height=\"1\""), "{text}");
    }

    #[test]
    fn a_sign_without_scans_has_a_chart_without_bars() {
        let text = small(Language::English, &[0; DAYS]).into_string();
        assert!(!text.contains("<rect") && text.contains("0 scans"), "{text}");
        assert_eq!([height(0, 0, 22), height(1, u64::MAX, 22), height(7, 7, 22)], [0, 1, 22]);
    }

    #[test]
    fn the_days_of_a_large_chart_end_today() {
        let today = Date::constant(2026, 3, 1);
        let text = large(Language::English, &[1; DAYS], Some(today)).into_string();
        assert!(text.contains("31/01") && text.contains("28/02/2026") && text.contains("today"), "{text}");
        // Before anything is known there are no dates.
        assert!(!large(Language::English, &[1; DAYS], None).into_string().contains("2026"));
    }
}
