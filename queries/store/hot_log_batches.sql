-- Which batches of log records does a segment hold, by the fingerprint of their request?
-- params:
-- returns: fingerprint_high UBIGINT, fingerprint_low UBIGINT, sequence UBIGINT
SELECT fingerprint_high, fingerprint_low, sequence
FROM batch
WHERE fingerprint_high <> 0 OR fingerprint_low <> 0
