"""Deadlines now; breakers and bulkheads as they come."""
