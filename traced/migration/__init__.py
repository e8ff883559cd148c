"""How far a dual-publish migration has got, and what may be said about the old schema; pure."""
