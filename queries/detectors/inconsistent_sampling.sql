-- Where do spans contradict each other, or themselves, about sampling?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, differs BOOLEAN, randomness UBIGINT, other_randomness UBIGINT, threshold UBIGINT, explicit BOOLEAN, said_random BOOLEAN, spans BIGINT
-- driven by: pass_samplings
SELECT *
FROM pass_samplings
