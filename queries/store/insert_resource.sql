-- Add a commit group's resources to a hot segment; columns by position, as the table has them.
-- params:
-- returns:
INSERT INTO resource SELECT * FROM incoming
