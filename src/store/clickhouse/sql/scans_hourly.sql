-- Scans counted by hour of the province's time zone, sign, and the small dimensions: what reports and
-- dashboards read. It has no TTL: a year can be compared with the one before when its scans are gone.
--
-- Size: of the 1,000,000 scans measured (see scans.sql) it keeps 452,000 rows of 2.5 bytes.
-- device, os, region and edge are not here: each would multiply the rows; scans has them.
--
-- The time zone is part of the columns' type. To change it, drop this table and the view, apply this
-- file, and fill the table from scans.
CREATE TABLE IF NOT EXISTS {database}.scans_hourly{on_cluster} (
    hour    DateTime('{timezone}')  CODEC(Delta, ZSTD(1)),   -- its start
    code    String                  CODEC(ZSTD(3)),          -- empty where the outcome is unknown
    outcome LowCardinality(String)  CODEC(ZSTD(1)),
    agent   LowCardinality(String)  CODEC(ZSTD(1)),
    repeat  Bool                    CODEC(ZSTD(1)),
    channel LowCardinality(String)  CODEC(ZSTD(1)),
    lang    LowCardinality(String)  CODEC(ZSTD(1)),
    served  LowCardinality(String)  CODEC(ZSTD(1)),
    country LowCardinality(String)  CODEC(ZSTD(1)),
    app     LowCardinality(String)  CODEC(ZSTD(1)),
    scans   UInt64                  CODEC(T64, ZSTD(1))      -- ask for sum(scans): rows are added up in the background
)
ENGINE = {summing_merge_tree}
-- The month in the province's time zone: one local month is one partition. A batch of one month in UTC
-- may touch two of these; each part is known by the batch's token on its own.
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, code, outcome, agent, repeat, channel, lang, served, country, app)
PRIMARY KEY (hour, code)
SETTINGS
    -- A window of its own: with one on scans alone, a retry is stored once there and twice here.
    {dedup},
    index_granularity = 1024;

-- A table that adds up rows when it merges takes projections only if it is told what becomes of them then: here
-- they are made anew from the merged rows, so they always say what the table says. ClickHouse 24.8 is the first
-- to know this setting: https://clickhouse.com/docs/operations/settings/merge-tree-settings#deduplicate_merge_projection_mode
ALTER TABLE {database}.scans_hourly{on_cluster} MODIFY SETTING {dedup}, deduplicate_merge_projection_mode = 'rebuild';

-- What dashboards ask most, counted beforehand within each part of the table. ClickHouse reads a projection by itself
-- where a SELECT with its sums groups and filters by its columns alone, and the table's rows where a part has none.
-- Measured on 57 million scans of 90 days and 3,000 signs: 19.1 million rows here, 53 MB. An insert of 30 scans takes
-- 23 to 31 ms of CPU instead of 18 to 20, one of 1,000 scans 44 to 56 instead of 32 to 35.
--
-- Of all signs together: 0.66 million rows, 3.9 MB; a figure of the 90 days takes 0.05 s of CPU instead of 0.4 to 1.2.
ALTER TABLE {database}.scans_hourly{on_cluster} ADD PROJECTION IF NOT EXISTS by_hour (
    SELECT hour, outcome, agent, repeat, channel, lang, served, country, app, sum(scans)
    GROUP BY hour, outcome, agent, repeat, channel, lang, served, country, app
);

-- Of each sign on each day, with its last hour: 2.0 million rows, 16 MB. All signs' sums of the 90 days take 0.2 s of
-- CPU instead of 0.9, one sign's 0.05 instead of 0.3: code comes first, so it reads 14,000 rows. The day is no
-- toDate(hour): ClickHouse turns a condition on that into one on hour, and then doesn't see that this answers it.
ALTER TABLE {database}.scans_hourly{on_cluster} ADD PROJECTION IF NOT EXISTS by_sign (
    SELECT code, toStartOfDay(hour, '{timezone}'), outcome, agent, repeat, lang, served, sum(scans), max(hour)
    GROUP BY code, toStartOfDay(hour, '{timezone}'), outcome, agent, repeat, lang, served
);

-- What was inserted before a projection was added has none. `waypost schema --apply`, and an edge at its start, let
-- ClickHouse make them in the background where parts lack them; by hand, once:
-- ALTER TABLE … MATERIALIZE PROJECTION by_hour, and the same for by_sign.

-- Fills it, within the insert into scans. An unknown code is anybody's text, so unknown ones count
-- together; scans has each, to find a misprinted plate.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.scans_hourly_mv{on_cluster} TO {database}.scans_hourly AS
SELECT
    toStartOfHour(scans.ts, '{timezone}') AS hour,
    if(scans.outcome = 'unknown', '', scans.code) AS code,
    outcome, agent, repeat, channel, lang, served, country, app,
    count() AS scans
FROM {database}.scans AS scans
GROUP BY ALL;
