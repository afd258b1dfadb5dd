"""How instructions become prompts."""
