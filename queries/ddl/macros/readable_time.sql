-- When is that in the calendar? (UTC with nanoseconds; NULL for a clock beyond the year 2262, which is stored clamped.)
-- params: none
-- returns: none

-- make_timestamp_ns raises on the two ends of int64, which stand for the infinities; least() and greatest() keep them out
-- of the call even where the engine evaluates the branch for every row.
CREATE MACRO readable_time(unix_nano) AS
CASE
    WHEN unix_nano BETWEEN -9223372036854775806 AND 9223372036854775806
    THEN make_timestamp_ns(greatest(least(unix_nano, 9223372036854775806), -9223372036854775806))
END
