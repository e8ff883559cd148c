-- Which instrumentation scopes do a segment's numbers stand for? In the order of the numbers.
-- params:
-- returns: name VARCHAR, version VARCHAR, attribute_ids UINTEGER[], dropped_attributes_count UINTEGER, schema_url VARCHAR
SELECT * EXCLUDE (scope_id)
FROM scope
ORDER BY scope_id
