"""Nearest cases, how many of them vote, and what a plane shows of embeddings."""
