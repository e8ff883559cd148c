-- Which spans name a parent that is not stored?
-- params: service_name varchar = null, max_rows bigint = 1000
-- returns: trace_id varchar, span_id varchar, missing_span_id varchar, service_name varchar, name varchar,
--   kind_name varchar, start_time timestamp_ns

-- The anti join runs over the stored integers: ten times cheaper than over hex text.
WITH orphans AS (
    SELECT child.trace_id_high, child.trace_id_low, child.span_id
    FROM stored_spans AS child
    ANTI JOIN stored_spans AS parent
        ON child.trace_id_high = parent.trace_id_high
        AND child.trace_id_low = parent.trace_id_low
        AND child.parent_span_id = parent.span_id
    WHERE child.parent_span_id <> 0
)

SELECT
    spans.trace_id,
    spans.span_id,
    spans.parent_span_id AS missing_span_id,
    spans.service_name,
    spans.name,
    spans.kind_name,
    spans.start_time
FROM spans
SEMI JOIN orphans
    ON spans.trace_id = trace_id_hex(orphans.trace_id_high, orphans.trace_id_low)
    AND spans.span_id = span_id_hex(orphans.span_id)
-- of two spans that share an id, only the one that names a parent can be the orphan
WHERE spans.parent_span_id IS NOT NULL
    AND (CAST($service_name AS VARCHAR) IS NULL OR spans.service_name = $service_name)
ORDER BY spans.start_time_unix_nano, spans.trace_id, spans.span_id
LIMIT $max_rows
