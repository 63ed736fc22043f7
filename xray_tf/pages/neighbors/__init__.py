"""Make the pages of embeddings and nearest cases."""
