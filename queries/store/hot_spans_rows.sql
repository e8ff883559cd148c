-- At which rows do the spans of a segment stand, and of which traces are they? For sealing in the order of traces.
-- params:
-- returns: row BIGINT, trace_id_high UBIGINT, trace_id_low UBIGINT
SELECT rowid AS row, trace_id_high, trace_id_low FROM span
