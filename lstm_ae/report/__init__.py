"""Reports of runs and searches: `gather` and `searches` read directories, `charts` draws, `page` writes the file."""
