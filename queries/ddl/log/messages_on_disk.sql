-- Which rows of messages are logged, in files and not yet in one?
-- params: none
-- returns: none

-- The tail has every column: a file written before a column existed lacks it, and gives it back as NULL.
CREATE TEMP VIEW logged_messages AS
FROM messages_tail
UNION ALL BY NAME
FROM read_parquet(getvariable('messages_files'), union_by_name => true)
