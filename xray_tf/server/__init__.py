"""The local server of `xray-tf serve`: a small JSON API, and a page that uses it."""
