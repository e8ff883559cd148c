-- What columns has a finding, when there is none yet? (The JSON shape of `analyze --format json`, as a relation.)
-- params: none
-- returns: none

CREATE MACRO empty_findings() AS TABLE
SELECT unnest(NULL::STRUCT(
    id VARCHAR,
    level VARCHAR,
    cause VARCHAR,
    fingerprint VARCHAR,
    service VARCHAR,
    peer VARCHAR,
    signal_type VARCHAR,
    signal_name VARCHAR,
    count BIGINT,
    confidence DOUBLE,
    first_seen VARCHAR,
    last_seen VARCHAR,
    message VARCHAR,
    how_to_fix VARCHAR,
    examples STRUCT(trace_id VARCHAR, span_id VARCHAR)[],
    context JSON
))
WHERE false
