-- Add a commit group's log records to a hot segment; columns by position, as the table has them.
-- params:
-- returns:
INSERT INTO log_record SELECT * FROM incoming
