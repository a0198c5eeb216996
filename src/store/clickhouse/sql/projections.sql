-- What makes dashboards quick over years of scans. Nothing is recorded or answered wrongly without: where an
-- edge's user may not do it (ALTER INDEX, ALTER PROJECTION, ALTER SETTINGS), the edge warns and goes on.
--
-- Which granules of scans have unknown codes: a few in a thousand, and asked for by themselves. Parts that are there
-- already get it as they are merged.
ALTER TABLE {database}.scans{on_cluster} ADD INDEX IF NOT EXISTS outcomes outcome TYPE set(3) GRANULARITY 1;

-- A table that adds up rows when it merges takes projections only if it is told what becomes of them then: here
-- they are made anew from the merged rows, so they always say what the table says. ClickHouse 24.8 is the first
-- to know this setting: https://clickhouse.com/docs/operations/settings/merge-tree-settings#deduplicate_merge_projection_mode
ALTER TABLE {database}.scans_hourly{on_cluster} MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild';

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
