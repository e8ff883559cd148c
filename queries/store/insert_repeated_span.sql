-- Add a commit group's spans that came again to a hot segment; columns by position, as the table has them.
-- params:
-- returns:
INSERT INTO repeated_span SELECT * FROM incoming
