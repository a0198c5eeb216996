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

ALTER TABLE {database}.scans_hourly{on_cluster} MODIFY SETTING {dedup};

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
