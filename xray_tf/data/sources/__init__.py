"""Make records from folders, lists of files, manifests, MedMNIST files and phantoms."""
