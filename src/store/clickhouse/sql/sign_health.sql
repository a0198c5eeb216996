-- The state of each sign, as an edge computes it once a day by the rule in src/health: one row set for each
-- day and edge, inserted whole. Size: 3,000 signs are a million rows a year for each edge.
CREATE TABLE IF NOT EXISTS {database}.sign_health{on_cluster} (
    edge         LowCardinality(String),
    day          Date,                                       -- of the computation, in the province's time zone
    computed     DateTime64(3, 'UTC'),                       -- the same for every row of a computation
    code         String,
    state        LowCardinality(String),                     -- silent, quiet, normal, not_enough_data, never_scanned, new
    since        Nullable(DateTime64(3, 'UTC')),             -- its last headline scan since it was mounted
    per_day      Float64,                                    -- hours with a scan on an average day
    expected     Float64,                                    -- hours with a scan expected since the last one
    one_in       Nullable(Float64),                          -- the chance of such a silence: 1 in so many
    alarm_on     Nullable(Date),                             -- the day of the alarm, come or to come if nothing is scanned
    looks_copied LowCardinality(String),                     -- empty, or: planned, retired, abroad, burst
    group_kind   LowCardinality(String),                     -- silent together: empty, or: street, area, province
    group_name   String,                                     -- the place's or the area's name
    ended_alarms UInt8,                                      -- alarms within the last 30 days that ended with a scan
    budget       Float64                                     -- false alarms promised for a sign and month
)
ENGINE = {replacing_merge_tree}
PARTITION BY toYYYYMM(day)
ORDER BY (day, edge, code)
TTL day + INTERVAL {ttl_months} MONTH DELETE
SETTINGS {dedup};

ALTER TABLE {database}.sign_health{on_cluster} MODIFY SETTING {dedup};
