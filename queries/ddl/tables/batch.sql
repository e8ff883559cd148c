-- One row per committed batch: sequence numbers have no gap, so a loss is a number.
-- params:
-- returns:
CREATE TABLE batch (
    sequence UBIGINT NOT NULL,
    arrival_time_unix_nano BIGINT NOT NULL,
    signal VARCHAR NOT NULL,
    items UINTEGER NOT NULL, -- stored
    repeated UINTEGER NOT NULL, -- not stored again
    fingerprint_high UBIGINT NOT NULL, -- of the request, where its log records are stored here; else both words are 0
    fingerprint_low UBIGINT NOT NULL
)
