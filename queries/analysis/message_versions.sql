-- Which version of its schema does each kind of span, or span link, show, by which source; and what did the consumer say that it did with it?
-- params:
-- returns: number BIGINT, version VARCHAR, version_source VARCHAR, version_key VARCHAR, disposition VARCHAR
-- driven by: message_parts
WITH said AS (
    SELECT
        number,
        a.key AS key,
        a.key AS shown_as,
        -- a captured header is an array, of one value mostly
        unnest(CASE WHEN a.type = 5 AND json_valid(a.value) THEN from_json(a.value, '["VARCHAR"]') ELSE [a.value] END) AS value
    FROM (SELECT number, unnest(message_attributes) AS a FROM message_parts)
    UNION ALL
    SELECT number, key, shown_as, value
    FROM message_names
),
shown AS (
    SELECT
        s.number,
        f.fact,
        f.rank,
        CASE WHEN r.is_link AND f.source = 'attribute' THEN 'link' ELSE f.source END AS source,
        s.shown_as,
        s.value,
        CASE
            -- what a migration says of a name counts, also where it says that it tells nothing
            WHEN c.version IS NOT NULL THEN c.version
            WHEN f.shape IN ('name', 'suffix') THEN regexp_extract(s.value, '[._-]v(\d+)$', 1)
            WHEN f.shape = 'path' THEN regexp_extract(s.value, '(?:^|[/._-])v(\d+)(?:$|[/._-])', 1)
            WHEN f.shape = 'media' THEN coalesce(
                nullif(regexp_extract(s.value, '(?i);\s*version\s*=\s*"?([^";,\s]+)', 1), ''), regexp_extract(s.value, '[./+-]v(\d+)(?:$|[+;,])', 1)
            )
            ELSE s.value
        END AS spelt,
        coalesce(f.spellings[spelt], spelt) AS version -- of several spellings of a version one stands for all
    FROM said s
    JOIN message_rules r ON r.number = s.number
    JOIN version_sources f ON f.rule = r.rule AND f.key = s.key
    LEFT JOIN schema_names c ON c.rule = r.rule AND c.key = s.key AND c.text = s.value
),
told AS (
    SELECT
        number,
        count(DISTINCT version) FILTER (fact = 'version' AND version <> '') AS versions,
        arg_min(version, rank) FILTER (fact = 'version' AND version <> '') AS version,
        arg_min(source, rank) FILTER (fact = 'version' AND version <> '') AS source,
        arg_min(shown_as, rank) FILTER (fact = 'version' AND version <> '') AS key,
        list_sort(list(DISTINCT left(shown_as || '=' || version, 100)) FILTER (fact = 'version' AND version <> '')) AS all_,
        max(value) FILTER (fact = 'disposition' AND value IN ('handled', 'ignored')) AS disposition
    FROM shown
    GROUP BY number
)
SELECT
    r.number,
    -- sources that disagree make it unknown, and are all named
    CASE WHEN t.versions = 1 THEN left(t.version, 100) ELSE '' END AS version,
    CASE WHEN t.versions = 1 THEN t.source ELSE '' END AS version_source,
    CASE WHEN t.versions = 1 THEN t.key ELSE coalesce(left(array_to_string(t.all_, ', '), 300), '') END AS version_key,
    coalesce(t.disposition, '') AS disposition
FROM message_rules r
LEFT JOIN told t ON t.number = r.number
ORDER BY r.number
