"""The vocabulary every other room speaks: errors, units, named arrays, the study on disk, parallel slabs."""
