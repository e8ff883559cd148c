-- Which flows are logged, where none of them is in a file?
-- params: none
-- returns: none

CREATE TEMP VIEW logged_flows AS
FROM flows_tail
