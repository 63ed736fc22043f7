"""Open artifacts: the objects that a person uses in a notebook."""
