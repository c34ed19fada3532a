"""Moving knowledge between stores: everything into one JSONL file, and back without embedding anything again."""
