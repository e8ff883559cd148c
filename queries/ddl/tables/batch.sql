-- One row per committed batch: sequence numbers have no gap, so a loss is a number.
-- params:
-- returns:
CREATE TABLE batch (
    sequence UBIGINT NOT NULL,
    arrival_time_unix_nano BIGINT NOT NULL,
    signal VARCHAR NOT NULL,
    items UINTEGER NOT NULL, -- stored
    repeated UINTEGER NOT NULL -- not stored again
)
