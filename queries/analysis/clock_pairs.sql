-- Between which bounds does each server's clock differ from its caller's, in each slice of time?
-- No delay is negative, so server_end - client_end <= offset <= server_start - client_start for every synchronous, answered call.
-- params:
-- returns: client_clock VARCHAR, server_clock VARCHAR, slice BIGINT, lowers BIGINT[], uppers BIGINT[], pairs BIGINT, ahead BIGINT, behind BIGINT, median_duration DOUBLE, client_service VARCHAR, server_service VARCHAR, row BIGINT
SELECT
    client_clock,
    server_clock,
    slice,
    max(server_end - client_end, 4) AS lowers, -- `clocks.KEPT`
    min(server_start - client_start, 4) AS uppers,
    count(*) FILTER (WHERE NOT again) AS pairs, -- each call is counted once, however often its trace is looked at
    -- calls that exclude zero by a millisecond each by itself: an offset shows in many, a span that ended late only in its own
    count(*) FILTER (WHERE NOT again AND server_end - client_end >= 1000000) AS ahead,
    count(*) FILTER (WHERE NOT again AND server_start - client_start <= -1000000) AS behind,
    median(client_end - client_start) AS median_duration,
    min(client_service) AS client_service,
    min(server_service) AS server_service,
    arg_min(server_row, (server_start - client_start, server_start)) AS row
FROM pass_calls
WHERE
    connection_type = ''
    AND client_kind = 3
    AND answers = 1 -- retries under one CLIENT are left out
    AND client_clock <> server_clock
    AND client_status <> 2 -- timed out or cancelled callers end before their server
    AND client_end >= client_start
    AND server_end >= server_start
    AND server_end - server_start <= client_end - client_start -- a server that outlives its client is not synchronous
GROUP BY client_clock, server_clock, slice
ORDER BY client_clock, server_clock, slice
