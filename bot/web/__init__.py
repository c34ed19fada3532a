"""HTTP: the API, the chat page and the probes, one module per noun."""
