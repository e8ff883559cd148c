-- Add a commit group's batch numbers to a hot segment; columns by position, as the table has them.
-- params:
-- returns:
INSERT INTO batch SELECT * FROM incoming
