-- Which attributes does an OTLP/JSON array of KeyValue hold, in the form that spans keep their own in?
-- params: none
-- returns: none

-- Text that is no JSON gives NULL: one bad row must not fail a query over all of them, nor slow it down, as TRY would. The
-- members of AnyValue are named, because one parse to a struct is three times faster than a JSON path per value. Type 1
-- (string) stands for all.
CREATE MACRO key_values(json_text) AS
list_transform(
    CASE
        WHEN json_valid(json_text)
        THEN from_json(
            json_text,
            '[{"key": "VARCHAR", "value": {"stringValue": "VARCHAR", "intValue": "VARCHAR", "boolValue": "VARCHAR",
               "doubleValue": "VARCHAR", "bytesValue": "VARCHAR", "arrayValue": "VARCHAR", "kvlistValue": "VARCHAR"}}]'
        )
    END,
    lambda pair: {
        'key': pair."key",
        'type': 1,
        'value': coalesce(
            pair."value".stringValue,
            pair."value".intValue,
            pair."value".boolValue,
            pair."value".doubleValue,
            pair."value".bytesValue,
            -- an array of plain values becomes a JSON array; a map stays in OTLP/JSON
            CASE
                WHEN pair."value".arrayValue IS NOT NULL
                THEN CAST(to_json(json_extract(pair."value".arrayValue, '$.values[*].*')) AS VARCHAR)
            END,
            pair."value".kvlistValue
        )
    }
)
