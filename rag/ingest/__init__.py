"""Files to records in the store: parse, chunk, extract, embed, store."""
