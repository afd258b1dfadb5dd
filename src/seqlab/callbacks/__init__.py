"""Callbacks: what looks at a run. Each is a named node of the group `callbacks`, so that it can be switched off."""
