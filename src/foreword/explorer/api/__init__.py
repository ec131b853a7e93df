"""The HTTP API, one module a topic. Every operation is one call of the library that anyone could write."""
