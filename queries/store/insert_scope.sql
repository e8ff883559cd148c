-- Add a commit group's instrumentation scopes to a hot segment; columns by position, as the table has them.
-- params:
-- returns:
INSERT INTO scope SELECT * FROM incoming
