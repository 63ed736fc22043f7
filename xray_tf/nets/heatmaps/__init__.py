"""Heat maps: Grad-CAM, its sisters, and tests of them."""
