-- Which rows of messages are logged, where none of them is in a file?
-- params: none
-- returns: none

CREATE TEMP VIEW logged_messages AS
FROM messages_tail
