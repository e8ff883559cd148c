"""Trace trees and the service graph, computed on columns; pure: no I/O, no clock."""
