# The user that Grafana reads with. ClickHouse's entrypoint sources this at every start, before
# anybody but this script is let in, and ends if it fails. What the role may read is granted by
# Waypost (src/store/schema/reader.sql), whichever of the two comes first.

# Only the hash is in the statement: no password can end its quotes.
hash=$(printf %s "$CLICKHOUSE_GRAFANA_PASSWORD" | sha256sum | cut -d ' ' -f 1)

clickhouse-client --host 127.0.0.1 --user "$CLICKHOUSE_USER" --password "$CLICKHOUSE_PASSWORD" <<SQL
CREATE ROLE IF NOT EXISTS waypost_reader;
CREATE USER IF NOT EXISTS grafana IDENTIFIED WITH sha256_hash BY '$hash';
ALTER USER grafana IDENTIFIED WITH sha256_hash BY '$hash';
GRANT waypost_reader TO grafana;
SQL
