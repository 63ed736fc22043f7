"""The page of `xray-tf serve`."""
