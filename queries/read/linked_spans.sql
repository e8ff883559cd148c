-- Which spans are joined by span links, and is the far end stored?
-- params: max_rows bigint = 1000
-- returns: service_name varchar, name varchar, trace_id varchar, span_id varchar, linked_service_name varchar,
--   linked_name varchar, linked_trace_id varchar, linked_span_id varchar

SELECT
    span_links.service_name,
    span_links.name,
    span_links.trace_id,
    span_links.span_id,
    far_end.service_name AS linked_service_name,  -- NULL: not stored
    far_end.name AS linked_name,
    span_links.linked_trace_id,
    span_links.linked_span_id
FROM span_links
LEFT JOIN spans AS far_end
    ON span_links.linked_trace_id = far_end.trace_id
    AND span_links.linked_span_id = far_end.span_id
ORDER BY span_links.trace_id, span_links.span_id, span_links.link_position
LIMIT $max_rows
