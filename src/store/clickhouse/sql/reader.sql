-- Who may look: a role that reads this database and nothing else, for Grafana and analysts. Scans have
-- no address, user agent or visitor in them, so all of it may be read.
CREATE ROLE IF NOT EXISTS waypost_reader{on_cluster};

GRANT{on_cluster} SELECT ON {database}.* TO waypost_reader;

-- readonly = 1: nothing can be written, and no setting changed. Grafana's plugin sets max_execution_time
-- with every query: with readonly = 1 alone its "Save & test" passes and then each panel fails with
-- "Cannot modify 'max_execution_time' setting in readonly mode". So this one may be changed, up to five
-- minutes. It takes <settings_constraints_replace_previous> in <access_control_improvements>, which
-- ClickHouse's own config.xml has on.
-- The memory leaves a small server room for inserts: 512 MiB for a query.
CREATE SETTINGS PROFILE IF NOT EXISTS waypost_reader{on_cluster}
SETTINGS
    readonly = 1,
    max_execution_time = 60 MIN 1 MAX 300 CHANGEABLE_IN_READONLY,
    max_memory_usage = 536870912
TO waypost_reader;

-- A user of it, with a password of your own (each role that is granted is in force by default):
--
--   CREATE USER grafana IDENTIFIED WITH sha256_password BY '…'
--   GRANT waypost_reader TO grafana
