"""Jobs in this process, in processes of this machine, and on clusters of Ray, Dask, and Spark."""
