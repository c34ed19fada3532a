"""What holds across turns, restarts and replicas: claims, owed turns, lanes, budgets and rate limits."""
