"""The ledger: occurrences to findings by fingerprint; opens, refreshes, withdraws, resolves."""
