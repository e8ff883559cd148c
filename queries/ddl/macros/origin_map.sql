-- Which value has each attribute of a resource or a scope, kept as OTLP/JSON text? (MAP from key to text.)
-- params: none
-- returns: none

-- Handed over as a lambda parameter, the parsed list is computed once; as a plain argument of a macro it would be
-- written out, and computed, at each place that names it.
CREATE MACRO origin_map(json_text) AS
list_transform([key_values(json_text)], lambda entries: attribute_map(entries))[1]
