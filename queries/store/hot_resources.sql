-- Which resources do a segment's numbers stand for? In the order of the numbers.
-- params:
-- returns: service_namespace VARCHAR, service_name VARCHAR, service_version VARCHAR, service_instance_id VARCHAR, host VARCHAR,
--   telemetry_sdk_language VARCHAR, deployment_environment_name VARCHAR, attribute_ids UINTEGER[], dropped_attributes_count UINTEGER, schema_url VARCHAR
SELECT * EXCLUDE (resource_id)
FROM resource
ORDER BY resource_id
