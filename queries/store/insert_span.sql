-- Add a commit group's spans to a hot segment; columns by position, as the table has them.
-- params:
-- returns:
INSERT INTO span SELECT * FROM incoming
