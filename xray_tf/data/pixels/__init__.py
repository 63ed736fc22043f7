"""From bytes on disk to square grey pixels."""
