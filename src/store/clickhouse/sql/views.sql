-- What people and dashboards ask.

-- The registry of today: the generation that was published last as a whole, by whichever edge. A code that it no
-- longer has is not here. (Edges of one province serve the same registry, each with its own numbers.)
-- One of the two SELECTs finds nothing: the second is of edges of an earlier release.
-- LIMIT 1 BY: what was sent twice may not be merged yet, or lie on two shards.
CREATE OR REPLACE VIEW {database}.signs_current{on_cluster} AS
WITH
    (SELECT max((published, edge, generation, digest)) FROM {database}.registry_generations{all}) AS last,
    (SELECT max(published) FROM {database}.signs{all}) AS older_published,
    (SELECT max((edge, generation)) FROM {database}.signs{all} WHERE published = older_published) AS older
SELECT
    code, status, place, kind, area, name, names, lat, lon, mounted, target, targets, languages,
    namesake, named, told, targeted, compiled,
    edge, generation, last.1 AS published
FROM {database}.registry_signs{all}
WHERE last.1 >= older_published
    AND edge = last.2
    AND generation = last.3
    AND digest = last.4
LIMIT 1 BY code
UNION ALL
SELECT
    code, status, place, kind, area, name, names, lat, lon, mounted, target, targets, languages,
    namesake, named, told, targeted, compiled,
    edge, generation, published
FROM {database}.signs{all}
WHERE last.1 < older_published
    AND published = older_published
    AND edge = older.1
    AND generation = older.2
LIMIT 1 BY code;

-- Scans by hour, of all shards: what dashboards read, under one name on one node and on a cluster. Ask
-- for sum(scans), and for a time with conditions on hour: they reach the table's key. `day` is when the hour's day
-- begins in the province's time zone.
--
-- A sum by the columns of one projection (see projections.sql) is read from it. By sign, for whole days only: a range
-- that begins or ends within a day is the sum of two SELECTs, its whole days by `day`, and the hours of its first and
-- last day by `hour`. A subquery's condition (code IN (SELECT …)) must stand in the SELECT that sums up, and sumIf
-- outside of it: otherwise the projection is not used.
CREATE OR REPLACE VIEW {database}.hourly{on_cluster} AS
SELECT
    toStartOfDay(hour, '{timezone}') AS day,
    hour, code, outcome, agent, repeat, channel, lang, served, country, app, scans
FROM {database}.scans_hourly{all};

-- Every scan, and every generation of the registry that is whole, of all shards.
CREATE OR REPLACE VIEW {database}.every_scan{on_cluster} AS
SELECT * FROM {database}.scans{all};

CREATE OR REPLACE VIEW {database}.registry_history{on_cluster} AS
SELECT
    edge, generation, published,
    code, status, place, kind, area, name, names, lat, lon, mounted, target, targets, languages,
    namesake, named, told, targeted, compiled
FROM {database}.registry_signs{all} AS sign FINAL
GLOBAL INNER JOIN (
    SELECT edge, generation, digest, max(published) AS published
    FROM {database}.registry_generations{all}
    GROUP BY edge, generation, digest
) AS whole USING (edge, generation, digest)
UNION ALL
SELECT
    edge, generation, published,
    code, status, place, kind, area, name, names, lat, lon, mounted, target, targets, languages,
    namesake, named, told, targeted, compiled
FROM {database}.signs{all};

-- Hours in which a sign has a headline scan, of all shards. Ask for DISTINCT ones, or for a GROUP BY with
-- max(last): rows that came twice may not be merged yet.
CREATE OR REPLACE VIEW {database}.hours_by_sign{on_cluster} AS
SELECT code, hour, last
FROM {database}.sign_hours{all};

-- The states of all days and edges. Of several computations of a day take the last: max((computed, edge)).
CREATE OR REPLACE VIEW {database}.sign_health_history{on_cluster} AS
SELECT * FROM {database}.sign_health{all};

-- The state of each sign by the last computation of the last day, of whichever edge: of several edges on
-- one store the latest counts, and each sign once.
CREATE OR REPLACE VIEW {database}.sign_health_current{on_cluster} AS
WITH
    (SELECT max((day, computed, edge)) FROM {database}.sign_health{all} WHERE day = (SELECT max(day) FROM {database}.sign_health{all})) AS last
SELECT
    code, state, since, per_day, expected, one_in, alarm_on, looks_copied, group_kind, group_name, ended_alarms, budget,
    day, computed, edge
FROM {database}.sign_health{all}
WHERE day = last.1 AND computed = last.2 AND edge = last.3
LIMIT 1 BY code;

-- The headline figure by hour, with what an analyst groups by. Ask for sum(scans), and for a time with
-- conditions on hour: they reach the table's key through this view.
-- A code that the registry no longer has keeps its scans; its name, place and area are empty, lat and
-- lon are NULL. GLOBAL: on a cluster the registry is read once and sent to the shards.
CREATE OR REPLACE VIEW {database}.headline{on_cluster} AS
SELECT
    hourly.hour AS hour,
    hourly.code AS code,
    sign.place AS place,
    sign.name AS name,
    sign.area AS area,
    sign.kind AS kind,
    sign.lat AS lat,
    sign.lon AS lon,
    hourly.channel AS channel,
    hourly.lang AS lang,
    hourly.served AS served,
    hourly.country AS country,
    hourly.app AS app,
    hourly.scans AS scans
FROM {database}.scans_hourly{all} AS hourly
GLOBAL ANY LEFT JOIN {database}.signs_current AS sign ON sign.code = hourly.code
WHERE hourly.outcome = 'found' AND hourly.agent = 'person' AND NOT hourly.repeat;

-- The rule behind every headline figure, to be printed beside it.
CREATE OR REPLACE VIEW {database}.definition{on_cluster} AS
SELECT '{definition}' AS definition;

-- Counts up when these files change, so that a person sees which of them were applied.
CREATE OR REPLACE VIEW {database}.schema_version{on_cluster} AS
SELECT 6 AS version;
