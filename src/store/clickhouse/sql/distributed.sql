-- A cluster only: the tables of all shards as one. They hold nothing, so each is made anew with the
-- columns that the local table has now. They have no sharding key on purpose: with more than one shard
-- ClickHouse refuses an insert into them. An edge inserts into the local scans of one shard, where its
-- token is known; through these a retry could go to another shard, and be stored again.
CREATE OR REPLACE TABLE {database}.scans_all{on_cluster} AS {database}.scans
ENGINE = Distributed({cluster}, {database}, scans);

CREATE OR REPLACE TABLE {database}.scans_hourly_all{on_cluster} AS {database}.scans_hourly
ENGINE = Distributed({cluster}, {database}, scans_hourly);

CREATE OR REPLACE TABLE {database}.registry_signs_all{on_cluster} AS {database}.registry_signs
ENGINE = Distributed({cluster}, {database}, registry_signs);

CREATE OR REPLACE TABLE {database}.registry_generations_all{on_cluster} AS {database}.registry_generations
ENGINE = Distributed({cluster}, {database}, registry_generations);

CREATE OR REPLACE TABLE {database}.signs_all{on_cluster} AS {database}.signs
ENGINE = Distributed({cluster}, {database}, signs);

CREATE OR REPLACE TABLE {database}.sign_hours_all{on_cluster} AS {database}.sign_hours
ENGINE = Distributed({cluster}, {database}, sign_hours);

CREATE OR REPLACE TABLE {database}.sign_health_all{on_cluster} AS {database}.sign_health
ENGINE = Distributed({cluster}, {database}, sign_health);
