-- The hours in which each sign has a headline scan: the rule of sign health counts hours, so that a school
-- class is one, and asks for years of one sign where scans_hourly is ordered by time.
--
-- Everything here is a maximum, so rows may come twice: the table can be filled while edges insert, and again
-- after a fill that broke off. That is why it has no count: scans_hourly counts. What was there before the view is
-- filled by the first computation of sign health (store/clickhouse/sign_health.rs), while sign_health is empty:
-- from scans, and from scans_hourly what is more than a year old. Each later one fills the last three days again.
CREATE TABLE IF NOT EXISTS {database}.sign_hours{on_cluster} (
    code String                                            CODEC(ZSTD(3)),
    hour DateTime('{timezone}')                            CODEC(Delta, ZSTD(1)),   -- the start of one of UTC
    last SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))          -- its last headline scan
)
ENGINE = {aggregating_merge_tree}
ORDER BY (code, hour)
SETTINGS {dedup};

ALTER TABLE {database}.sign_hours{on_cluster} MODIFY SETTING {dedup};

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.sign_hours_mv{on_cluster} TO {database}.sign_hours AS
SELECT
    scans.code AS code,
    toStartOfHour(scans.ts, 'UTC') AS hour,
    max(scans.ts) AS last
FROM {database}.scans AS scans
WHERE scans.outcome = 'found' AND scans.agent = 'person' AND NOT scans.repeat
GROUP BY code, hour;
