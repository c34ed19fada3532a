"""The knowledge store in Neo4j; `store.py` is its face."""

from rag.stores.neo4j.store import Neo4jStore as Neo4jStore
