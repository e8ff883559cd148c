"""The loop: take the settled traces, run every detector inside a fence, give the ledger what they found."""
