"""What a platform can show and say: events become `Inbound`, answers become a `LiveMessage`. No retrieval, no LLM."""
