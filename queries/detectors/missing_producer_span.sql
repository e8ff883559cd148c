-- Which consumers link to a message whose PRODUCER span never came, and what is known of its producer?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, missing_span_id UBIGINT, target_trace_id_high UBIGINT, target_trace_id_low UBIGINT, destination VARCHAR, found BIGINT, absent BIGINT, usual_producer VARCHAR, producers_report BOOLEAN, trace_is_here BOOLEAN, sampled VARCHAR, sampled_by VARCHAR
-- driven by: pass_dangling
SELECT *
FROM pass_dangling
