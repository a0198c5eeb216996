# The user that Grafana reads with. ClickHouse's entrypoint sources this at every start, before
# anybody but this script is let in, and ends if it fails. What the role may read is granted by
# Waypost (src/store/clickhouse/sql/reader.sql), whichever of the two comes first.

# Without the query condition cache: in 26.9, together with the join's runtime filters, a join whose
# left side is empty leaves "no rows" in it for the view on its right, and the next panel shows none.
# Only the hash is in the statement: no password can end its quotes.
hash=$(printf %s "$CLICKHOUSE_GRAFANA_PASSWORD" | sha256sum | cut -d ' ' -f 1)

clickhouse-client --host 127.0.0.1 --user "$CLICKHOUSE_USER" --password "$CLICKHOUSE_PASSWORD" <<SQL
CREATE ROLE IF NOT EXISTS waypost_reader;
CREATE USER IF NOT EXISTS grafana IDENTIFIED WITH sha256_hash BY '$hash';
ALTER USER grafana IDENTIFIED WITH sha256_hash BY '$hash' SETTINGS use_query_condition_cache = 0;
GRANT waypost_reader TO grafana;
SQL
