-- The registry, each generation of each edge: what a code was called, where it hung and where it led at any time. An
-- edge sends a generation in blocks of at most 65,536 signs, and a row of registry_generations after the last. Until
-- then its signs do not count: the views signs_current and registry_history leave them out. What a later edit has
-- overtaken on its way stays like that.
-- Size: 200 signs and 5 edits a day are 365,000 rows a year.
CREATE TABLE IF NOT EXISTS {database}.registry_signs{on_cluster} (
    edge       LowCardinality(String),
    generation UInt64,
    digest     UInt32,                                       -- of the tables, the default language and the columns sent
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
-- A block whose token is no longer known replaces itself.
ENGINE = {replacing_merge_tree}
-- digest: where a later release sends more of each sign, the generation as it was stays whole until the new one is.
ORDER BY (edge, generation, digest, code)
SETTINGS {dedup};

ALTER TABLE {database}.registry_signs{on_cluster} MODIFY SETTING {dedup};

-- Columns of later versions follow here: ALTER TABLE … ADD COLUMN IF NOT EXISTS ….

-- Generations whose signs are all there: by these an edge sees at its start that nothing is to be sent.
CREATE TABLE IF NOT EXISTS {database}.registry_generations{on_cluster} (
    edge         LowCardinality(String),
    generation   UInt64,
    digest       UInt32,
    published    DateTime64(3, 'UTC'),                       -- when it came to count, last
    content_hash String,                                     -- as /status shows it: the same for the same tables
    signs        UInt64
)
ENGINE = {replacing_merge_tree}
ORDER BY (edge, generation, digest)
SETTINGS {dedup};

ALTER TABLE {database}.registry_generations{on_cluster} MODIFY SETTING {dedup};
