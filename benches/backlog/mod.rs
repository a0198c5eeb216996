//! A backlog: a journal full of scans that nobody has delivered, written as fast as its segments are made.

use std::path::Path;
use std::thread;
use std::time::Duration;

use waypost::core::Code;
use waypost::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan};
use waypost::journal::{self, Journal, Writer};

/// Nothing is sealed by its age, or synced on a timer.
const NEVER: Duration = Duration::from_hours(1);

/// Writes so many scans into a folder's journal, whose edge is `edge-1`, with times in order and evenly from `from`
/// until `to`, in milliseconds since the Unix epoch. A quarter of the codes has half of the scans.
pub fn fill(folder: &Path, scans: u64, codes: &[Code], from: i64, to: i64) -> Result<(), journal::OpenError> {
    let settings = journal::Settings {
        folder: folder.to_owned(),
        edge: "edge-1".to_owned(),
        segment: 16 << 20,
        seal_after: NEVER,
        seal_after_outage: NEVER,
        sync_every: NEVER,
        max_size: 1 << 40,
        min_free: 0,
    };
    let journal = Journal::open(settings, 1)?;
    thread::scope(|scope| {
        scope.spawn(|| journal.make_segments());
        scope.spawn(|| journal.seal_segments());
        let mut writer = Writer::new(&journal, 0);
        for turn in 0..scans {
            // The golden ratio's fraction of 2^64: each part of the line is met equally often, from the first turn on.
            let anywhere = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) as f64 / 2_f64.powi(64);
            let code = codes[(anywhere * anywhere * codes.len() as f64) as usize % codes.len()];
            let scan = by_a_person(code, from + (i128::from(to - from) * i128::from(turn) / i128::from(scans)) as i64);
            writer.append(&scan);
            while journal.counts().recorded <= turn {
                // The next segment was not ready.
                thread::sleep(Duration::from_millis(1));
                writer.append(&scan);
            }
        }
        drop(writer);
        journal.stop();
    });
    Ok(())
}

/// A scan as most are: with Zalo on Android, in Vietnamese, from Vietnam.
fn by_a_person(code: Code, ts_ms: i64) -> Scan {
    let word = |text: &str| text.try_into().expect("a short word");
    Scan {
        ts_ms,
        generation: 1,
        code,
        outcome: Outcome::Found,
        channel: Channel::Qr,
        client: Client { device: Device::Phone, os: Os::Android, app: App::Zalo, agent: Agent::Person },
        repeat: false,
        lang: word("vi"),
        served: word("vi"),
        origin: Origin { country: "VN".try_into().expect("a country"), ..Origin::default() },
    }
}
