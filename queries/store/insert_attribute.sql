-- Add a commit group's attributes to a hot segment; columns by position, as the table has them.
-- params:
-- returns:
INSERT INTO attribute SELECT * FROM incoming
