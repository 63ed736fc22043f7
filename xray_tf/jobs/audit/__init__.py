"""Report what is wrong with a data set, and group its radiographs by how they were taken."""
