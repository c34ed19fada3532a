"""What an admin does with FAQs: add, import, warm, list, remove; the same for commands, the API and jobs."""
