-- Every instrumentation scope of a hot segment, once per batch.
-- params:
-- returns:
CREATE TABLE scope (
    scope_id UINTEGER NOT NULL,
    name VARCHAR,
    version VARCHAR,
    attribute_ids UINTEGER[],
    dropped_attributes_count UINTEGER,
    schema_url VARCHAR
)
