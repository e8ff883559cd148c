-- Which span events does a span carry? (One row a span event.)
-- params: none
-- returns: trace_id varchar, span_id varchar, service_name varchar, span_name varchar, event_position bigint,
--   time_unix_nano bigint, time timestamp_ns, name varchar, attributes map(varchar, varchar),
--   dropped_attributes_count uinteger

CREATE VIEW span_events AS
SELECT
    trace_id_hex(trace_id_high, trace_id_low) AS trace_id,
    span_id_hex(span_id) AS span_id,
    coalesce(nullif(service_name, ''), 'unknown_service') AS service_name,
    span_name,
    event_position,  -- from 1, in the order in which the span carried them
    span_event.time_unix_nano AS time_unix_nano,
    readable_time(span_event.time_unix_nano) AS time,
    span_event.name AS name,
    attribute_map(span_event.attributes) AS attributes,
    span_event.dropped_attributes_count AS dropped_attributes_count
FROM (
    SELECT
        trace_id_high,
        trace_id_low,
        span_id,
        service_name,
        name AS span_name,
        unnest(events) AS span_event,
        generate_subscripts(events, 1) AS event_position
    FROM stored_spans
    WHERE len(events) > 0
)
