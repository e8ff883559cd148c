"""How often a migration's SAFE is wrong: worlds whose truth is known, what is seen of them, and what is said."""
