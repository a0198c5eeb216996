-- Every scan, one row each, as an edge recorded it.
--
-- How these files are read. They are applied in this order: scans.sql, scans_hourly.sql,
-- registry.sql, signs.sql, sign_hours.sql, sign_health.sql, distributed.sql (a cluster only), views.sql, projections.sql,
-- reader.sql (needs an administrator's rights). All of them are applied before the first insert: a view fills scans_hourly from what is
-- inserted after it exists. A statement ends with `;` at the end of a line, and each may be run
-- again: a second time changes nothing. `--` begins a comment. These words, where they stand in braces,
-- are replaced as text, but not in comments; any other word in braces is ClickHouse's own macro and stays:
--
--                        one node              a cluster
--   database             the database's name, an identifier of a-z A-Z 0-9 _ (it stands without quotes)
--   timezone             an IANA name; the quotes around it are here
--   ttl_months           a number
--   definition           the counting rule, with \ and ' escaped; the quotes around it are here
--   on_cluster           (nothing)             " ON CLUSTER name", with the blank before it
--   cluster              (nothing)             the cluster's name, an identifier
--   all                  (nothing)             _all
--   merge_tree           MergeTree             ReplicatedMergeTree(PATH, '{replica}')
--   summing_merge_tree   SummingMergeTree      ReplicatedSummingMergeTree(PATH, '{replica}')
--   replacing_merge_tree ReplacingMergeTree    ReplicatedReplacingMergeTree(PATH, '{replica}')
--   aggregating_merge_tree AggregatingMergeTree ReplicatedAggregatingMergeTree(PATH, '{replica}')
--   dedup                non_replicated_deduplication_window = 100000
--                                              replicated_deduplication_window = 100000,
--                                              replicated_deduplication_window_seconds = 2592000
--
-- PATH is '/clickhouse/tables/{shard}/DATABASE/{table}', with the database's name for DATABASE; {shard}
-- and {replica} come from each server's <macros>. It is spelled out because ClickHouse's default path
-- has a {uuid} in it: a replica that is added later would get another one, and replicate with nobody.

CREATE DATABASE IF NOT EXISTS {database}{on_cluster};

-- Codecs and order were measured on 1,000,000 scans of one month, 200 signs of which 50 take nearly
-- all, in batches of 500. With the codecs below 7.8 bytes a row, of which ts 3.1, seq 1.1,
-- batch 1.0; without any 15.2. In batches of 20,000 7.6. In batches of 5, as a quiet edge
-- makes them, 18.8: the identity of a batch doesn't compress.
--   ts           LZ4 5.3, ZSTD 3.4, Delta + ZSTD 3.2, DoubleDelta + ZSTD 3.7, T64 + ZSTD 3.1
--   seq          LZ4 2.9, ZSTD 1.5, T64 + ZSTD 1.1
--   generation   LZ4 0.05, ZSTD 0.29, T64 + ZSTD 0.01
--   code         LZ4 0.22, ZSTD(1) 0.36, ZSTD(3) 0.10, as a LowCardinality the same 0.10
--   batch        LZ4 2.3, ZSTD 1.0
-- code is a String and no LowCardinality: unknown codes are somebody's text, up to 50 a second on
-- each edge, and no dictionary shall be filled with them.
CREATE TABLE IF NOT EXISTS {database}.scans{on_cluster} (
    ts         DateTime64(3, 'UTC')   CODEC(T64, ZSTD(1)),
    code       String                 CODEC(ZSTD(3)),
    outcome    LowCardinality(String) CODEC(ZSTD(1)),
    channel    LowCardinality(String) CODEC(ZSTD(1)),
    lang       LowCardinality(String) CODEC(ZSTD(1)),
    served     LowCardinality(String) CODEC(ZSTD(1)),
    country    LowCardinality(String) CODEC(ZSTD(1)),
    region     LowCardinality(String) CODEC(ZSTD(1)),
    device     LowCardinality(String) CODEC(ZSTD(1)),
    os         LowCardinality(String) CODEC(ZSTD(1)),
    app        LowCardinality(String) CODEC(ZSTD(1)),
    agent      LowCardinality(String) CODEC(ZSTD(1)),
    repeat     Bool                   CODEC(ZSTD(1)),
    edge       LowCardinality(String) CODEC(ZSTD(1)),
    generation UInt64                 CODEC(T64, ZSTD(1)),
    batch      UUID                   CODEC(ZSTD(1)),
    seq        UInt32                 CODEC(T64, ZSTD(1))
)
ENGINE = {merge_tree}
-- The month in UTC. An insert is of one month, so that it is one part, all of it or nothing.
PARTITION BY toYYYYMM(ts)
-- Day, then code: of the million rows above, one sign's month reads 10 to 15 % (a busy one) or 6 %,
-- all signs' hour reads 3.5 %, one day. (code, ts) would read 5 % and 0.2 %, but 15 % for the hour and
-- 17 % more bytes; (hour, code) 75 % for the sign. ts stands in the order, for the codec, and not in
-- the primary key: when it is there too, a condition on ts is not turned into one on toDate(ts), and
-- one hour reads 82 %.
ORDER BY (toDate(ts), code, ts)
PRIMARY KEY (toDate(ts), code)
-- A part is dropped when all of it is older, and a month becomes one part: the month goes as a whole,
-- that many months after its last scan. What counts scans by hour stays.
TTL toDateTime(ts) + INTERVAL {ttl_months} MONTH DELETE
SETTINGS
    -- A retried batch is known by its token while it is among the last so many inserts (and not
    -- older than 30 days, on a cluster). Without this a retry is stored twice.
    {dedup},
    ttl_only_drop_parts = 1,
    -- Rows to a mark. 8192, the default, has one sign's month read 45 % instead of 10 %; 1024 costs
    -- 2 % more bytes.
    index_granularity = 1024;

-- A table that is there already gets the window and the age of the configuration.
ALTER TABLE {database}.scans{on_cluster} MODIFY SETTING {dedup};
ALTER TABLE {database}.scans{on_cluster} MODIFY TTL toDateTime(ts) + INTERVAL {ttl_months} MONTH DELETE;

-- Columns of later versions follow here: ALTER TABLE … ADD COLUMN IF NOT EXISTS ….
