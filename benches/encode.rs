//! How many rows a second can one core make ready for ClickHouse?
//!
//! A batch of 100,000 scans, as (1) one Native block, (2) the same in LZ4 frames of 1 MiB,
//! (3) the `clickhouse` crate's typed insert of the same 17 columns (`RowBinary`), sent to
//! a sink on the loopback, and (4) our whole path to the same sink: months, block, token,
//! compression, request. The sink reads and answers on another core.
//!
//! `cargo bench --bench encode`; the middle figure of `thrpt` is rows a second.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that can't go on panics")]

mod sink;

use std::hint::black_box;
use std::time::Duration;

use clickhouse::insert_formatted::CompressedData;
use clickhouse::{Client as ClickHouseClient, Compression, Row};
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio::runtime::Builder;
use uuid::Uuid;
use waypost::core::Secret;
use waypost::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Region, Scan};
use waypost::store::{Batch, ClickHouse, ClickHouseSettings, clickhouse::encode};

use sink::Sink;

const ROWS: u32 = 100_000;
/// As `src/store/clickhouse/client.rs` cuts a block.
const FRAME: usize = 1 << 20;
/// Long enough for any answer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Who scans, and how often of 16: device, system, application, language asked for, country.
const VISITORS: [(u32, Device, Os, App, &str, &str); 8] = [
    (5, Device::Phone, Os::Android, App::Zalo, "vi", "VN"),
    (3, Device::Phone, Os::Ios, App::Safari, "vi", "VN"),
    (2, Device::Phone, Os::Android, App::Chrome, "vi", "VN"),
    (2, Device::Phone, Os::Harmony, App::Wechat, "zh", "CN"),
    (1, Device::Phone, Os::Ios, App::Alipay, "zh", "CN"),
    (1, Device::Phone, Os::Android, App::Samsung, "ko", "KR"),
    (1, Device::Tablet, Os::Ios, App::Facebook, "en", "SG"),
    (1, Device::Desktop, Os::Windows, App::Edge, "fr", ""),
];

/// A busy minute on 500 signs.
fn batch() -> Batch {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let scans = (0..ROWS).map(|seq| (seq, scan(seq, &mut random))).collect();
    Batch { id: Uuid::now_v7(), edge: "edge-langson-1".to_owned(), scans }
}

fn scan(seq: u32, random: &mut Random) -> Scan {
    // Ten streets of five plates each take nine scans of ten.
    let sign = if random.below(10) == 0 { random.below(500) } else { random.below(50) };
    let mut turn = random.below(16);
    let visitor = VISITORS.iter().find(|visitor| {
        let found = turn < visitor.0;
        turn = turn.saturating_sub(visitor.0);
        found
    });
    let &(_, device, os, app, lang, country) = visitor.unwrap();
    let agent = if random.below(50) == 0 { Agent::Bot } else { Agent::Person };
    let region = if country.is_empty() { String::new() } else { format!("{country}-{:02}", random.below(60)) };
    Scan {
        // 21 November 2026, all in one month.
        ts_ms: 1_795_230_000_000 + i64::from(seq) / 2,
        generation: 41,
        code: code(sign),
        outcome: if random.below(100) == 0 { Outcome::Retired } else { Outcome::Found },
        channel: if random.below(10) == 0 { Channel::Nfc } else { Channel::Qr },
        client: Client { device, os, app, agent },
        repeat: random.below(20) == 0,
        lang: lang.try_into().unwrap(),
        served: if matches!(lang, "zh" | "en") { lang } else { "vi" }.try_into().unwrap(),
        origin: Origin { country: country.try_into().unwrap(), region: Region::from(&region).unwrap() },
    }
}

/// Eight characters, as printed on the plates.
fn code(sign: u32) -> waypost::core::Code {
    format!("{:08X}", sign.wrapping_mul(0x9E37_79B1)).parse().unwrap()
}

/// xorshift64* (Vigna 2016), with a fixed seed: every run has the same batch.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        u32::try_from(high % u64::from(limit)).unwrap()
    }
}

/// The same 17 columns for the crate's typed insert.
#[derive(Row, Serialize)]
struct TypedScan<'a> {
    ts: i64,
    code: &'a str,
    outcome: &'a str,
    channel: &'a str,
    lang: &'a str,
    served: &'a str,
    country: &'a str,
    region: &'a str,
    device: &'a str,
    os: &'a str,
    app: &'a str,
    agent: &'a str,
    repeat: bool,
    edge: &'a str,
    generation: u64,
    batch: (u64, u64),
    seq: u32,
}

async fn insert_typed(client: &ClickHouseClient, batch: &Batch) -> clickhouse::error::Result<()> {
    let mut insert = client.insert::<TypedScan<'_>>("scans").await?.with_timeouts(Some(TIMEOUT), Some(TIMEOUT));
    for (seq, scan) in &batch.scans {
        let row = TypedScan {
            ts: scan.ts_ms,
            code: &scan.code.text(),
            outcome: scan.outcome.as_str(),
            channel: scan.channel.as_str(),
            lang: &scan.lang,
            served: &scan.served,
            country: &scan.origin.country,
            region: &scan.origin.region,
            device: scan.client.device.as_str(),
            os: scan.client.os.as_str(),
            app: scan.client.app.as_str(),
            agent: scan.client.agent.as_str(),
            repeat: scan.repeat,
            edge: &batch.edge,
            generation: scan.generation,
            batch: batch.id.as_u64_pair(),
            seq: *seq,
        };
        insert.write(&row).await?;
    }
    insert.end().await
}

fn compress(block: &[u8]) -> impl Iterator<Item = CompressedData> {
    block.chunks(FRAME).map(|frame| CompressedData::new(frame, Compression::Lz4).unwrap())
}

fn encode(criterion: &mut Criterion) {
    let batch = batch();
    let rows: Vec<_> = batch.scans.iter().collect();
    let sink = Sink::start().unwrap();
    let url = format!("http://{}", sink.address);
    let mut group = criterion.benchmark_group("100,000 scans");
    group.throughput(Throughput::Elements(u64::from(ROWS))).sampling_mode(SamplingMode::Flat).sample_size(30);

    group.bench_function("1 native block", |bencher| {
        bencher.iter(|| encode::scans(batch.id, &batch.edge, black_box(&rows), Vec::new()));
    });
    group.bench_function("2 native block, LZ4", |bencher| {
        bencher.iter(|| {
            let (block, _) = encode::scans(batch.id, &batch.edge, black_box(&rows), Vec::new());
            block.iter().flat_map(|part| compress(part)).for_each(|frame| drop(black_box(frame)));
        });
    });
    typed(&mut group, &url, &batch);
    whole(&mut group, url, &batch);
    group.finish();
}

fn typed(group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>, url: &str, batch: &Batch) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // Without validation the crate asks the server for no columns and sends plain RowBinary.
    let client = ClickHouseClient::default().with_url(url).with_compression(Compression::Lz4).with_validation(false);
    group.bench_function("3 typed insert to a sink", |bencher| {
        bencher.iter(|| runtime.block_on(insert_typed(&client, black_box(batch))).unwrap());
    });
}

fn whole(group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>, url: String, batch: &Batch) {
    let settings = ClickHouseSettings {
        urls: vec![url],
        database: "waypost".to_owned(),
        user: "default".to_owned(),
        password: Secret::default(),
        ca_file: None,
        cluster: String::new(),
        replicas: false,
        apply_schema: false,
        connect_timeout: TIMEOUT,
        timeout: TIMEOUT,
    };
    let mut store = ClickHouse::open(&settings, &TimeZone::UTC).unwrap();
    group.bench_function("4 our insert to a sink", |bencher| {
        bencher.iter(|| store.insert(black_box(batch)).unwrap());
    });
}

criterion_group!(benches, encode);
criterion_main!(benches);
