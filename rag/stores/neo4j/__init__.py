"""The knowledge store in Neo4j; `store.py` is its face."""

from rag.stores.neo4j.kept_faqs import KeptFaqs as KeptFaqs
from rag.stores.neo4j.schema import VectorOptions as VectorOptions
from rag.stores.neo4j.store import Neo4jStore as Neo4jStore
