-- Is a value among those that are asked for? (An empty list asks for everything.)
-- params: none
-- returns: none

CREATE MACRO is_wanted(wanted, value) AS
len(CAST(wanted AS VARCHAR[])) = 0 OR list_contains(CAST(wanted AS VARCHAR[]), value)
