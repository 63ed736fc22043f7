"""Who makes records: folders, lists of files, manifests, MedMNIST, phantoms."""
