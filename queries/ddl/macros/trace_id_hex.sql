-- How is a trace id, stored as two numbers, written? (32 lower-case hex digits; NULL for the absent id 0.)
-- params: none
-- returns: none

CREATE MACRO trace_id_hex(high, low) AS
CASE
    WHEN high <> 0 OR low <> 0
    THEN lower(lpad(to_hex(high), 16, '0') || lpad(to_hex(low), 16, '0'))
END
