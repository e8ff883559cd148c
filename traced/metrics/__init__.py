"""Findings, the service graph and migrations to Prometheus, at scrape time."""
