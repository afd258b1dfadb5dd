"""Sweeps: many runs through the one door; what a sweep writes, how its jobs are started and watched, how it resumes."""
