-- Which flows are logged, in files and not yet in one?
-- params: none
-- returns: none

-- The tail has every column: a file written before a column existed lacks it, and gives it back as NULL.
CREATE TEMP VIEW logged_flows AS
FROM flows_tail
UNION ALL BY NAME
FROM read_parquet(getvariable('flows_files'), union_by_name => true)
