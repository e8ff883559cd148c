-- Which attributes do some numbers of a segment stand for? In the order of the numbers, which have no gap.
-- params: first BIGINT, last BIGINT
-- returns: key VARCHAR, type UTINYINT, value VARCHAR
SELECT key, type, value
FROM attribute
WHERE attribute_id BETWEEN $first AND $last
ORDER BY attribute_id
