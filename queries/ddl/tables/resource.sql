-- Every resource of a hot segment, once per batch.
-- params:
-- returns:
CREATE TABLE resource (
    resource_id UINTEGER NOT NULL,
    service_namespace VARCHAR,
    service_name VARCHAR,
    service_version VARCHAR,
    service_instance_id VARCHAR,
    host VARCHAR,
    telemetry_sdk_language VARCHAR,
    deployment_environment_name VARCHAR, -- segments of an earlier version lack it
    attribute_ids UINTEGER[],
    dropped_attributes_count UINTEGER,
    schema_url VARCHAR
)
