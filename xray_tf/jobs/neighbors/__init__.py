"""Jobs of nearest cases: embed radiographs, fit a reference, ask it."""
