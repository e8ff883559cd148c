-- Which spans does a span link to? (One row a link; `linked_*` is the far end.)
-- params: none
-- returns: trace_id varchar, span_id varchar, service_name varchar, name varchar, link_position bigint,
--   linked_trace_id varchar, linked_span_id varchar, trace_state varchar, flags uinteger,
--   attributes map(varchar, varchar), dropped_attributes_count uinteger

CREATE VIEW span_links AS
SELECT
    trace_id_hex(trace_id_high, trace_id_low) AS trace_id,
    span_id_hex(span_id) AS span_id,
    coalesce(nullif(service_name, ''), 'unknown_service') AS service_name,
    name,
    link_position,  -- from 1, in the order in which the span carried them
    trace_id_hex(link.trace_id_high, link.trace_id_low) AS linked_trace_id,
    span_id_hex(link.span_id) AS linked_span_id,
    link.trace_state AS trace_state,
    link.flags AS flags,
    attribute_map(link.attributes) AS attributes,
    link.dropped_attributes_count AS dropped_attributes_count
FROM (
    SELECT
        trace_id_high,
        trace_id_low,
        span_id,
        service_name,
        name,
        unnest(links) AS link,
        generate_subscripts(links, 1) AS link_position
    FROM stored_spans
    WHERE len(links) > 0
)
