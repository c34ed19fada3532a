"""Where documents, chunks, names and vectors are kept: one port (`rag.ports.KnowledgeStore`), one contract suite."""
