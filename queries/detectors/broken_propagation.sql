-- Which receiving spans without a parent have their caller in another trace, or elsewhere in their own, and where do contexts arrive otherwise?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, peer VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, kind UTINYINT, caller_trace_id_high UBIGINT, caller_trace_id_low UBIGINT, caller_span_id UBIGINT, caller_name VARCHAR, confidence DOUBLE, service_confidence DOUBLE, rivals BIGINT, chance DOUBLE, sdk_language VARCHAR, caller_sdk_language VARCHAR, broken BIGINT, arrived BIGINT, injected_elsewhere BIGINT, extracted_from_others BIGINT, through VARCHAR, separated_side VARCHAR, separated_name VARCHAR, separated_value VARCHAR, separated_broken BIGINT, separated_intact BIGINT, others_broken BIGINT, others_intact BIGINT
-- driven by: pass_matches
SELECT
    m.trace_id_high,
    m.trace_id_low,
    m.span_id,
    m.service_name AS service,
    m.caller_service_name AS peer,
    m.name AS signal_name,
    m.start_time_unix_nano AS time_unix_nano,
    m.kind,
    m.caller_trace_id_high,
    m.caller_trace_id_low,
    m.caller_span_id,
    m.caller_name,
    m.confidence,
    m.service_confidence,
    m.rivals,
    m.chance,
    m.telemetry_sdk_language AS sdk_language,
    m.caller_telemetry_sdk_language AS caller_sdk_language,
    c.broken,
    c.arrived,
    c.injected_elsewhere,
    c.extracted_from_others,
    m.through,
    c.separated_side,
    c.separated_name,
    c.separated_value,
    c.separated_broken,
    c.separated_intact,
    c.others_broken,
    c.others_intact
FROM pass_matches m
JOIN context_history c ON c.client = m.caller_service_key AND c.server = m.service_key
