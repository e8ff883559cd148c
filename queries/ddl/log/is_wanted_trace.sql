-- Is a trace among those that are asked for? (Empty lists ask for everything.)
-- params: none
-- returns: none

CREATE MACRO is_wanted_trace(highs, lows, high, low) AS
len(CAST(lows AS UBIGINT[])) = 0
OR list_contains(CAST(lows AS UBIGINT[]), low)
AND list_contains(list_zip(CAST(highs AS UBIGINT[]), CAST(lows AS UBIGINT[])), (high, low))
