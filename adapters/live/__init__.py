"""Live messages: when to edit, whether the platform allows it, and how the whole answer gets there in the end."""
