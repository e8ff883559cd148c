-- Every attribute of a hot segment, once per batch; spans and log records name it by number.
-- params:
-- returns:
CREATE TABLE attribute (
    attribute_id UINTEGER NOT NULL, -- position: rows are appended in this order, without a gap
    key VARCHAR NOT NULL,
    type UTINYINT NOT NULL, -- which member of AnyValue it was
    value VARCHAR NOT NULL
)
