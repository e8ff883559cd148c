-- Where does each link of the pass lead: to a row of the pass (target), or to a span found in the store?
-- params:
-- returns: row BIGINT, target BIGINT, service_name VARCHAR, service_namespace VARCHAR, kind UTINYINT, end_time_unix_nano BIGINT, trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, position BIGINT, flags UINTEGER, attributes STRUCT("key" VARCHAR, "type" UTINYINT, "value" VARCHAR)[], name VARCHAR, message_attributes STRUCT("key" VARCHAR, "type" UTINYINT, "value" VARCHAR)[]
SELECT
    l.row,
    l.target,
    coalesce(f.service_name, '') AS service_name,
    coalesce(f.service_namespace, '') AS service_namespace,
    coalesce(f.kind, 0)::UTINYINT AS kind, -- 0: not found, no claim
    coalesce(f.end_time_unix_nano, -1) AS end_time_unix_nano,
    l.trace_id_high,
    l.trace_id_low,
    l.span_id,
    l.position,
    l.flags,
    l.attributes,
    coalesce(f.name, '') AS name,
    f.message_attributes
FROM links l
LEFT JOIN (
    SELECT
        trace_id_high, trace_id_low, span_id,
        -- of two halves of a shared id the sending one
        arg_max(service_name, kind IN (3, 4)) AS service_name,
        arg_max(service_namespace, kind IN (3, 4)) AS service_namespace,
        arg_max(kind, kind IN (3, 4)) AS kind,
        arg_max(end_time_unix_nano, kind IN (3, 4)) AS end_time_unix_nano,
        arg_max(name, kind IN (3, 4)) AS name,
        arg_max(message_attributes, kind IN (3, 4)) AS message_attributes
    FROM found
    GROUP BY ALL
) f
    ON l.target < 0
    AND f.trace_id_high = l.trace_id_high
    AND f.trace_id_low = l.trace_id_low
    AND f.span_id = l.span_id
ORDER BY l.row, l.position
