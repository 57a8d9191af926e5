"""Reports of runs and searches: `facts` reads directories, `comparison` compares runs, `page` writes the file."""
