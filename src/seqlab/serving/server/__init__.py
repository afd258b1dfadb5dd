"""A run over HTTP, as OpenAI's API, and a page to talk with it."""
