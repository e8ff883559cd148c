-- Keep a hot segment from being checkpointed when it is closed: a kill in the middle of a checkpoint can make the file unreadable.
-- params:
-- returns:
PRAGMA disable_checkpoint_on_shutdown
