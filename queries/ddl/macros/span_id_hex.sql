-- How is a span id, stored as a number, written? (16 lower-case hex digits; NULL for the absent id 0.)
-- params: none
-- returns: none

CREATE MACRO span_id_hex(id) AS
CASE WHEN id <> 0 THEN lower(lpad(to_hex(id), 16, '0')) END
