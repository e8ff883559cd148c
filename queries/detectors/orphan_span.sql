-- Which spans name a parent that is not in their trace, and why?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, missing_span_id UBIGINT, kind UTINYINT, instance VARCHAR, elapsed BIGINT, parent_lasts BIGINT, running VARCHAR, cause VARCHAR, confidence DOUBLE, parent_is_remote BOOLEAN, known_by VARCHAR, spans BIGINT, present BIGINT, absent BIGINT, usual_parent VARCHAR, caller_in_trace VARCHAR, likely_caller VARCHAR, address_present BIGINT, address_absent BIGINT, sampled VARCHAR, sampled_by VARCHAR, dropped_by VARCHAR, traces_with_this_id BIGINT, id_shape VARCHAR, mangled_caller VARCHAR, mangled_span_id UBIGINT, whole_trace_id_high UBIGINT, whole_trace_id_low UBIGINT, whole_service VARCHAR, lost_by VARCHAR, lost_instance VARCHAR, lost_how VARCHAR, lost_reason VARCHAR, lost_spans BIGINT, lost_since BIGINT, lost_until BIGINT, queue_capacity BIGINT, begun BIGINT, not_sampled BIGINT, loss_shape VARCHAR, shape_instance VARCHAR, shape_since BIGINT, shape_until BIGINT, shape_missing BIGINT, shape_seen BIGINT, shape_missing_elsewhere BIGINT, shape_seen_elsewhere BIGINT, replaced_by VARCHAR, shape_chance DOUBLE, alike UBIGINT
-- driven by: orphan_causes
SELECT
    s.trace_id_high,
    s.trace_id_low,
    s.span_id,
    s.service_name AS service,
    s.name AS signal_name,
    s.start_time_unix_nano AS time_unix_nano,
    s.parent_span_id AS missing_span_id,
    s.kind,
    s.service_instance_id AS instance,
    c.elapsed,
    c.parent_lasts,
    c.running,
    c.cause,
    c.confidence,
    c.parent_is_remote,
    c.known_by,
    c.spans,
    c.present,
    c.absent,
    c.usual_parent,
    c.caller_in_trace,
    c.likely_caller,
    c.address_present,
    c.address_absent,
    c.sampled,
    c.sampled_by,
    c.dropped_by,
    c.traces_with_this_id,
    c.id_shape,
    c.mangled_caller,
    c.mangled_span_id,
    c.whole_trace_id_high,
    c.whole_trace_id_low,
    c.whole_service,
    -- what the loss ledger says of it
    l.service AS lost_by,
    l.instance AS lost_instance,
    l.quantity AS lost_how,
    l.reason AS lost_reason,
    l.spans AS lost_spans,
    l.since_unix_nano AS lost_since,
    l.until_unix_nano AS lost_until,
    l.queue_capacity,
    c.begun,
    c.not_sampled,
    -- what shape the loss has, where the data decide
    h.shape AS loss_shape,
    h.instance AS shape_instance,
    h.since_unix_nano AS shape_since,
    h.until_unix_nano AS shape_until,
    h.missing AS shape_missing,
    h.seen AS shape_seen,
    h.missing_elsewhere AS shape_missing_elsewhere,
    h.seen_elsewhere AS shape_seen_elsewhere,
    h.replaced_by,
    h.chance AS shape_chance,
    hash(c.alike, c.reported, c.not_sampled, c.shape) AS alike
FROM pass_suspects s
JOIN orphan_causes c ON c.row = s.row
LEFT JOIN reported_losses l ON l.number = c.reported
LEFT JOIN loss_shapes h ON h.number = c.shape
WHERE s.parent_absent
