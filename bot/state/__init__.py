"""What holds across turns, restarts and, later, replicas: claims and owed turns."""
