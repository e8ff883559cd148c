-- Which receiving spans have neither parent nor link nor a caller that could be found, though their operation is called by others, or their trace goes on?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, named BIGINT, rootless BIGINT, usual_caller VARCHAR, second BOOLEAN, client_address VARCHAR, called VARCHAR
-- driven by: pass_rootless
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    service_name AS service,
    name AS signal_name,
    start_time_unix_nano AS time_unix_nano,
    named,
    rootless,
    usual_caller,
    second,
    client_address,
    called
FROM pass_rootless
WHERE
    -- probes and scrapers begin traces of their own
    NOT regexp_matches(
        concat_ws(' ', http_route, url_path, url_full, name),
        '(?i)/(health(z|y|[-_]?checks?)?|livez?|liveness|readyz?|readiness|alive|ping|status|metrics|actuator|heartbeat|probes?)\b'
    )
    AND NOT regexp_matches(name, '(?i)^(/?grpc\.health\.|health(z|y|[-_ ]?checks?)?$)')
    AND NOT regexp_matches(
        user_agent,
        '(?i)^(kube-probe|prometheus|elb-healthchecker|googlehc|googlestackdrivermonitoring|amazon-route53|azure traffic manager|edge health probe|envoy/hc|'
        || 'consul health|blackbox|pingdom|uptimerobot|uptime-kuma|curl/|wget)'
    )
