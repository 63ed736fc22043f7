"""Pages of embeddings and nearest cases."""
