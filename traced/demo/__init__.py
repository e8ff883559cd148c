"""A small shop of real services with planted, listed faults: onboarding and end-to-end test in one."""
