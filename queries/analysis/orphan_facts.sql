-- What is known of each span whose parent is absent: habits, sampling, and where its caller lies if its context was changed?
-- params:
-- returns: row BIGINT, remote TINYINT, kind UTINYINT, spans BIGINT, present BIGINT, absent BIGINT, local BIGINT, usual_parent VARCHAR, caller_in_trace VARCHAR, likely_caller VARCHAR, address_present BIGINT, address_absent BIGINT, sampled VARCHAR, sampled_by VARCHAR, dropped_by VARCHAR, traces_with_this_id BIGINT, id_shape VARCHAR, mangled_caller VARCHAR, mangled_span_id UBIGINT, mangled_confidence DOUBLE, whole_trace_id_high UBIGINT, whole_trace_id_low UBIGINT, whole_service VARCHAR, elapsed BIGINT, parent_lasts BIGINT, running VARCHAR, decided_in BIGINT, begins BOOLEAN, alike UBIGINT
-- driven by: orphan_evidence
SELECT
    e.row,
    e.remote,
    s.kind,
    e.spans,
    e.present,
    e.absent,
    e.local,
    e.usual_parent,
    e.caller_in_trace,
    e.likely_caller,
    e.address_present,
    e.address_absent,
    e.sampled,
    e.sampled_by,
    e.dropped_by,
    e.traces_with_this_id,
    e.id_shape,
    -- an unanswered caller in the same trace: the parent's id was changed on the way
    m.caller_service_name AS mangled_caller,
    m.caller_span_id AS mangled_span_id,
    m.confidence AS mangled_confidence,
    -- its parent is in another part of its trace, which was cut: under half of its id, or the whole one
    t.trace_id_high AS whole_trace_id_high,
    t.trace_id_low AS whole_trace_id_low,
    t.parent_service AS whole_service,
    e.elapsed,
    e.parent_lasts,
    e.running,
    e.decided_in,
    e.begins,
    -- orphans of one fact are of one cause
    hash(
        e.remote, s.kind, e.spans, e.present, e.absent, e.local, e.usual_parent, e.caller_in_trace, e.likely_caller, e.address_present, e.address_absent, e.sampled,
        e.sampled_by, e.dropped_by, e.traces_with_this_id, e.id_shape, mangled_caller, mangled_span_id, mangled_confidence, t.trace_id_high, t.trace_id_low,
        whole_service, e.running
    ) AS alike
FROM orphan_evidence e
JOIN pass_suspects s ON s.row = e.row
LEFT JOIN pass_mangled m ON m.trace_id_high = s.trace_id_high AND m.trace_id_low = s.trace_id_low AND m.span_id = s.span_id AND m.kind = s.kind
LEFT JOIN pass_rejoined t ON t.row = e.row
