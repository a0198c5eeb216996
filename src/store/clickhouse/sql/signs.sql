-- The registry as edges of earlier releases sent it, and go on sending it beside newer ones: a generation is one insert,
-- so it is here whole or not at all. What edges send now is in registry_signs (registry.sql). It is a table of its own
-- because the view that an earlier release makes of this one takes what was published last for whole.
CREATE TABLE IF NOT EXISTS {database}.signs{on_cluster} (
    edge       LowCardinality(String),
    generation UInt64,
    published  DateTime64(3, 'UTC'),                         -- the same for every row of a generation
    code       String,
    status     LowCardinality(String),                       -- planned, active, retired
    place      LowCardinality(String),                       -- its identifier
    kind       LowCardinality(String),
    area       LowCardinality(String),
    name       String,                                       -- in the default language
    names      Map(LowCardinality(String), String),          -- in the others, by language tag
    lat        Nullable(Float64),
    lon        Nullable(Float64),
    mounted    Nullable(Date),
    target     String,                                       -- in the default language, overrides not applied
    targets    Map(LowCardinality(String), String),          -- in the others, by language tag
    languages  Array(LowCardinality(String)),                -- all that the sign has a target in
    -- What its place has, whatever the sign has: how far the programme is. The text itself is not here: no dashboard
    -- shows it, and it would be kept for each generation.
    namesake   String,                                       -- in the default language
    named      Array(LowCardinality(String)),                -- languages of its name
    told       Array(LowCardinality(String)),                -- languages of its text
    targeted   Array(LowCardinality(String)),                -- languages of its targets
    compiled   Nullable(Date)                                -- when its text was put together
)
-- A generation that is sent again replaces itself.
ENGINE = {replacing_merge_tree}
-- By the month of publishing: max(published) is then answered from the parts' bounds, reading nothing.
PARTITION BY toYYYYMM(published)
ORDER BY (edge, generation, code)
SETTINGS {dedup};

ALTER TABLE {database}.signs{on_cluster} MODIFY SETTING {dedup};

-- What an earlier release's table lacks. Its rows, and those that its edges go on sending, have none of it.
ALTER TABLE {database}.signs{on_cluster}
    ADD COLUMN IF NOT EXISTS namesake String,
    ADD COLUMN IF NOT EXISTS named Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS told Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS targeted Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS compiled Nullable(Date);
