-- Which value has each attribute? (MAP from key to text; of a repeated key the first counts; NULL for an empty value.)
-- params: none
-- returns: none

-- map_from_entries() raises on repeated and on NULL keys, and OTLP senders do repeat keys. The test before it costs a
-- third of the good case; TRY would cost nothing there, but 40 microseconds a row where a sender repeats keys always.
-- The list of keys enters the filter as a lambda parameter, because an expression inside a lambda would be computed again
-- for each element.
CREATE MACRO attribute_map(entries) AS
CASE
    WHEN list_unique(list_transform(entries, lambda entry: entry."key")) = len(entries)
    THEN map_from_entries(
        list_transform(
            entries, lambda entry: {'key': entry."key", 'value': CASE WHEN entry."type" > 0 THEN entry."value" END}
        )
    )
    ELSE map_from_entries(
        list_transform(
            [list_transform(entries, lambda entry: entry."key")],
            lambda keys: list_transform(
                list_filter(
                    entries,
                    lambda entry, position: entry."key" IS NOT NULL AND list_position(keys, entry."key") = position
                ),
                lambda entry: {'key': entry."key", 'value': CASE WHEN entry."type" > 0 THEN entry."value" END}
            )
        )[1]
    )
END
